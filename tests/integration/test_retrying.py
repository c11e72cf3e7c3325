"""`retry` finds the images that failed, says what they cost, and queues just those."""

import pytest

from image_drop_cli.retrying import Failed, Filter, failed_images, plan_retry, retry_images
from tests.support.stage import Stage
from tests.support.stage_deployment import deployment_of

CUT_OUT = {"mode": "background-remove"}  # $0.03


@pytest.fixture
def failures(stage: Stage) -> Stage:
    """A result, three reports and a dead letter."""
    stage.configure(tries=1)
    stage.drop("shop/good.jpg", tags=CUT_OUT)
    stage.drop("shop/told-nothing.jpg")
    stage.venice.faults.add(400, times=1)
    stage.drop("shop/refused.jpg", tags=CUT_OUT)
    stage.drop("other/text.jpg", data=b"a text", tags=CUT_OUT)
    stage.venice.faults.add(503, times=2)
    stage.drop("other/dead.jpg", tags=CUT_OUT)
    stage.work_off()
    return stage


def chosen(stage: Stage, *names: str, **wanted: str | bool) -> list[str]:
    found = failed_images(deployment_of(stage), names, Filter(**wanted))  # type: ignore[arg-type]
    return [image.key for image in found]


def test_failures_are_chosen_and_just_those_are_retried(failures: Stage) -> None:
    everything = ["other/dead.jpg", "other/text.jpg", "shop/refused.jpg", "shop/told-nothing.jpg"]
    assert failures.dead() == 1
    assert chosen(failures) == everything
    assert chosen(failures, "shop/") == everything[2:]
    assert chosen(failures, "shop/", "other/text.jpg") == everything[1:]
    assert chosen(failures, dead=True) == ["other/dead.jpg"]
    assert chosen(failures, reports=True) == everything[1:]
    assert chosen(failures, reports=True, dead=True) == everything
    assert chosen(failures, code="no_instructions") == ["shop/told-nothing.jpg"]
    assert chosen(failures, "other/", code="no_instructions") == []
    assert chosen(failures, "shop/good.jpg", "hop/") == []

    deployment = deployment_of(failures)
    images = failed_images(deployment)
    before = failures.services.billing.day(failures.clock.now()).usd

    plan = plan_retry(images, deployment)
    queued = retry_images(images, deployment)
    assert failures.dead() == 0
    failures.work_off()

    spent = failures.services.billing.day(failures.clock.now()).usd - before
    assert (plan.images, queued) == (4, 4)
    assert [problem.code for problem in plan.problems] == ["no_instructions"]
    assert (plan.calls, round(spent, 6)) == (3, 0.06)  # that a file is no image shows later
    assert {"other/dead.jpg.png", "shop/refused.jpg.png"} <= set(failures.outputs())
    assert chosen(failures) == ["other/text.jpg", "shop/told-nothing.jpg"]

    calls = failures.calls
    retry_images([Failed("shop/good.jpg", None)], deployment)
    failures.work_off()
    assert failures.calls == calls


def test_dead_letter_without_message_is_queued_as_well(failures: Stage) -> None:
    failures.sqs.purge_queue(QueueUrl=failures.dead_letters)
    images = failed_images(deployment_of(failures), wanted=Filter(dead=True))
    assert retry_images(images, deployment_of(failures)) == 1
    failures.work_off()
    assert "other/dead.jpg.png" in failures.outputs()


def test_fresh_draw_is_counted_and_made_in_spite_of_result(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    images, deployment = [Failed("a.jpg", None)], deployment_of(stage)

    assert plan_retry(images, deployment).calls == 0
    plan = plan_retry(images, deployment, fresh=True)
    retry_images(images, deployment, fresh=True)
    stage.work_off()

    assert (plan.calls, plan.usd, stage.paid) == (1, 0.03, 2)
