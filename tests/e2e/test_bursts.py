"""Many photos at once: all get done, at the rate that Venice allows, and none fails for it."""

from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from image_drop.venice.known_models import DEFAULT_EDIT_MODEL
from image_drop_cli.deployment import Deployment
from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator, most_in
from tests.support.system import CUT_OUT, MAX_WAIT, System
from tests.support.waiting import until

LIMIT = 600  # calls a minute
BURST = 70
DROP = 10


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with (
        Simulator(limit=LIMIT, latency=0.2, pictures="fast") as venice,
        Stack(venice_url=venice.url, venice_api_key="one key", concurrency=DROP) as stack,
    ):
        yield System(stack, venice)


def test_limit_is_known_before_first_drop(system: System) -> None:
    services = Deployment.find("image-drop", endpoint_url=system.stack.endpoint_url).services

    slots, _ = services.limiter.peek(DEFAULT_EDIT_MODEL)

    assert slots.limit == LIMIT
    assert system.calls() == []


def test_drop_of_ten_into_idle_system_starts_at_once(system: System) -> None:
    system.drop_all({f"drop/{number}.jpg": CUT_OUT for number in range(DROP)})

    until(lambda: system.runs("upload") == DROP, MAX_WAIT)

    assert [line for line in system.log("upload") if line.get("message") == "queued"] == []
    assert len(system.outputs("drop/")) == DROP
    assert Counter(call.status for call in system.calls()) == {200: DROP}
    assert system.waiting() == 0
    assert system.runs("retry") == 0  # none has been in the queue


def test_burst_has_no_refused_calls_and_each_photo_is_paid_once(system: System) -> None:
    already = len(system.calls())
    photos = {f"burst/{number}.jpg": {"prompt": "make it pink"} for number in range(BURST)}

    system.drop_all(photos)
    until(lambda: len(system.outputs("burst/")) == BURST, 2 * MAX_WAIT)

    calls = system.calls()[already:]
    assert system.outputs("burst/") == sorted(f"{key}.png" for key in photos)
    assert sum(call.status != 200 for call in calls) <= 1
    paid = Counter(call.image_sha256 for call in calls if call.paid)
    assert (len(paid), set(paid.values())) == (BURST, {1})
    assert most_in(calls) <= LIMIT
    assert system.dead() == 0


def test_lock_out_holds_all_functions_and_afterwards_all_is_done(system: System) -> None:
    """Half a minute, for real: it is Venice's own, and no queue can be told that it is over."""
    system.venice.change(lockout_failures=1)
    for _ in range(2):  # somebody else uses the same key, and badly
        headers = {"Authorization": "Bearer one key"}
        answer = requests.post(f"{system.venice.url}/image/edit", json={}, headers=headers)
        assert answer.status_code == 400
    already = len(system.calls())

    system.drop("locked/first.jpg", tags=CUT_OUT)
    until(lambda: system.waiting() == 1, MAX_WAIT)
    (refused,) = system.calls()[already:]
    system.drop_all(
        {f"locked/{number}.jpg": CUT_OUT for number in range(5)}
        | {f"locked/pink-{number}.jpg": {"prompt": "pink"} for number in range(5)}
    )
    until(lambda: len(system.outputs("locked/")) == 11, 2 * MAX_WAIT)

    assert (refused.status, refused.refused) == (429, "lock_out")
    later = [call for call in system.calls()[already:] if call is not refused]
    assert Counter(call.status for call in later) == {200: 11}
    assert min(call.at for call in later) >= refused.at + 30
    assert system.dead() == 0
    assert not [key for key in system.outputs() if key.endswith(".error.json")]
