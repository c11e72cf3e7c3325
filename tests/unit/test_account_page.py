"""Whatever the account's page answers is either understood, within sane bounds, or no verdict."""

import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from image_drop.errors import VeniceUnavailableError
from image_drop.state.rates import Rates, set_limits
from image_drop.venice.client import Venice
from image_drop.venice.exchange import Reply

NOW = 1_800_000_000.0


def client(body: bytes) -> Venice:
    """A client whose every request is answered with one page."""
    return Venice(
        "https://venice.example",
        lambda: "key",
        lambda: NOW,
        exchange=lambda *_, **__: Reply(200, CaseInsensitiveDict(), body),
    )


numbers = (
    st.floats()
    | st.integers()
    | st.sampled_from(
        [0, -1, 1e308, 10**400, math.inf, math.nan, "20", "NaN", "inf", "", "9" * 400]
    )
)
nonsense = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
rates = st.fixed_dictionaries(
    {},
    optional={
        "apiModelId": st.just("firered-image-edit") | st.text(max_size=120) | nonsense,
        "rateLimits": nonsense
        | st.lists(
            st.fixed_dictionaries({"type": st.just("RPM")}, optional={"amount": numbers | nonsense})
        ),
    },
)
pages = st.fixed_dictionaries(
    {},
    optional={
        "accessPermitted": st.booleans() | nonsense,
        "balances": st.dictionaries(st.sampled_from(["USD", "DIEM"]), numbers) | nonsense,
        "rateLimits": st.lists(rates, max_size=3) | nonsense,
    },
)


@settings(max_examples=500, deadline=None)
@given(data=pages | nonsense)
def test_account_is_sane_or_no_verdict(data: Any) -> None:
    page = json.dumps({"data": data}).encode()  # with NaN and Infinity, which is no JSON
    try:
        account = client(page).account()
    except VeniceUnavailableError:
        return

    assert 0 <= account.balance <= 2e9
    assert all(0 <= limit <= 1e9 for limit in account.limits.values())
    assert all(
        1 <= log.limit <= 1000 for log in set_limits(Rates(), account.limits, NOW).logs.values()
    )
