"""Whatever goes wrong at any one request while the account is away: all goes on in the end."""

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.interruptions import Fault, Killed
from tests.support.stage import ROUND, MappingState, Stage

CUT_OUT = {"mode": "background-remove"}
FORGOTTEN_AFTER = 2 * 3600  # seconds, what the last outage taught about a model
PARTS = 4  # of the requests, so that several processes share them


def outage(stage: Stage, key: str) -> None:
    """The account is refused, the queue is paused, the account works again, all goes on."""
    stage.venice.change(account="no_balance")
    stage.deliver(stage.put(key, metadata=CUT_OUT))
    stage.deliver(stage.put(f"other-{key}", metadata=CUT_OUT))
    watch(stage)
    stage.venice.change(account="ok")
    for _ in range(3):
        stage.pass_time(ROUND)
        watch(stage)
    stage.work_off()


def watch(stage: Stage) -> None:
    """One round, which may fail; the next one comes in five minutes."""
    try:
        stage.watch()
    except Killed:
        stage.cold_start()
    except (ClientError, BotoCoreError):
        pass


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("fault", Fault)
def test_failed_request_in_outage_leaves_processing_running(
    stage: Stage, mapping: MappingState, fault: Fault, part: int
) -> None:
    stage.interruptions.plan(None)
    outage(stage, "counted.jpg")
    for number in fault.numbers(stage.interruptions.requests)[part::PARTS]:
        stage.pass_time(FORGOTTEN_AFTER)
        stage.events()
        before, key = stage.paid, f"{number}.jpg"
        stage.interruptions.plan(number, fault)

        outage(stage, key)

        stage.interruptions.at = None
        trouble = f"{fault} at request {stage.interruptions.what(number)}"
        assert not stage.processing_paused, trouble
        assert mapping() == "Enabled", trouble
        assert {f"{key}.png", f"other-{key}.png"} <= set(stage.outputs()), trouble
        assert (stage.waiting(), stage.dead()) == (0, 0), trouble
        assert stage.paid - before in ((2, 3) if fault is Fault.KILLED else (2,)), trouble
        kinds = [kind for kind, _ in stage.events()]
        assert "Venice Account Unavailable" in kinds, trouble
        assert kinds[-1] != "Venice Account Unavailable", trouble
        assert "Venice Account Restored" in kinds, trouble
