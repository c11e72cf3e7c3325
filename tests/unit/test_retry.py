"""What becomes of an edit that failed and may succeed later: when, how often, and what then."""

import json
import random
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import boto3
import msgspec
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_drop import retry
from image_drop.errors import (
    AccountError,
    ImageDropError,
    InProgressError,
    LockedOutError,
    NoSlotError,
    ProcessingPausedError,
    RateLimitedError,
    StorageBusyError,
    VeniceUnavailableError,
)
from image_drop.invocation import Invocation
from image_drop.pipeline import Outcome
from image_drop.services import Services
from image_drop.storage.retry_queue import Message, RetryQueue
from image_drop.uploads import Upload, from_message
from image_drop_local.simulator import Simulator
from tests.support.clock import FakeClock
from tests.support.lambda_context import FakeContext

NOW = 1_800_000_000.0


# --- when --------------------------------------------------------------------------------------


def waits(error: ImageDropError, attempt: int, number: int = 500) -> list[float]:
    return [retry.wait_for(error, attempt, NOW, random.Random(seed)) for seed in range(number)]


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(1, 15), (2, 30), (3, 60), (5, 240), (8, 1920), (9, 3600), (12, 3600), (1000, 3600)],
)
def test_back_off_is_spread_up_to_ceiling_that_doubles(attempt: int, ceiling: float) -> None:
    seen = waits(VeniceUnavailableError("503"), attempt)

    assert 0 <= min(seen) < ceiling * 0.2
    assert ceiling * 0.9 < max(seen) <= ceiling


@pytest.mark.parametrize("error", [RateLimitedError, LockedOutError, VeniceUnavailableError])
def test_never_sooner_than_venice_says(error: type[ImageDropError]) -> None:
    seen = waits(error("wait", retry_at=NOW + 47), attempt=2)

    assert min(seen) >= 47
    assert max(seen) <= 49  # the back-off of the second try is shorter, so its word counts


@pytest.mark.parametrize("error", [NoSlotError, ProcessingPausedError, AccountError])
def test_waits_for_slot_or_account_do_not_back_off(
    error: type[ImageDropError],
) -> None:
    assert all(31 <= wait <= 33 for wait in waits(error("wait", retry_at=NOW + 31), attempt=10))
    assert all(0 <= wait <= 2 for wait in waits(error("wait"), attempt=10))


def test_waits_for_same_moment_do_not_end_together() -> None:
    seen = waits(NoSlotError("wait", retry_at=NOW + 31), attempt=1)

    assert max(seen) - min(seen) > 1.9


@given(
    retry_at=st.none() | st.floats(NOW - 1e6, NOW + 1e6),
    attempt=st.integers(1, 1000),  # SQS lets maxReceiveCount be 1,000
    seed=st.integers(0, 100),
)
def test_wait_is_never_negative_nor_before_named_time(
    retry_at: float | None, attempt: int, seed: int
) -> None:
    for error in (InProgressError, NoSlotError):
        raised = error("wait", retry_at=retry_at)
        wait = retry.wait_for(raised, attempt, NOW, random.Random(seed))
        assert wait >= 0
        assert NOW + wait >= (retry_at or NOW)


@pytest.mark.parametrize(
    ("wait", "delay", "hidden"), [(0, 0, 0), (10.2, 11, 11), (900, 900, 900), (5e4, 900, 43_000)]
)
def test_wait_is_whole_seconds_within_what_sqs_takes(wait: float, delay: int, hidden: int) -> None:
    client = boto3.client("sqs")
    with Stubber(client) as stub:
        stub.add_response(
            "send_message", {}, {"QueueUrl": "q", "MessageBody": ANY, "DelaySeconds": delay}
        )
        stub.add_response(
            "change_message_visibility",
            {},
            {"QueueUrl": "q", "ReceiptHandle": "r", "VisibilityTimeout": hidden},
        )
        queue = RetryQueue(client, "q", "dead")
        queue.send(Upload("input", "shoe.jpg"), wait)
        queue.postpone("r", wait)
        stub.assert_no_pending_responses()


# --- the queue itself --------------------------------------------------------------------------

MANY = [Upload("input", f"{number}.jpg") for number in range(23)]


def test_any_number_of_uploads_is_put_into_queue(sqs: Any) -> None:
    queue = RetryQueue(sqs, sqs.create_queue(QueueName="retry")["QueueUrl"], "dead")

    queue.send_all(MANY)
    queue.send_all([])

    assert queue.depth().total == 23
    found = []
    while message := queue.receive() if len(found) < 23 else None:
        found += from_message(message.body)
        queue.delete(message.receipt_handle)
    assert sorted(upload.key for upload in found) == sorted(upload.key for upload in MANY)
    assert queue.depth().total == 0


def refused(*ids: str) -> dict[str, Any]:
    """What SQS answers to a batch of three of which it did not take some."""
    taken = [{"Id": id, "MessageId": "m", "MD5OfMessageBody": ""} for id in "012" if id not in ids]
    failed = [{"Id": id, "SenderFault": False, "Code": "InternalError"} for id in ids]
    return {"Successful": taken, "Failed": failed}


def sent(*ids: str) -> dict[str, Any]:
    keys = [MANY[int(id)].key for id in ids]
    return {
        "QueueUrl": "q",
        "Entries": [
            {"Id": id, "MessageBody": json.dumps({"bucket": "input", "key": key})}
            for id, key in zip(ids, keys, strict=True)
        ],
    }


def test_what_sqs_did_not_take_is_sent_again() -> None:
    client = boto3.client("sqs")
    with Stubber(client) as stub:
        stub.add_response("send_message_batch", refused("1", "2"), sent("0", "1", "2"))
        stub.add_response("send_message_batch", refused("2"), sent("1", "2"))
        stub.add_response("send_message_batch", refused(), sent("2"))
        RetryQueue(client, "q", "dead").send_all(MANY[:3])
        stub.assert_no_pending_responses()


def test_what_sqs_never_takes_is_said() -> None:
    client = boto3.client("sqs")
    with Stubber(client) as stub:
        for _ in range(4):
            stub.add_response("send_message_batch", refused("1"))
        with pytest.raises(StorageBusyError, match="1 of 3"):
            RetryQueue(client, "q", "dead").send_all(MANY[:3])


# --- where -------------------------------------------------------------------------------------


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(pictures="fast") as simulator:
        yield simulator


@pytest.fixture
def services(
    boto_client: Callable[[str], Any],
    input_bucket: str,
    output_bucket: str,
    table: str,
    sqs: Any,
    ssm: Any,
    clock: FakeClock,
    simulator: Simulator,
) -> Services:
    ssm.put_parameter(Name="/key", Value="secret", Type="SecureString")
    return Services.from_env(
        {
            "INPUT_BUCKET": input_bucket,
            "OUTPUT_BUCKET": output_bucket,
            "RETRY_QUEUE_URL": sqs.create_queue(QueueName="retry")["QueueUrl"],
            "DEAD_LETTER_QUEUE_URL": sqs.create_queue(QueueName="dead")["QueueUrl"],
            "STATE_TABLE": table,
            "VENICE_API_KEY_PARAMETER": "/key",
            "VENICE_BASE_URL": simulator.url,
            "MAX_FAILURES": "3",
        },
        now=clock.now,
        sleep=clock.sleep,
        rng=random.Random(3),
        client=boto_client,
    )


def receive(number: int) -> Invocation:
    return Invocation(FakeContext(), max_slot_wait=3.0, message_id="m", receives=number)


def drop(services: Services, photo: bytes, sidecar: bytes = b'{"prompt": "pink"}') -> Upload:
    services.input_bucket.s3.put_object(Bucket="input", Key="shoe.png", Body=photo)
    services.input_bucket.s3.put_object(Bucket="input", Key="shoe.png.json", Body=sidecar)
    return Upload("input", "shoe.png")


def queued(services: Services) -> dict[str, int]:
    """How many messages are visible, held by somebody or hidden, and delayed."""
    names = ("Messages", "MessagesNotVisible", "MessagesDelayed")
    found = services.queue.sqs.get_queue_attributes(
        QueueUrl=services.queue.url, AttributeNames=["All"]
    )["Attributes"]
    return {name: int(found[f"ApproximateNumberOf{name}"]) for name in names}  # type: ignore[index]


def received(services: Services, upload: Upload | str) -> Message:
    """A message of the queue in somebody's hands."""
    if isinstance(upload, str):
        services.queue.sqs.send_message(QueueUrl=services.queue.url, MessageBody=upload)
    else:
        services.queue.send(upload)
    message = services.queue.receive()
    assert message
    return message


def report(services: Services) -> dict[str, Any]:
    found = services.output_bucket.read("shoe.png.error.json")
    assert found
    told: dict[str, Any] = json.loads(found[2])
    return told


def photo() -> bytes:
    """The smallest file that Venice takes: 256 × 256, grey."""
    buffer = BytesIO()
    Image.new("L", (256, 256), 128).save(buffer, "PNG")
    return buffer.getvalue()


def test_upload_is_edited_at_once(services: Services, simulator: Simulator) -> None:
    upload = drop(services, photo())

    assert retry.edit_or_queue(upload, services, receive(0)) == "edited"
    assert services.output_bucket.find("shoe.png.png")
    assert [call.status for call in simulator.calls] == [200]


def test_upload_that_venice_cannot_take_now_waits_in_queue(
    services: Services, simulator: Simulator
) -> None:
    simulator.faults.add(503, endpoint="edit", times=1)
    upload = drop(services, photo())

    assert retry.edit_or_queue(upload, services, receive(0)) == "queued"
    assert sum(queued(services).values()) == 1
    assert services.output_bucket.find("shoe.png.error.json") is None


def test_upload_during_stop_waits_in_queue_without_call(
    services: Services, simulator: Simulator, clock: FakeClock
) -> None:
    services.circuit_breaker.stop("account_unavailable", "Venice answered 402.", clock.now())
    upload = drop(services, photo())

    assert retry.edit_or_queue(upload, services, receive(0)) == "queued"
    assert queued(services)["MessagesDelayed"] == 1
    assert simulator.calls == []


def test_upload_that_cannot_be_edited_is_reported_and_not_queued(services: Services) -> None:
    upload = drop(services, b"not an image")

    assert retry.edit_or_queue(upload, services, receive(0)) == "reported"
    assert report(services)["code"] == "not_an_image"
    assert sum(queued(services).values()) == 0


def test_message_is_worked_on(services: Services) -> None:
    message = received(services, drop(services, photo()))

    outcomes = retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1))

    assert outcomes == [Outcome.EDITED]
    assert services.output_bucket.find("shoe.png.png")


def test_message_that_fails_is_hidden_until_its_time(
    services: Services, simulator: Simulator
) -> None:
    simulator.faults.add(503, endpoint="edit", times=1)
    message = received(services, drop(services, photo()))

    with pytest.raises(VeniceUnavailableError):
        retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1))

    assert queued(services) == {"Messages": 0, "MessagesNotVisible": 1, "MessagesDelayed": 0}
    assert services.output_bucket.find("shoe.png.error.json") is None


def test_last_failure_of_message_is_reported_and_buried(
    services: Services, simulator: Simulator
) -> None:
    simulator.faults.add(503, endpoint="edit", times=1)
    upload = msgspec.structs.replace(drop(services, photo()), failures=2)
    message = received(services, upload)

    assert retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(7)) == []

    told = report(services)
    assert (told["code"], told["status"], told["attempts"]) == ("retries_exhausted", 503, 1)
    assert "The last of 3 tries failed" in told["detail"]
    assert VeniceUnavailableError.title in told["detail"]
    assert buried(services) == [Upload("input", "shoe.png")]  # with all tries before it again


def test_waits_do_not_count_as_failures(services: Services, simulator: Simulator) -> None:
    for number in range(1, 12):
        services.limiter.block("firered-image-edit", services.now() + 60)
        message = received(services, drop(services, photo()))
        with pytest.raises(NoSlotError):
            retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(number))
        services.queue.delete(message.receipt_handle)
    services.records.sleep(120)
    simulator.faults.add(503, endpoint="edit", times=1)
    message = received(services, drop(services, photo()))

    with pytest.raises(VeniceUnavailableError):
        retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(12))

    assert services.output_bucket.find("shoe.png.error.json") is None
    assert buried(services) == []


def test_repeated_count_of_same_receive_is_one_failure(services: Services) -> None:
    counts = [services.failures.add("m", receive, NOW) for receive in (1, 1, 2, 2, 7)]

    assert counts == [1, 1, 2, 2, 3]


def test_waiting_for_account_never_makes_dead_letter(services: Services, clock: FakeClock) -> None:
    services.circuit_breaker.stop("account_unavailable", "Venice answered 402.", clock.now())
    message = received(services, drop(services, photo()))

    outcomes = retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(80))

    assert outcomes == []  # so this message is done with, and a new one takes its place
    assert queued(services)["MessagesDelayed"] == 1
    assert services.output_bucket.find("shoe.png.error.json") is None


def buried(services: Services) -> list[Upload]:
    messages = services.queue.sqs.receive_message(QueueUrl=services.queue.dead_letter_url)
    return [
        upload
        for message in messages.get("Messages", [])
        for upload in from_message(message["Body"])
    ]


def test_message_with_several_uploads_becomes_one_for_each(services: Services) -> None:
    record: dict[str, Any] = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "input"}, "object": {"key": "a.png"}},
    }
    message = received(services, json.dumps({"Records": [record, record]}))

    assert retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1)) == []
    assert queued(services)["Messages"] == 2


@pytest.mark.parametrize("empty", ['{"Event": "s3:TestEvent"}', '{"Records": []}'])
def test_message_without_upload_is_done_with(services: Services, empty: str) -> None:
    message = received(services, empty)

    assert retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1)) == []


def test_message_that_nobody_understands_goes_to_dead_letters(services: Services) -> None:
    message = received(services, "hello")

    assert retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1)) == []

    found = services.queue.sqs.receive_message(QueueUrl=services.queue.dead_letter_url)
    assert [each["Body"] for each in found["Messages"]] == ["hello"]
