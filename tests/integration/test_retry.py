"""What goes where when it fails: the queue, a report, or the dead letters."""

import io
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from image_drop_local.simulator.faults import Status, Word
from tests.support.lambda_context import FakeContext
from tests.support.pictures import photo
from tests.support.stage import INPUT, KEY_PARAMETER, Stage, sample

CUT_OUT = {"mode": "background-remove"}
JITTER = 3  # seconds, at most, on top of a time that Venice named: 2, and a part of one
FIRST_BACK_OFF = 15  # seconds, at most, where it named none

Metrics = Callable[[], dict[str, list[float]]]


# --- retryable -----------------------------------------------------------------------------

RATE_LIMITS = [
    ({"answer": 429, "retry_after": 40}, 40),
    ({"answer": 429, "reset_after": 50, "reset_unit": "seconds"}, 50),
    ({"answer": 429, "reset_after": 50, "reset_unit": "milliseconds"}, 50),
    ({"answer": 429, "retry_after": 30, "reset_after": 90}, 30),
    ({"answer": "overloaded"}, 30),
    ({"answer": 429, "retry_after": 99_999}, 120),  # believed up to two minutes
    ({"answer": 429, "reset_after": -60}, 0),  # over already
]


@pytest.mark.parametrize(("fault", "named"), RATE_LIMITS)
def test_rate_limited_upload_waits_in_queue_until_venice_says(
    stage: Stage, fault: dict[str, Any], named: int
) -> None:
    stage.venice.faults.add(**fault, times=1)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"

    assert stage.outputs() == []
    assert stage.events() == []
    assert stage.waiting() == 1
    assert named - 1 <= stage.due_in() <= max(named, FIRST_BACK_OFF) + JITTER


@pytest.mark.parametrize(("fault", "named"), RATE_LIMITS)
def test_rate_limited_message_stays_hidden_until_venice_says(
    stage: Stage, fault: dict[str, Any], named: int
) -> None:
    stage.venice.faults.add(503, times=1)
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.clock.sleep(60)
    stage.venice.faults.add(**fault, times=1)

    assert stage.redeliver() == "kept"

    assert stage.outputs() == []
    assert stage.waiting() == 1
    assert named - 1 <= stage.due_in() <= max(named, FIRST_BACK_OFF) + JITTER


def test_rate_limit_without_time_backs_off_and_is_edited_later(stage: Stage) -> None:
    stage.venice.faults.add(429, times=3)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert (stage.calls, stage.paid) == (4, 1)


def test_429_holds_back_all_images_of_model(stage: Stage) -> None:
    stage.venice.faults.add(429, retry_after=60, times=1)

    stage.drop("a.jpg", tags=CUT_OUT)

    assert stage.drop("b.jpg", tags=CUT_OUT) == "queued"
    assert stage.drop("c.jpg", tags={"prompt": "pink"}) == "edited"  # another model
    assert stage.calls == 2


def test_locked_out_key_holds_back_all_models_for_30_seconds(stage: Stage) -> None:
    stage.venice.change(lockout_failures=1)
    assert stage.drop("bad.jpg", tags={"prompt": "x", "model": "no-such"}) == "reported"
    assert stage.drop("worse.jpg", tags={"prompt": "x", "model": "no-such"}) == "reported"
    assert stage.venice.lock_outs == 1
    before = stage.calls

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
    assert stage.drop("b.jpg", tags={"prompt": "pink"}) == "queued"
    assert stage.calls == before + 1

    stage.work_off()

    assert stage.calls == before + 3
    assert {"a.jpg.png", "b.jpg.png"} < set(stage.outputs())


@pytest.mark.parametrize("status", [500, 502, 503])
def test_unavailable_venice_is_tried_again_later(stage: Stage, status: int) -> None:
    stage.venice.faults.add(status, times=2)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
    assert stage.outputs() == []
    assert stage.waiting() == 1

    assert stage.work_off() == 2

    assert stage.outputs() == ["a.jpg.png"]
    assert (stage.waiting(), stage.dead(), stage.paid) == (0, 0, 1)
    ((kind, event),) = stage.events()
    assert (kind, event["attempts"]) == ("Image Edited", 3)


def test_refused_connection_is_tried_again_later(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    stage.configure(VENICE_BASE_URL=f"http://127.0.0.1:{port}/api/v1")

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
    assert stage.waiting() == 1

    stage.configure(VENICE_BASE_URL=stage.venice.url)
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]


def test_connection_closed_before_answer_is_retried_later(stage: Stage) -> None:
    stage.venice.faults.add("drop", times=1)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.paid == 1


@pytest.mark.parametrize(
    ("service", "operation", "code", "status"),
    [
        ("s3", "GetObject", "SlowDown", 503),
        ("s3", "HeadObject", "503", 503),
        ("s3", "PutObject", "InternalError", 500),
        ("dynamodb", "BatchGetItem", "ThrottlingException", 400),
        ("dynamodb", "TransactWriteItems", "ProvisionedThroughputExceededException", 400),
        ("dynamodb", "PutItem", "ThrottlingException", 400),
    ],
)
def test_image_waits_where_aws_asks_to_slow_down(
    stage: Stage, service: str, operation: str, code: str, status: int
) -> None:
    client = (
        stage.services.input_bucket.s3
        if service == "s3"
        else stage.services.circuit_breaker.dynamodb
    )
    name = f"before-call.{service}.{operation}"

    def busy(**_: Any) -> None:
        client.meta.events.unregister(name, busy)
        raise ClientError(
            {
                "Error": {"Code": code, "Message": ""},
                "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
            },
            operation,
        )

    client.meta.events.register(name, busy)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.dead() == 0


# --- unknown -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["timeout", "drop_mid", "drop_after", 408, 504, 524])
def test_call_without_answer_is_made_once_more(
    stage: Stage, metrics: Metrics, log: io.StringIO, fault: Status | Word
) -> None:
    stage.configure(read_timeout=1.0)
    stage.venice.faults.add(fault, times=1)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
    assert "PossiblyPaidTwice" not in metrics()

    assert stage.work_off() == 1

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.calls == 2
    assert metrics()["PossiblyPaidTwice"] == [1]
    assert "calling again after a call without an answer" in log.getvalue()


@pytest.mark.parametrize("fault", ["timeout", "drop_mid", "drop_after", 408, 504, 524])
def test_second_call_without_answer_ends_in_report(stage: Stage, fault: Status | Word) -> None:
    stage.configure(read_timeout=1.0)
    stage.venice.faults.add(fault)
    event = stage.put("a.jpg", tags=CUT_OUT)
    stage.upload(event)

    stage.work_off()

    assert stage.outputs() == ["a.jpg.error.json"]
    report = stage.report("a.jpg")
    assert report["code"] == "outcome_unknown"
    assert "charged" in report["what_to_do"]
    assert report["attempts"] == 2
    assert stage.dead() == 0
    assert [kind for kind, _ in stage.events()] == ["Image Edit Failed"]
    assert stage.calls == 2

    stage.upload(event)  # S3 delivers it again
    assert stage.calls == 2


def test_image_whose_outcome_was_unknown_can_be_uploaded_again(stage: Stage) -> None:
    stage.configure(read_timeout=1.0)
    stage.venice.faults.add("timeout", times=2)
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.work_off()
    assert stage.report("a.jpg")["code"] == "outcome_unknown"
    stage.clock.sleep(60)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "edited"

    assert stage.outputs() == ["a.jpg.png"]


def test_server_errors_between_two_timeouts_do_not_hide_first(stage: Stage) -> None:
    stage.configure(read_timeout=1.0)
    for fault in ("timeout", 503, 429, "timeout"):
        stage.venice.faults.add(fault, times=1)
    stage.drop("a.jpg", tags=CUT_OUT)

    stage.work_off()

    assert stage.report("a.jpg")["code"] == "outcome_unknown"
    assert stage.calls == 4


# --- permanent -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (400, "refused", 400),
        (404, "media_not_found", 404),
        (410, "model_not_found", 410),
        (413, "refused", 413),
        (415, "refused", 415),
        (422, "content_refused", 422),
        ("content_violation", "content_refused", 200),
        ("html", "unusable_answer", 200),
        ("empty", "unusable_answer", 200),
        ("truncated", "unusable_answer", 200),
    ],
)
def test_refused_request_ends_in_report_and_is_not_repeated(
    stage: Stage, metrics: Metrics, fault: Status | Word, code: str, status: int
) -> None:
    stage.venice.faults.add(fault)
    event = stage.put("a.jpg", tags={"prompt": "pink"})

    assert stage.upload(event) == {"a.jpg": "reported"}

    assert stage.outputs() == ["a.jpg.error.json"]
    report = stage.report("a.jpg")
    assert (report["code"], report["status"], report["mode"]) == (code, status, "edit")
    assert report["request_id"].endswith("-SIM")
    assert (stage.waiting(), stage.dead()) == (0, 0)
    ((kind, detail),) = stage.events()
    assert (kind, detail["code"], detail["mode"]) == ("Image Edit Failed", code, "edit")
    assert metrics()["Failed"] == [1]

    assert stage.upload(event) == {"a.jpg": "done before"}  # S3 delivers it again
    assert stage.calls == 1


def test_report_tells_what_venice_said(stage: Stage) -> None:
    stage.venice.faults.add(422)

    stage.drop("a.jpg", tags={"prompt": "pink"})

    assert "violates the content policy" in stage.report("a.jpg")["detail"]


def test_refusal_of_queued_image_ends_in_report(stage: Stage) -> None:
    stage.venice.faults.add(503, times=1)
    stage.venice.faults.add(400, times=1)
    stage.drop("a.jpg", tags=CUT_OUT)

    assert stage.work_off() == 1

    assert stage.report("a.jpg")["code"] == "refused"
    assert stage.report("a.jpg")["attempts"] == 2
    assert stage.dead() == 0


def test_image_that_is_deleted_while_it_waits_gets_report(stage: Stage) -> None:
    stage.venice.faults.add(503, times=1)
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.s3.delete_object(Bucket=INPUT, Key="a.jpg")

    stage.work_off()

    assert stage.report("a.jpg")["code"] == "image_deleted"
    assert (stage.calls, stage.dead()) == (1, 0)


# --- the last try --------------------------------------------------------------------------


def test_redrive_mends_report_and_dead_letter_of_last_try(stage: Stage) -> None:
    stage.configure(tries=3)
    stage.venice.faults.add(503)
    stage.drop("products/a.jpg", tags=CUT_OUT)

    assert stage.work_off() == 2

    assert stage.outputs() == ["products/a.jpg.error.json"]
    report = stage.report("products/a.jpg")
    assert report["code"] == "retries_exhausted"
    assert report["attempts"] == stage.calls == 3  # the upload function's and two more
    assert report["status"] == 503
    assert "at capacity" in report["detail"]
    assert (stage.waiting(), stage.dead()) == (0, 1)
    assert [kind for kind, _ in stage.events()] == ["Image Edit Failed"]

    stage.venice.faults.clear()
    stage.redrive()
    stage.work_off()

    assert stage.outputs() == ["products/a.jpg.png"]
    assert (stage.waiting(), stage.dead(), stage.paid) == (0, 0, 1)
    assert [kind for kind, _ in stage.events()] == ["Image Edited"]


def test_tries_come_ever_more_slowly(stage: Stage) -> None:
    stage.venice.faults.add(503)
    stage.drop("a.jpg", tags=CUT_OUT)
    started = stage.clock.now()

    assert stage.work_off() == 11  # the upload function's was the first

    hours = (stage.clock.now() - started) / 3600
    assert 0.5 < hours < 8
    assert stage.dead() == 1


def test_unexpected_failure_is_tried_again_and_reported_at_last(stage: Stage) -> None:
    stage.configure(tries=2)
    refused = ClientError({"Error": {"Code": "InvalidRequest", "Message": "no"}}, "GetObject")

    def refuse(**_: Any) -> None:
        raise refused

    stage.services.input_bucket.s3.meta.events.register("before-call.s3.GetObject", refuse)
    event = stage.put("a.jpg", metadata=CUT_OUT)
    with pytest.raises(ClientError):  # Lambda tries it twice more, then hands it to the queue
        stage.upload(event)
    send(stage, failed_invocation(event))

    assert stage.work_off() == 2

    assert stage.report("a.jpg")["code"] == "retries_exhausted"
    assert "InvalidRequest" in stage.report("a.jpg")["detail"]
    assert stage.dead() == 1


def test_image_that_only_waited_is_never_dead_letter(stage: Stage) -> None:
    stage.configure(tries=2)
    stage.services.limiter.block("background-remove", stage.clock.now() + 7200)
    stage.drop("a.jpg", tags=CUT_OUT)

    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.dead() == 0


# --- what else arrives in the queue --------------------------------------------------------


def send(stage: Stage, body: str) -> None:
    stage.sqs.send_message(QueueUrl=stage.queue, MessageBody=body)


def failed_invocation(event: dict[str, Any]) -> str:
    """What Lambda puts into the queue when the upload function has died three times."""
    record = json.loads(sample("sqs-lambda-failure")["Records"][0]["body"])
    return json.dumps(record | {"requestPayload": event})


def test_image_whose_function_died_is_edited_from_lambdas_record(stage: Stage) -> None:
    send(stage, failed_invocation(stage.put("a b+c.jpg", tags=CUT_OUT)))

    assert stage.redeliver() == "gone"

    assert stage.outputs() == ["a b+c.jpg.png"]


def test_lambdas_record_becomes_one_message_for_each_upload(stage: Stage) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)
    event["Records"] += stage.put("b.jpg", b"no picture", tags=CUT_OUT)["Records"]
    send(stage, failed_invocation(event))

    assert stage.redeliver() == "gone"
    assert stage.waiting() == 2

    stage.work_off()
    assert stage.outputs() == ["a.jpg.png", "b.jpg.error.json"]


def test_notification_that_bucket_sends_to_queue_is_understood(stage: Stage) -> None:
    send(stage, json.dumps(stage.put("a.jpg", tags=CUT_OUT)))

    assert stage.redeliver() == "gone"

    assert stage.outputs() == ["a.jpg.png"]


@pytest.mark.parametrize("name", ["s3-test", "s3-remove"])
def test_notification_that_is_no_upload_is_removed(stage: Stage, name: str) -> None:
    send(stage, json.dumps(sample(name)))

    assert stage.redeliver() == "gone"

    assert stage.outputs() == []
    assert (stage.waiting(), stage.dead(), stage.calls) == (0, 0, 0)


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '"text"', '{"Records": [{}]}', "null"])
def test_message_that_nobody_understands_becomes_dead_letter(stage: Stage, body: str) -> None:
    send(stage, body)

    assert stage.redeliver() == "gone"

    assert stage.dead() == 1
    assert stage.waiting() == 0
    assert stage.outputs() == []


@pytest.mark.parametrize("name", ["sqs-retry", "sqs-lambda-failure"])
def test_sample_message_is_worked_on(stage: Stage, name: str) -> None:
    stage.put("products/red shoe (left).jpg", photo(), metadata=CUT_OUT)
    send(stage, sample(name)["Records"][0]["body"])

    assert stage.redeliver() == "gone"

    assert stage.outputs() == ["products/red shoe (left).jpg.png"]


# --- the account ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "status"),
    [("bad_key", 401), ("no_balance", 402), ("spend_limit", 402), ("forbidden", 403)],
)
def test_refused_account_pauses_processing_and_fails_no_image(
    stage: Stage, metrics: Metrics, account: str, status: int
) -> None:
    stage.venice.change(account=account)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"

    assert stage.processing_paused
    assert stage.outputs() == []
    assert stage.waiting() == 1
    ((kind, event),) = stage.events()
    assert kind == "Venice Account Unavailable"
    assert event["reason"] == "account_unavailable"
    assert str(status) in event["detail"]
    assert metrics()["ProcessingPaused"] == [1]

    assert stage.drop("b.jpg", tags=CUT_OUT) == "queued"
    stage.clock.sleep(30)
    assert stage.redeliver() == "kept"
    assert stage.calls == 1  # processing is paused: nobody else has called
    assert stage.events() == []
    assert stage.waiting() == 2


@pytest.mark.parametrize("value", [None, "", "not a\nkey"])
def test_missing_key_pauses_processing_without_call(stage: Stage, value: str | None) -> None:
    stage.ssm.delete_parameter(Name=KEY_PARAMETER)
    if value:
        stage.set_key(value)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"

    assert stage.processing_paused
    assert (stage.calls, stage.waiting(), stage.outputs()) == (0, 1, [])
    ((_, event),) = stage.events()
    assert KEY_PARAMETER in event["detail"]


def test_image_is_not_given_up_while_processing_is_paused(stage: Stage) -> None:
    stage.configure(tries=2)
    stage.venice.change(account="no_balance")
    stage.drop("a.jpg", tags=CUT_OUT)

    for _ in range(10):
        stage.pass_time(310)
        stage.redeliver()

    assert (stage.calls, stage.waiting(), stage.dead(), stage.outputs()) == (1, 1, 0, [])


def test_rotated_key_is_fetched_again_without_pause(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.set_key("second-key")
    stage.venice.change(bad_keys=["first-key"])

    assert stage.drop("b.jpg", tags=CUT_OUT) == "queued"  # it still had the first one

    assert not stage.processing_paused
    stage.work_off()
    assert stage.outputs() == ["a.jpg.png", "b.jpg.png"]
    assert [kind for kind, _ in stage.events()] == ["Image Edited", "Image Edited"]
    assert stage.dead() == 0


def test_no_call_is_made_that_invocation_may_not_outlive(stage: Stage) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)

    assert stage.upload(event, FakeContext(remaining=100_000)) == {"a.jpg": "queued"}
    assert stage.calls == 0

    stage.work_off()
    assert stage.outputs() == ["a.jpg.png"]
    assert stage.calls == 1
