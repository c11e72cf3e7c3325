"""The same image with the same instructions is paid for once, whatever happens on the way."""

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from image_drop.venice.client import Answer, Venice
from tests.support.interruptions import Killed
from tests.support.lambda_context import FakeContext
from tests.support.pictures import photo
from tests.support.stage import INPUT, OUTPUT, Stage

CUT_OUT = {"mode": "background-remove"}
LAMBDA_TIMEOUT = 300  # seconds

Metrics = Callable[[], dict[str, list[float]]]


def while_venice_works(stage: Stage, event: dict[str, Any], action: Callable[[], object]) -> str:
    """Run the upload function, and do something while its call is being carried out."""
    stage.venice.faults.add("slow", seconds=2.5, times=1)  # longer than the action on any machine
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(stage.upload, event)
        deadline = time.monotonic() + 10
        while stage.venice.faults.waiting():
            assert time.monotonic() < deadline, "Venice was not called"
            time.sleep(0.005)
        action()
        (ending,) = first.result(timeout=20).values()
    return ending


# --- delivered twice, out of order, at the same time ---------------------------------------


def test_event_that_is_delivered_twice_is_paid_once(stage: Stage) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)

    assert stage.upload(event) == {"a.jpg": "edited"}
    assert stage.upload(event) == {"a.jpg": "done before"}

    assert stage.calls == stage.paid == 1
    assert [kind for kind, _ in stage.events()] == ["Image Edited"]


@pytest.mark.parametrize(("late", "ending"), [(1, "edited"), (2, "queued")])
def test_call_too_late_for_its_slot_is_no_attempt(stage: Stage, late: int, ending: str) -> None:
    events, left = stage.interruptions.client("dynamodb").meta.events, [1.0] * late

    def slow(params: dict[str, Any], **_: Any) -> None:
        if left and b"digest" in params["body"]:  # the call is begun, and its slot will be over
            stage.pass_time(left.pop())

    events.register("before-call.dynamodb.TransactWriteItems", slow)

    assert stage.drop("a.jpg", metadata=CUT_OUT) == ending
    stage.work_off()

    ((kind, detail),) = stage.events()
    assert (kind, detail["attempts"]) == ("Image Edited", 1)
    assert stage.calls == stage.paid == 1


def test_event_repeated_while_venice_works_waits_in_queue(
    stage: Stage,
) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)
    twin: list[dict[str, str]] = []

    assert while_venice_works(stage, event, lambda: twin.append(stage.upload(event))) == "edited"

    assert twin == [{"a.jpg": "queued"}]
    stage.work_off()
    assert stage.calls == stage.paid == 1
    assert stage.outputs() == ["a.jpg.png"]


def test_eight_copies_of_event_at_same_time_are_paid_once(stage: Stage) -> None:
    stage.venice.change(latency=0.2)
    event = stage.put("a.jpg", tags=CUT_OUT)

    with ThreadPoolExecutor(8) as pool:
        endings = [answer["a.jpg"] for answer in pool.map(stage.upload, [event] * 8)]

    assert endings.count("edited") == 1
    assert set(endings) <= {"edited", "queued", "done before"}
    stage.work_off()
    assert stage.calls == stage.paid == 1


def test_message_and_event_of_same_image_are_paid_once(stage: Stage) -> None:
    stage.venice.faults.add(503, times=1)
    event = stage.put("a.jpg", tags=CUT_OUT)
    stage.upload(event)

    assert stage.upload(event) == {"a.jpg": "edited"}
    stage.work_off()

    assert stage.paid == 1


def test_same_bytes_dropped_again_are_same_edit(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "done before"

    assert stage.calls == 1


def test_same_bytes_under_another_key_are_another_edit(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)

    assert stage.drop("b.jpg", tags=CUT_OUT) == "edited"


def test_same_instructions_from_another_source_are_same_edit(stage: Stage) -> None:
    stage.drop("a.jpg", tags={"prompt": "pink", "safe_mode": "true"})

    stage.put("a.jpg")
    again = stage.upload(stage.put_json("a.jpg.json", mode="edit", safe_mode=True, prompt="pink"))

    assert again == {"a.jpg": "done before"}
    assert stage.calls == 1


def test_late_event_of_older_upload_is_harmless(stage: Stage) -> None:
    older = stage.put("a.jpg", photo("darkred"), tags=CUT_OUT)
    newer = stage.put("a.jpg", photo("navy"), tags=CUT_OUT)

    assert stage.upload(newer) == {"a.jpg": "edited"}
    assert stage.upload(older) == {"a.jpg": "done before"}

    assert stage.calls == 1
    assert stage.metadata("a.jpg.png")["source-etag"] == etag(stage)


# --- changed, replaced and deleted on the way ----------------------------------------------


def results(stage: Stage) -> list[str]:
    """Keys of results and reports, without the paid answers that are kept for later."""
    return [key for key in stage.outputs() if not key.startswith(".image-drop/")]


def etag(stage: Stage) -> str:
    """Of the image as it is now."""
    return str(stage.s3.head_object(Bucket=INPUT, Key="a.jpg")["ETag"].strip('"'))


def test_newest_upload_wins_over_older_slower_edit(stage: Stage) -> None:
    older = stage.put("a.jpg", photo("darkred"), tags=CUT_OUT)
    newer: list[str] = []

    ending = while_venice_works(
        stage, older, lambda: newer.append(stage.drop("a.jpg", photo("navy"), tags=CUT_OUT))
    )

    assert (ending, newer) == ("superseded", ["queued"])  # one at a time writes for an image
    stage.work_off()
    assert stage.metadata("a.jpg.png")["source-etag"] == etag(stage)
    assert results(stage) == ["a.jpg.png"]
    assert stage.paid == 2


def test_older_edit_is_not_stored_when_newer_is_to_come(stage: Stage) -> None:
    older = stage.put("a.jpg", photo("darkred"), tags=CUT_OUT)
    events: list[dict[str, Any]] = []

    ending = while_venice_works(
        stage, older, lambda: events.append(stage.put("a.jpg", photo("navy"), tags=CUT_OUT))
    )

    assert ending == "superseded"
    assert results(stage) == []
    assert stage.upload(events[0]) == {"a.jpg": "edited"}
    assert stage.metadata("a.jpg.png")["source-etag"] == etag(stage)


def test_upload_right_before_older_result_is_stored_still_wins(stage: Stage) -> None:
    older = stage.put("a.jpg", photo("darkred"), tags=CUT_OUT)
    events = stage.services.input_bucket.s3.meta.events

    def overtake(**_: Any) -> None:
        events.unregister("before-call.s3.PutObject", overtake)
        stage.drop("a.jpg", photo("navy"), tags=CUT_OUT)

    events.register("before-call.s3.PutObject", overtake)

    stage.upload(older)
    stage.work_off()

    assert stage.metadata("a.jpg.png")["source-etag"] == etag(stage)


def test_refusal_of_older_upload_leaves_no_report_about_newer(stage: Stage) -> None:
    older = stage.put("a.jpg", photo("darkred"), tags={"prompt": "bad"})
    stage.venice.faults.add("content_violation", prompt="bad")
    events = stage.services.output_bucket.s3.meta.events

    def put_newer(**_: Any) -> None:  # just before the output bucket is looked at
        events.unregister("before-call.s3.HeadObject", put_newer)
        stage.put("a.jpg", photo("navy"), tags={"prompt": "good"})

    events.register("before-call.s3.HeadObject", put_newer)

    assert stage.upload(older) == {"a.jpg": "superseded"}

    assert stage.outputs() == []


def test_image_replaced_while_read_is_edited_as_it_is_now(stage: Stage) -> None:
    event = stage.put("a.jpg", photo("darkred"), tags=CUT_OUT)
    events = stage.services.input_bucket.s3.meta.events

    def replace(context: dict[str, Any], **_: Any) -> None:
        if context["input_params"]["Key"] == "a.jpg":
            events.unregister("before-call.s3.GetObject", replace)
            stage.put("a.jpg", photo("navy"), tags=CUT_OUT)

    events.register("before-call.s3.GetObject", replace)

    assert stage.upload(event) == {"a.jpg": "edited"}

    assert stage.calls == 1
    assert stage.metadata("a.jpg.png")["source-etag"] == etag(stage)


def test_paid_result_is_stored_although_image_was_deleted(stage: Stage) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)

    ending = while_venice_works(
        stage, event, lambda: stage.s3.delete_object(Bucket=INPUT, Key="a.jpg")
    )

    assert ending == "edited"
    assert stage.outputs() == ["a.jpg.png"]


def test_removed_result_is_made_again_at_next_drop(
    stage: Stage,
) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")
    stage.pass_time(3600)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "edited"

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.paid == 2


def test_result_removed_at_once_is_made_again_at_next_drop(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")

    assert stage.drop("a.jpg", tags=CUT_OUT) == "edited"

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.paid == 2


def test_moved_result_is_not_made_again_by_repeated_event(stage: Stage) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)
    stage.upload(event)
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")
    stage.pass_time(3600)

    assert stage.upload(event) == {"a.jpg": "done before"}

    assert stage.paid == 1


def test_instructions_changed_and_changed_back_are_two_edits(stage: Stage) -> None:
    for prompt in ("pink", "blue"):
        stage.drop("a.jpg", sidecar={"prompt": prompt})
    stage.pass_time(3600)

    assert stage.drop("a.jpg", sidecar={"prompt": "pink"}) == "edited"

    assert stage.paid == 3


# --- killed on the way ---------------------------------------------------------------------


class KilledInTheMiddle(Venice):
    """The process dies after Venice has carried out the call, before its answer is used."""

    def edit(self, *args: Any, **kwargs: Any) -> Answer:
        super().edit(*args, **kwargs)
        raise Killed


def killed(stage: Stage, event: dict[str, Any], moment: str) -> None:
    """Run the upload function and kill it at the moment."""
    if moment == "during the call":
        real = stage.services.venice
        venice = KilledInTheMiddle(real.base_url, real.api_key, real.now)
        stage.services = replace(stage.services, venice=venice)
    else:
        stage.kill(moment)
    with pytest.raises(Killed):
        stage.upload(event)
    stage.cold_start()


MOMENTS = [
    ("before-call.GetObject", 1),  # (a) before the call: the image is being read
    ("during the call", 2),  # (b)
    ("before-call.PutObject", 2),  # (c) after the answer, before the result is stored
    ("after-call.PutObject", 1),  # (d) the result is stored
]


def test_last_try_of_stored_result_finishes_its_work(stage: Stage) -> None:
    """Found by the simulation: the event was lost, and the call stayed unconfirmed."""
    stage.configure(MAX_FAILURES="1")
    event = stage.put("a.jpg", metadata=CUT_OUT)
    killed(stage, event, "after-call.PutObject")
    stage.pass_time(LAMBDA_TIMEOUT)
    stage.upload(event)  # notes the death, which is a failure, and queues

    stage.interruptions.plan(0)  # the one that is left
    stage.work_off()

    assert results(stage) == ["a.jpg.png"]
    assert [kind for kind, _ in stage.events()] == ["Image Edited"]
    assert stage.services.billing.day(stage.clock.now()).unconfirmed_usd == 0
    assert (stage.waiting(), stage.dead()) == (0, 0)


@pytest.mark.parametrize("meanwhile", ["deleted", "replaced"])
def test_stored_result_counts_whatever_becomes_of_its_image(stage: Stage, meanwhile: str) -> None:
    """Found by the simulation: the call stayed unconfirmed, and a report came beside the result."""
    event = stage.put("a.jpg", metadata=CUT_OUT)
    killed(stage, event, "after-call.PutObject")
    if meanwhile == "deleted":
        stage.s3.delete_object(Bucket=INPUT, Key="a.jpg")
    else:
        event = stage.put("a.jpg", photo("newer"), metadata=CUT_OUT)
    stage.pass_time(LAMBDA_TIMEOUT)

    stage.upload(event)
    stage.work_off()

    assert results(stage) == stage.outputs() == ["a.jpg.png"]
    assert stage.paid == (1 if meanwhile == "deleted" else 2)
    assert [kind for kind, _ in stage.events()] == ["Image Edited"] * stage.paid
    assert stage.services.billing.day(stage.clock.now()).unconfirmed_usd == 0


@pytest.mark.parametrize(("moment", "paid"), MOMENTS)
def test_redelivery_finishes_work_of_killed_function(
    stage: Stage, metrics: Metrics, log: io.StringIO, moment: str, paid: int
) -> None:
    event = stage.put("a.jpg", metadata=CUT_OUT)
    killed(stage, event, moment)
    stage.pass_time(LAMBDA_TIMEOUT)

    assert stage.upload(event) == {"a.jpg": "queued"}  # Lambda's own retry: the death is noted
    stage.work_off()

    assert results(stage) == ["a.jpg.png"]
    assert stage.paid == stage.calls == paid
    assert metrics().get("PossiblyPaidTwice", []) == [1] * (paid - 1)
    assert ("calling again after a call without an answer" in log.getvalue()) is (paid == 2)
    assert [kind for kind, _ in stage.events()] == ["Image Edited"]

    assert stage.upload(event) == {"a.jpg": "done before"}
    assert stage.paid == paid


@pytest.mark.parametrize(("moment", "paid"), MOMENTS)
def test_redelivery_waits_until_killed_function_would_have_ended(
    stage: Stage, moment: str, paid: int
) -> None:
    event = stage.put("a.jpg", metadata=CUT_OUT)
    killed(stage, event, moment)

    assert stage.upload(event) == {"a.jpg": "queued"}
    stage.work_off()
    assert stage.outputs() == ["a.jpg.png"]
    assert stage.paid == paid
    assert stage.dead() == 0


def test_edit_that_kills_its_function_twice_is_not_called_again(stage: Stage) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)
    for _ in range(2):
        killed(stage, event, "before-call.PutObject")
        stage.pass_time(LAMBDA_TIMEOUT)
        stage.upload(event)  # notes the death

    stage.work_off()

    assert stage.report("a.jpg")["code"] == "outcome_unknown"
    assert stage.calls == 2


def test_message_that_was_not_deleted_is_done_before(stage: Stage) -> None:
    stage.venice.faults.add(503, times=1)
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.pass_time(60)

    assert stage.redeliver(acknowledge=False) == "gone"  # (d) killed before Lambda deletes it
    assert stage.waiting() == 1
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.paid == 1


@pytest.mark.parametrize(("moment", "paid"), [MOMENTS[0], MOMENTS[2], MOMENTS[3]])
def test_message_of_killed_retry_function_comes_again(stage: Stage, moment: str, paid: int) -> None:
    stage.venice.faults.add(503, times=1)
    stage.upload(stage.put("a.jpg", metadata=CUT_OUT))
    stage.pass_time(60)
    stage.kill(moment)
    with pytest.raises(Killed):
        stage.redeliver()
    stage.cold_start()

    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.paid == paid
    assert stage.dead() == 0


def test_outdated_report_is_removed_although_function_was_killed(
    stage: Stage,
) -> None:
    event = stage.put("a.jpg")
    stage.upload(event)
    assert stage.outputs() == ["a.jpg.error.json"]
    sidecar = stage.put_json("a.jpg.json", **CUT_OUT)
    killed(stage, sidecar, "after-call.PutObject")
    assert stage.outputs() == ["a.jpg.error.json", "a.jpg.png"]

    stage.pass_time(LAMBDA_TIMEOUT)
    stage.upload(sidecar)
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]


def test_lock_of_function_without_time_left_is_free_at_once(stage: Stage) -> None:
    event = stage.put("a.jpg", metadata=CUT_OUT)
    stage.kill("before-call.GetObject")
    with pytest.raises(Killed):
        stage.upload(event, FakeContext(remaining=1))

    stage.pass_time(0.01)
    stage.upload(event)
    assert stage.due_in() < 20
    stage.work_off()
    assert stage.outputs() == ["a.jpg.png"]


def test_new_finish_of_plain_result_is_drawn_without_call(stage: Stage) -> None:
    finishes = [{"preset": "amazon"}, {"preset": "shopify"}, {"format": "webp"}]
    stage.drop("a.jpg", sidecar=CUT_OUT)
    for finish in finishes:
        stage.drop("a.jpg", sidecar=CUT_OUT | {"finish": finish})
        stage.pass_time(1)
    assert stage.calls == 1
    assert stage.outputs() == ["a.jpg.jpg", "a.jpg.png", "a.jpg.webp"]
    assert {stage.metadata(key)["cost-usd"] for key in ("a.jpg.jpg", "a.jpg.webp")} == {"0.000000"}
    assert stage.metadata("a.jpg.jpg")["model"] == "bria-bg-remover"


def test_plain_result_of_other_call_is_not_finished(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar=CUT_OUT)
    stage.drop("a.jpg", photo("boot"), sidecar=CUT_OUT | {"finish": {"preset": "amazon"}})
    assert stage.calls == 2
    stage.drop("b.jpg", sidecar={"prompt": "pink"})
    stage.drop("b.jpg", sidecar={"prompt": "blue", "finish": {"preset": "amazon"}})
    assert stage.calls == 4
