"""Images that were there before, or whose events were lost, are edited all the same."""

from collections.abc import Callable

import pytest

from functions.backfill import app
from image_drop import uploads
from tests.support.lambda_context import FakeContext
from tests.support.pictures import photo
from tests.support.stage import OUTPUT, Stage, sample

CUT_OUT = {"mode": "background-remove"}
WEEK = 7 * 86_400


@pytest.fixture
def backfill(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Run the backfill function."""
    monkeypatch.setattr(app, "services", lambda: stage.services)
    return lambda: app.handler(sample("schedule"), FakeContext())


Backfill = Callable[[], None]


def test_scheduled_scan_leaves_cancelled_images_alone(stage: Stage, backfill: Backfill) -> None:
    stage.pause()
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.services.orders.cancel("", stage.clock.now() + 1)
    stage.pass_time(3600)
    backfill()

    stage.services.circuit_breaker.resume(stage.clock.now())
    stage.work_off()

    assert stage.report("a.jpg")["code"] == "cancelled"
    assert stage.calls == 0


def test_everything_in_old_bucket_gets_its_result_or_its_report(
    stage: Stage, backfill: Backfill
) -> None:
    stage.put_json("products/.image-drop.json", **CUT_OUT)
    stage.put("products/shoe.jpg")
    stage.put("products/a b+é.jpg")
    stage.put("products/_layers/mask.png")
    stage.put("nobody-said.jpg")
    stage.put("tagged.jpg", tags=CUT_OUT)
    stage.put("both.jpg")
    stage.put_json(
        "both.jpg.json", variants={"cutout": CUT_OUT, "pink": {"prompt": "make it pink"}}
    )

    backfill()
    stage.work_off()

    assert stage.outputs() == [
        "both.jpg.cutout.png",
        "both.jpg.pink.png",
        "nobody-said.jpg.error.json",
        "products/a b+é.jpg.png",
        "products/shoe.jpg.png",
        "tagged.jpg.png",
    ]
    assert stage.paid == 5


def test_second_scan_pays_for_nothing_again(stage: Stage, backfill: Backfill) -> None:
    stage.put("a.jpg", tags=CUT_OUT)
    stage.put("b.jpg")
    stage.put_json("b.jpg.json", variants={"cutout": CUT_OUT, "pink": {"prompt": "make it pink"}})
    backfill()
    stage.work_off()
    assert stage.paid == 3

    stage.pass_time(WEEK)
    backfill()

    assert stage.waiting() == 0
    assert stage.paid == 3


def test_moved_result_is_not_bought_again_by_weekly_scan(stage: Stage, backfill: Backfill) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")

    for _ in range(3):
        backfill()
        stage.pass_time(WEEK)
    stage.work_off()

    assert stage.paid == 1


def test_moved_result_is_made_again_by_manual_scan(stage: Stage, backfill: Backfill) -> None:
    stage.configure(BACKFILL_DAYS="0")
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")

    stage.services.scans.start("", stage.clock.now())
    backfill()
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]


def test_lost_event_is_found_within_week(stage: Stage, backfill: Backfill) -> None:
    stage.drop("done.jpg", tags=CUT_OUT)
    backfill()
    stage.put("lost.jpg", photo("navy"), tags=CUT_OUT)
    stage.put("done.jpg", photo("green"), tags=CUT_OUT)  # a newer upload, and its event is lost

    stage.pass_time(WEEK)
    backfill()

    assert stage.waiting() == 2
    stage.work_off()
    assert stage.outputs() == ["done.jpg.png", "lost.jpg.png"]
    assert stage.paid == 3


def test_instructions_whose_event_was_lost_replace_report(stage: Stage, backfill: Backfill) -> None:
    stage.drop("a.jpg")
    assert stage.report("a.jpg")["code"] == "no_instructions"
    stage.clock.sleep(1)  # S3's times are whole seconds
    stage.put_json("a.jpg.json", **CUT_OUT)

    backfill()
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]


def test_only_prefix_that_was_asked_for_is_worked_through(stage: Stage, backfill: Backfill) -> None:
    stage.configure(BACKFILL_DAYS="0")
    stage.put("old/a.jpg", tags=CUT_OUT)
    stage.put("new/b.jpg", tags=CUT_OUT)
    backfill()
    assert stage.waiting() == 0

    stage.services.scans.start("old/", stage.clock.now())
    backfill()

    ((found,),) = [uploads.from_message(body) for body in bodies(stage)]
    assert (found.key, bool(found.retry)) == ("old/a.jpg", True)
    done = stage.services.scans.current()
    assert done is not None
    assert (done.seen, done.queued, done.running) == (1, 1, False)


def test_when_lambda_leaves_no_time_nothing_is_begun(stage: Stage, backfill: Backfill) -> None:
    stage.put("a.jpg", tags=CUT_OUT)

    app.handler(sample("schedule"), FakeContext(remaining=30_000))
    assert stage.waiting() == 0

    backfill()
    assert stage.waiting() == 1


def bodies(stage: Stage) -> list[str]:
    got = stage.sqs.receive_message(QueueUrl=stage.queue, MaxNumberOfMessages=10)
    return [message["Body"] for message in got.get("Messages", [])]
