"""`explain` tells where an image is now, after the real functions have worked on it."""

import re

import pytest

from image_drop.state.rates import ALL_MODELS
from image_drop_cli.explanation import Explanation, explain
from image_drop_cli.image_state import Kind, State
from tests.support.interruptions import Killed
from tests.support.stage import MappingState, Stage
from tests.support.stage_deployment import deployment_of

CUT_OUT = {"mode": "background-remove"}
TEXT = b"a text"


def explained(stage: Stage, key: str = "a.jpg") -> Explanation:
    return explain(key, deployment_of(stage))


def state(stage: Stage, key: str = "a.jpg") -> State:
    [request] = explained(stage, key).requests
    return request.state


def life(stage: Stage) -> list[str]:
    return [each.what for each in explained(stage).life]


def test_result_is_told_with_its_time_and_cost(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)

    found = state(stage)

    assert found.kind is Kind.RESULT
    assert "a.jpg.png was stored at " in found.text
    assert "It cost $0.03 (bria-bg-remover)." in found.text
    assert "fits the present instructions" in found.text
    assert not explained(stage).needs_you
    assert life(stage) == ["call of bria-bg-remover: paid $0.03", "result"]


def test_result_of_former_instructions_is_superseded(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.put_json("a.jpg.json", finish={"size": "800x800"})

    found = state(stage)

    assert found.kind is Kind.SUPERSEDED
    assert re.match(r"The result of \S+ \S+ UTC is about an earlier image", found.text)
    assert "image-drop retry" in found.what_to_do


def test_result_that_somebody_removed_is_missed(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.s3.delete_object(Bucket=stage.output, Key="a.jpg.png")

    assert state(stage).kind is Kind.RESULT_GONE


def test_report_is_told_with_what_to_do(stage: Stage) -> None:
    stage.drop("a.jpg", TEXT, tags=CUT_OUT)

    found = state(stage)

    assert found.kind is Kind.REPORT
    assert "(not_an_image): The file is not an image." in found.text
    assert found.what_to_do.startswith("Upload a JPEG")
    assert explained(stage).needs_you
    assert life(stage) == ["The file is not an image (not_an_image)"]


def test_report_without_instructions_is_told(stage: Stage) -> None:
    stage.drop("a.jpg")

    explanation = explained(stage)

    assert explanation.state is not None
    assert explanation.state.kind is Kind.REPORT
    assert "(no_instructions)" in explanation.state.text


def test_queued_image_is_told_with_failures_and_next_try(stage: Stage) -> None:
    stage.venice.faults.add(503, times=3)
    stage.drop("a.jpg", tags=CUT_OUT)
    first = state(stage)
    for _ in range(2):
        stage.pass_time(stage.due_in())
        stage.redeliver()

    found = state(stage)

    assert (first.kind, found.kind) == (Kind.QUEUED, Kind.QUEUED)
    assert "Venice is not available (venice_unavailable)." in found.text
    assert "This was failure 1 of 12." in first.text
    assert "This was failure 3 of 12. The next attempt is by " in found.text
    assert life(stage)[1] == "Venice is not available (venice_unavailable), 3 times"


def test_image_that_waits_for_slot_is_told_its_turn(stage: Stage) -> None:
    stage.services.limiter.block(ALL_MODELS, stage.clock.now() + 60)
    stage.drop("a.jpg", tags=CUT_OUT)

    found = state(stage)

    assert found.kind is Kind.QUEUED
    assert "Waiting for a free slot (no_slot)." in found.text
    assert re.search(r"its turn among \d+ images? in the queue at \d+ calls a minute", found.text)


def test_paused_image_is_told_why(stage: Stage) -> None:
    stage.pause()
    stage.drop("a.jpg", tags=CUT_OUT)

    found = state(stage)

    assert found.kind is Kind.PAUSED
    assert "(account_unavailable): Venice answered 402." in found.text


def test_queued_image_that_is_cancelled_is_told(stage: Stage) -> None:
    stage.venice.faults.add(503, times=1)
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.services.orders.cancel("", stage.clock.now() + 1)

    found = state(stage)

    assert found.kind is Kind.CANCELLED
    assert "no call" in found.text
    stage.work_off()
    assert state(stage).kind is Kind.REPORT


def test_image_in_hand_is_told_to_be_edited(stage: Stage) -> None:
    stage.kill("before-call.PutObject")
    event = stage.put("a.jpg", tags=CUT_OUT)
    with pytest.raises(Killed):
        stage.upload(event)

    found = state(stage)

    assert found.kind is Kind.BEING_EDITED
    assert "The last call was sent at" in found.text
    stage.pass_time(400)
    assert state(stage).kind is not Kind.BEING_EDITED


def test_dead_letter_is_told_until_it_is_retried(stage: Stage) -> None:
    stage.configure(tries=1)
    stage.venice.faults.add(503, times=2)
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.work_off()
    dead = state(stage)
    stage.pass_time(1)
    stage.redrive()
    queued = state(stage)
    stage.work_off()

    assert dead.kind is Kind.DEAD_LETTER
    assert "Venice is not available" in dead.text
    assert "dead redrive" in dead.what_to_do
    assert queued.kind is Kind.QUEUED
    assert state(stage).kind is Kind.RESULT
    assert life(stage)[-1] == "result"


def test_model_that_venice_lacks_is_told_before_any_call(
    stage: Stage, mapping: MappingState
) -> None:
    stage.watch()
    stage.put("a.jpg", tags={"prompt": "red", "model": "no-such-edit"})

    found = state(stage)

    assert found.kind is Kind.CANNOT_BE_EDITED
    assert "Venice has no such edit model" in found.text


def test_image_that_nobody_saw_is_told(stage: Stage) -> None:
    stage.put("a.jpg", tags=CUT_OUT)

    assert state(stage).kind is Kind.NEVER_SEEN
    assert explained(stage).life == ()


def test_missing_image_is_told(stage: Stage) -> None:
    stage.configure(DEFAULT_MODE="background-remove")

    found = state(stage)

    assert found.kind is Kind.NO_IMAGE
    assert explained(stage).needs_you


def test_each_variant_has_state_of_its_own(stage: Stage) -> None:
    variants = {"cut": CUT_OUT, "wrong": {"prompt": "red", "aspect_ratio": "1:1"}}
    stage.drop("a.jpg", sidecar={"variants": variants})
    stage.work_off()

    cut, _ = explained(stage).requests

    assert cut.state.kind is Kind.RESULT
    assert {each.variant for each in explained(stage).life} == {None, "cut", "wrong"}
