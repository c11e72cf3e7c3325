"""Whatever goes wrong at any one request to AWS: nothing is lost, and every cent is counted.

Each test plays a whole life of an image once for each request that it takes, with that request
going wrong, and then looks at buckets, queues, events and Venice's own book.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from image_drop.billing import MICRO
from tests.integration.interruptions import Fault, Killed
from tests.integration.stage import TABLE, Stage
from tests.integration.test_account_watch import ROUND, Mapping, mapping

__all__ = ["mapping"]  # a fixture

CUT_OUT = {"mode": "background-remove"}  # $0.03
FINISHED = CUT_OUT | {"finish": {"format": "webp", "margin": "5%"}, "keep_original": True}
VARIANTS = {"variants": {"cut": CUT_OUT}}


@dataclass(frozen=True)
class Life:
    """What happens to an image, and how it has to end. `{}` in a key stands for the image's."""

    play: Callable[[Stage, str], None]
    outputs: tuple[str, ...]
    calls: int = 1
    failed: tuple[str, ...] = ()


def upload(**sidecar: object) -> Callable[[Stage, str], None]:
    def play(stage: Stage, key: str) -> None:
        stage.put_json(f"{key}.json", **sidecar)
        stage.deliver(stage.put(key))

    return play


def upload_while(fault: object, **more: object) -> Callable[[Stage, str], None]:
    def play(stage: Stage, key: str) -> None:
        stage.venice.faults.add(fault, **more, times=1)  # type: ignore[arg-type]
        stage.deliver(stage.put(key, metadata=CUT_OUT))

    return play


def upload_without_instructions(stage: Stage, key: str) -> None:
    stage.deliver(stage.put(key))


def instructions_come_later(stage: Stage, key: str) -> None:
    stage.deliver(stage.put(key))
    stage.deliver(stage.put_json(f"{key}.json", **CUT_OUT))


LIVES = {
    "cut-out": Life(upload(**CUT_OUT), ("{}.png",)),
    "finish": Life(upload(**FINISHED), ("{}.original.png", "{}.webp")),
    "variants": Life(upload(**VARIANTS), ("{}.cut.png",)),
    "retried": Life(upload_while(503), ("{}.png",)),
    "refused": Life(upload_while(400), ("{}.error.json",), 0, ("refused",)),
    "unusable": Life(upload_while("html"), ("{}.error.json",), 1, ("unusable_answer",)),
    "no instructions": Life(
        upload_without_instructions, ("{}.error.json",), 0, ("no_instructions",)
    ),
    "instructions later": Life(instructions_come_later, ("{}.png",)),
}


def live(stage: Stage, life: Life, key: str) -> None:
    life.play(stage, key)
    stage.work_off()
    stage.venice.faults.clear()


def requests_of(stage: Stage, life: Life) -> int:
    """How many requests an undisturbed life takes; it warms up what is read once a process."""
    for key in ("warm.jpg", "counted.jpg"):
        stage.cold_start()
        stage.interruptions.plan(None)
        live(stage, life, key)
    stage.events()
    return len(stage.interruptions.requests)


def book(stage: Stage) -> tuple[float, float]:
    """Dollars spent and unconfirmed, over all days."""
    days = [
        item
        for item in stage.dynamodb.scan(TableName=TABLE)["Items"]
        if item["id"]["S"].startswith("spend#")
    ]
    usd, unconfirmed = (
        sum(int(day.get(name, {"N": "0"})["N"]) for day in days) / MICRO
        for name in ("usd", "unconfirmed")
    )
    return usd, unconfirmed


def charged(stage: Stage) -> float:
    return round(sum(call.charged_usd for call in stage.venice.calls), 6)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.KILLED])
@pytest.mark.parametrize("name", LIVES)
def test_any_request_that_goes_wrong_loses_nothing_and_pays_once(
    stage: Stage, name: str, fault: Fault
) -> None:
    life = LIVES[name]
    for number in range(requests_of(stage, life)):
        stage.cold_start()
        before = stage.paid
        key = f"{number}.jpg"
        stage.interruptions.plan(number, fault)

        live(stage, life, key)

        trouble = f"{fault} at request {stage.interruptions.what(number)}"
        ends_well(stage, life, key, trouble)
        assert stage.paid - before == life.calls, trouble
        assert book(stage) == (charged(stage), 0), trouble


@pytest.mark.parametrize("name", LIVES)
def test_kill_at_any_request_loses_nothing_and_every_cent_is_counted(
    stage: Stage, name: str
) -> None:
    life = LIVES[name]
    for number in range(requests_of(stage, life)):
        stage.cold_start()
        before, (usd, unconfirmed), venices = stage.paid, book(stage), charged(stage)
        key = f"{number}.jpg"
        stage.interruptions.plan(number, Fault.KILLED)

        live(stage, life, key)

        trouble = f"killed after request {stage.interruptions.what(number)}"
        ends_well(stage, life, key, trouble)
        twice = stage.paid - before - life.calls
        assert twice in (0, 1), trouble
        usd, unconfirmed = book(stage)[0] - usd, book(stage)[1] - unconfirmed
        assert unconfirmed > 0 or not twice, trouble
        assert usd <= charged(stage) - venices + 1e-9 <= usd + unconfirmed + 2e-9, trouble


def ends_well(stage: Stage, life: Life, key: str, trouble: str) -> None:
    """The outputs are there and nothing else; each outcome was announced, none of them falsely."""
    outputs = [each for each in stage.outputs() if each.startswith(f"{key}.")]
    assert outputs == sorted(each.format(key) for each in life.outputs), trouble
    assert (stage.waiting(), stage.dead()) == (0, 0), trouble
    events = [(kind, event) for kind, event in stage.events() if event["input"]["key"] == key]
    edited = {event["output"]["key"] for kind, event in events if kind == "Image Edited"}
    results = {
        each.format(key) for each in life.outputs if "error" not in each and "original" not in each
    }
    assert edited == results, trouble
    told = {event["code"] for kind, event in events if kind == "Image Edit Failed"}
    assert set(life.failed) <= told <= {*life.failed, "no_instructions"}, trouble
    if life.failed:
        assert stage.report(key)["code"] == life.failed[-1], trouble


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


@pytest.mark.parametrize("fault", Fault)
def test_any_request_of_an_outage_that_goes_wrong_leaves_the_line_running_in_the_end(
    stage: Stage, mapping: Mapping, fault: Fault
) -> None:
    stage.interruptions.plan(None)
    outage(stage, "counted.jpg")
    for number in range(len(stage.interruptions.requests)):
        stage.events()
        before, key = stage.paid, f"{number}.jpg"
        stage.interruptions.plan(number, fault)

        outage(stage, key)

        stage.interruptions.at = None
        trouble = f"{fault} at request {stage.interruptions.what(number)}"
        assert not stage.line_stopped, trouble
        assert mapping() == "Enabled", trouble
        assert {f"{key}.png", f"other-{key}.png"} <= set(stage.outputs()), trouble
        assert (stage.waiting(), stage.dead()) == (0, 0), trouble
        assert stage.paid - before in ((2, 3) if fault is Fault.KILLED else (2,)), trouble
        kinds = [kind for kind, _ in stage.events()]
        assert "Venice Account Unavailable" in kinds, trouble
        assert kinds[-1] != "Venice Account Unavailable", trouble
        assert "Venice Account Restored" in kinds, trouble
