"""Whatever goes wrong at any one request to AWS: nothing is lost, and every cent is counted.

Each test plays a whole life of an image once for each request that it takes, with that request
going wrong, and then looks at buckets, queues, events and Venice's own book.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from image_drop.state.billing import MICRO
from tests.support.account import TABLE
from tests.support.interruptions import Fault
from tests.support.stage import Stage

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


def requests_of(stage: Stage, life: Life) -> list[str]:
    """The requests that an undisturbed life takes; it warms up what is read once a process."""
    for key in ("warm.jpg", "counted.jpg"):
        stage.cold_start()
        stage.interruptions.plan(None)
        live(stage, life, key)
    stage.events()
    return stage.interruptions.requests


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
    for number in fault.numbers(requests_of(stage, life)):
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
def test_kill_at_any_request_loses_no_image_and_no_cent(stage: Stage, name: str) -> None:
    life = LIVES[name]
    for number in Fault.KILLED.numbers(requests_of(stage, life)):
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
