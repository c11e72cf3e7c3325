"""The account fails in the middle of the work: processing pauses, images wait, all resumes."""

from collections import Counter
from collections.abc import Iterator

import pytest

from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator
from tests.support.pictures import photo
from tests.support.system import CUT_OUT, MAX_WAIT, System
from tests.support.waiting import until

LATENCY = 0.3  # seconds
# Four models, each with slots of its own; their calls in flight share one budget of failures.
KINDS = (
    CUT_OUT,
    {"prompt": "pink"},
    {"prompt": "pink", "model": "qwen-image-2-edit"},
    {"prompt": "pink", "model": "seedream-v4-edit"},
)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with (
        Simulator(limit=1000, latency=LATENCY, pictures="fast") as venice,
        Stack(venice_url=venice.url, concurrency=6) as stack,
    ):
        yield System(stack, venice)


def photos(folder: str, number: int) -> dict[str, dict[str, str]]:
    return {f"{folder}/{each}.jpg": KINDS[each % len(KINDS)] for each in range(number)}


def test_processing_pauses_and_resumes_with_account(
    system: System,
) -> None:
    before, during, stopped = photos("before", 9), photos("during", 18), photos("stopped", 3)
    keys = [*before, *during, *stopped]
    system.invoke("AccountWatchFunction", {})  # as every five minutes: the limits are known
    assert system.mapping_state() == "Enabled"

    # In the middle of the work the balance is spent.
    system.drop_all(before)
    until(lambda: len(system.outputs()) >= 3, MAX_WAIT)
    system.venice.change(account="no_balance")
    system.drop_all(during)
    # By the watch, which the event started.
    until(lambda: system.mapping_state() == "Disabled", MAX_WAIT)

    # What is dropped now waits without a call, and no image fails.
    system.drop_all(stopped)
    until(lambda: system.waiting() == len(keys) - len(system.outputs()), MAX_WAIT)
    done = system.outputs()
    assert 3 <= len(done) <= len(before)
    assert not [call for key in stopped for call in system.calls(photo(key))]
    assert 1 <= Counter(call.status for call in system.calls())[402] <= 25
    assert not [key for key in done if key.endswith(".error.json")]
    assert system.dead() == 0

    # The balance is filled up: at its next look the watch lets one edit try, then all others go.
    called = len(system.calls())
    system.deliver_again([key for key in keys if f"{key}.png" not in done])
    system.venice.change(account="ok")
    system.invoke("AccountWatchFunction", {})
    assert system.mapping_state() == "Enabled"
    until(lambda: len(system.outputs()) == len(keys), 2 * MAX_WAIT)

    assert system.outputs() == sorted(f"{key}.png" for key in keys)
    first, second, *_ = sorted(system.calls()[called:], key=lambda call: call.at)
    assert second.at - first.at >= LATENCY
    assert [system.paid(photo(key)) for key in keys] == [1] * len(keys)
    until(lambda: system.waiting() == 0, MAX_WAIT)
    assert system.dead() == 0
