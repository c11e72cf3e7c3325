"""What the simulation has found, or what was read in its light, each by the shortest way to it."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from image_drop.uploads import Upload
from tests.integration.test_pay_once import killed, while_venice_works
from tests.support.interruptions import Killed
from tests.support.pictures import photo
from tests.support.stage import INPUT, OUTPUT, Stage

CUT_OUT = {"mode": "background-remove"}
LAMBDA_TIMEOUT = 300  # seconds


def refuse_events(stage: Stage, seconds: float) -> None:
    """Let the event bus refuse all requests for some time."""
    until = stage.clock.now() + seconds

    def refuse(**_: Any) -> None:
        if stage.clock.now() < until:
            raise ClientError({"Error": {"Code": "InternalException"}}, "PutEvents")

    stage.services.bus.events.meta.events.register_first("before-call.events", refuse)


def fail_heads(stage: Stage, times: int) -> None:
    """Let S3 fail at so many HEAD requests."""
    left = [times]

    def fail(**_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise ClientError(
                {
                    "Error": {"Code": "InternalError", "Message": ""},
                    "ResponseMetadata": {"HTTPStatusCode": 500},  # type: ignore[typeddict-item]
                },
                "HeadObject",
            )

    stage.services.input_bucket.s3.meta.events.register("before-call.s3.HeadObject", fail)


def lose_answer_of_put(stage: Stage) -> None:
    """Let S3 store the next object, and lose its answer."""
    events = stage.services.output_bucket.s3.meta.events

    def lose(**_: Any) -> None:
        events.unregister("after-call.s3.PutObject", lose)
        raise ReadTimeoutError(endpoint_url="https://aws.test")

    events.register("after-call.s3.PutObject", lose)


def refuse_puts(stage: Stage, times: int) -> None:
    """Let S3 refuse so many objects."""
    left = [times]

    def refuse(**_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject")

    stage.services.output_bucket.s3.meta.events.register("before-call.s3.PutObject", refuse)


def kill_after(stage: Stage, request: str, number: int) -> None:
    """Kill the functions after the so-manieth such request, counted from 1."""
    service, _, operation = request.partition(".")
    name = f"after-call.{service}.{operation}"
    events = stage.interruptions.client(service).meta.events
    left = [number]

    def die(**_: Any) -> None:
        left[0] -= 1
        if not left[0]:
            events.unregister(name, die)
            raise Killed

    events.register(name, die)


def retry(stage: Stage, key: str) -> None:
    """Ask for a retry, as the command line does."""
    stage.services.queue.send(Upload(INPUT, key, retry="again"))


def test_event_is_sent_although_next_outcome_came_first(stage: Stage) -> None:
    refuse_events(stage, 30)
    stage.drop("a.jpg", sidecar={"prompt": "pink"})
    first = stage.metadata("a.jpg.png")["edit-id"]
    changed = stage.put_json("a.jpg.json", prompt="blue")
    stage.upload(changed)
    second = stage.metadata("a.jpg.png")["edit-id"]

    stage.work_off()

    assert [detail["edit_id"] for _, detail in stage.events()] == [first, second]


def test_old_report_goes_though_result_was_replaced(stage: Stage) -> None:
    stage.upload(stage.put("a.jpg"))
    sidecar = stage.put_json("a.jpg.json", **CUT_OUT)
    kill_after(stage, "dynamodb.TransactWriteItems", 2)  # the outcome; the first was the call
    with pytest.raises(Killed):
        stage.upload(sidecar)
    stage.cold_start()
    assert stage.report("a.jpg")["code"] == "no_instructions"
    stage.s3.put_object(Bucket=OUTPUT, Key="a.jpg.png", Body=b"somebody else's")
    stage.pass_time(LAMBDA_TIMEOUT)

    stage.upload(sidecar)
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.read("a.jpg.png") == b"somebody else's"


def test_finished_image_is_no_dead_letter_while_aws_is_busy(stage: Stage) -> None:
    stage.configure(MAX_FAILURES="1")
    event = stage.put("a.jpg", metadata=CUT_OUT)
    killed(stage, event, "after-call.PutObject")
    stage.pass_time(LAMBDA_TIMEOUT)
    stage.upload(event)  # notes the death, which is a failure, and queues
    fail_heads(stage, 2)

    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert (stage.waiting(), stage.dead()) == (0, 0)


def test_late_retry_does_not_make_again_what_was_made_since(stage: Stage) -> None:
    event = stage.put("a.jpg", metadata=CUT_OUT)
    retry(stage, "a.jpg")
    stage.pass_time(60)
    stage.upload(event)
    stage.pass_time(60)
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")

    stage.work_off()

    assert (stage.outputs(), stage.paid) == ([], 1)


def test_retry_after_removal_makes_result_again(stage: Stage) -> None:
    stage.drop("a.jpg", metadata=CUT_OUT)
    stage.pass_time(60)
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")
    retry(stage, "a.jpg")

    stage.work_off()

    assert (stage.outputs(), stage.paid) == (["a.jpg.png"], 2)


def test_original_does_not_replace_result_that_came_meanwhile(stage: Stage) -> None:
    stage.put_json(
        "a.jpg.json", mode="background-remove", finish={"format": "webp"}, keep_original=True
    )
    event = stage.put("a.jpg")
    ended: list[str] = []

    def other() -> None:
        ended.append(stage.drop("a.jpg.original", tags=CUT_OUT))

    while_venice_works(stage, event, other)
    stage.work_off()

    assert ended == ["edited"]
    assert stage.metadata("a.jpg.original.png")["source-key"] == "a.jpg.original"
    assert stage.report("a.jpg")["code"] == "output_taken"
    assert stage.paid == 2


def test_event_is_sent_although_image_has_variants_by_now(stage: Stage) -> None:
    refuse_events(stage, 90)
    stage.drop("a.jpg", sidecar=CUT_OUT)
    stage.upload(stage.put_json("a.jpg.json", variants={"cut": CUT_OUT}))

    stage.work_off()

    assert sorted(detail["output"]["key"] for _, detail in stage.events()) == [
        "a.jpg.cut.png",
        "a.jpg.png",
    ]


def test_stored_result_is_announced_though_answer_was_lost(stage: Stage) -> None:
    event = stage.put("a.jpg", photo("older"), metadata=CUT_OUT)
    lose_answer_of_put(stage)

    assert stage.upload(event) == {"a.jpg": "queued"}
    first = stage.metadata("a.jpg.png")["edit-id"]
    stage.upload(stage.put("a.jpg", photo("newer"), metadata=CUT_OUT))
    stage.work_off()

    second = stage.metadata("a.jpg.png")["edit-id"]
    assert {detail["edit_id"] for _, detail in stage.events()} == {first, second}


def test_finished_result_of_dead_function_is_announced(stage: Stage) -> None:
    sidecar = {"mode": "background-remove", "finish": {"format": "webp"}}
    stage.put_json("a.jpg.json", **sidecar)
    event = stage.put("a.jpg")
    kill_after(stage, "s3.PutObject", 2)  # the result; the first was Venice's answer
    with pytest.raises(Killed):
        stage.upload(event)
    stage.cold_start()
    first = stage.metadata("a.jpg.webp")["edit-id"]
    changed = stage.put_json("a.jpg.json", **CUT_OUT)
    stage.pass_time(LAMBDA_TIMEOUT)

    stage.upload(changed)
    stage.work_off()

    assert first in [detail["edit_id"] for _, detail in stage.events()]
    assert stage.paid == 1


def test_last_try_settles_stored_result_of_older_instructions(stage: Stage) -> None:
    stage.configure(MAX_FAILURES="1")
    event = stage.put("p/a.jpg", metadata=CUT_OUT)
    killed(stage, event, "after-call.PutObject")
    stage.put_json("p/.image-drop.json", finish={"format": "webp"})
    stage.pass_time(LAMBDA_TIMEOUT)
    stage.upload(event)  # notes the death, which is a failure, and queues
    fail_heads(stage, 1)

    stage.work_off()

    assert "Image Edited" in [kind for kind, _ in stage.events()]
    assert stage.services.billing.day(stage.clock.now()).unconfirmed_usd == 0


def test_event_of_unwanted_variant_is_sent(stage: Stage) -> None:
    refuse_events(stage, 90)
    stage.put_json("p/.image-drop.json", variants={"cut": CUT_OUT})
    stage.upload(stage.put("p/a.jpg"))
    assert stage.redeliver() == "kept"  # its event is not sent
    stage.put_json("p/.image-drop.json", **CUT_OUT)

    stage.work_off()

    assert {detail["output"]["key"] for _, detail in stage.events()} == {
        "p/a.jpg.cut.png",
        "p/a.jpg.png",
    }


def test_superseded_answer_that_cannot_be_kept_is_spend(stage: Stage) -> None:
    event = stage.put("a.jpg", photo("older"), metadata=CUT_OUT)
    refuse_puts(stage, 1)

    while_venice_works(stage, event, lambda: stage.put("a.jpg", photo("newer"), metadata=CUT_OUT))
    stage.work_off()

    day = stage.services.billing.day(stage.clock.now())
    assert (stage.paid, day.unconfirmed_usd) == (2, 0)


def test_dead_letter_keeps_refusal_that_was_not_reported(stage: Stage) -> None:
    stage.configure(MAX_FAILURES="1")
    stage.venice.faults.add("html")
    refuse_puts(stage, times=2)  # of the report, by the upload and by its last try

    stage.drop("a.jpg", tags=CUT_OUT)
    stage.work_off()
    first = stage.report("a.jpg")["code"]
    stage.redrive()
    stage.work_off()

    assert (first, stage.report("a.jpg")["code"]) == ("retries_exhausted", "unusable_answer")
    assert stage.calls == 1


def test_slots_that_were_not_used_in_time_are_given_back(stage: Stage) -> None:
    slow, left = stage.services.billing.dynamodb.meta.events, [16.0, 16.0]

    def wait(params: dict[str, Any], **_: Any) -> None:
        if left and b"digest" in params["body"]:  # a call is begun
            stage.clock.sleep(left.pop())

    slow.register("before-call.dynamodb.TransactWriteItems", wait)
    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
    log, _ = stage.services.limiter.peek("background-remove")
    assert (stage.calls, log.slots) == (0, {})

    stage.work_off()

    day = stage.services.billing.day(stage.clock.now())
    assert (stage.paid, day.usd, day.unconfirmed_usd) == (1, 0.03, 0)


def test_late_call_is_withdrawn_before_another_one_begins(stage: Stage) -> None:
    steps: list[str] = []

    def slow_then_away(params: dict[str, Any], **_: Any) -> None:
        begins = b"digest" in params["body"]
        steps.append("begin" if begins else "other")
        if steps == ["begin"]:
            stage.clock.sleep(16)
        elif steps == ["begin", "other"]:
            raise EndpointConnectionError(endpoint_url="dynamodb")

    events = stage.services.billing.dynamodb.meta.events
    events.register("before-call.dynamodb.TransactWriteItems", slow_then_away)
    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"  # the release withdraws it
    stage.work_off()

    day = stage.services.billing.day(stage.clock.now())
    assert (stage.paid, day.usd, day.unconfirmed_usd) == (1, 0.03, 0)
