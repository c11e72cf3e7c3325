"""What becomes of one try: edited, queued, hidden, reported or buried."""

import json
from typing import Any

import msgspec
import pytest

from image_drop import retry
from image_drop.errors import NoSlotError, VeniceUnavailableError
from image_drop.invocation import Invocation
from image_drop.pipeline import Outcome
from image_drop.services import Services
from image_drop.storage.retry_queue import Message
from image_drop.uploads import Upload, from_message
from tests.support.lambda_context import FakeContext
from tests.support.stage import INPUT, Stage


@pytest.fixture
def services(stage: Stage) -> Services:
    stage.configure(tries=3)
    return stage.services


def receive(number: int) -> Invocation:
    return Invocation(FakeContext(), max_slot_wait=3.0, message_id="m", receives=number)


def drop(stage: Stage, data: bytes | None = None) -> Upload:
    stage.put_json("shoe.png.json", prompt="pink")
    stage.put("shoe.png", data)
    return Upload(INPUT, "shoe.png")


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


def test_upload_is_edited_at_once(stage: Stage, services: Services) -> None:
    upload = drop(stage)

    assert retry.edit_or_queue(upload, services, receive(0)) == "edited"
    assert stage.outputs() == ["shoe.png.png"]
    assert stage.paid == 1


def test_upload_that_venice_cannot_take_now_waits_in_queue(
    stage: Stage, services: Services
) -> None:
    stage.venice.faults.add(503, endpoint="edit", times=1)
    upload = drop(stage)

    assert retry.edit_or_queue(upload, services, receive(0)) == "queued"
    assert sum(queued(services).values()) == 1
    assert "shoe.png.error.json" not in stage.outputs()


def test_upload_during_stop_waits_in_queue_without_call(stage: Stage, services: Services) -> None:
    services.circuit_breaker.stop("account_unavailable", "Venice answered 402.", stage.clock.now())
    upload = drop(stage)

    assert retry.edit_or_queue(upload, services, receive(0)) == "queued"
    assert queued(services)["MessagesDelayed"] == 1
    assert stage.calls == 0


def test_upload_that_cannot_be_edited_is_reported_and_not_queued(
    stage: Stage, services: Services
) -> None:
    upload = drop(stage, b"not an image")

    assert retry.edit_or_queue(upload, services, receive(0)) == "reported"
    assert stage.report("shoe.png")["code"] == "not_an_image"
    assert sum(queued(services).values()) == 0


def test_message_is_worked_on(stage: Stage, services: Services) -> None:
    message = received(services, drop(stage))

    outcomes = retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1))

    assert outcomes == [Outcome.EDITED]
    assert stage.outputs() == ["shoe.png.png"]


def test_message_that_fails_is_hidden_until_its_time(stage: Stage, services: Services) -> None:
    stage.venice.faults.add(503, endpoint="edit", times=1)
    message = received(services, drop(stage))

    with pytest.raises(VeniceUnavailableError):
        retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1))

    assert queued(services) == {"Messages": 0, "MessagesNotVisible": 1, "MessagesDelayed": 0}
    assert "shoe.png.error.json" not in stage.outputs()


def test_last_failure_of_message_is_reported_and_buried(stage: Stage, services: Services) -> None:
    stage.venice.faults.add(503, endpoint="edit", times=1)
    upload = msgspec.structs.replace(drop(stage), failures=2)
    message = received(services, upload)

    assert retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(7)) == []

    told = stage.report("shoe.png")
    assert (told["code"], told["status"], told["attempts"]) == ("retries_exhausted", 503, 1)
    assert "The last of 3 tries failed" in told["detail"]
    assert VeniceUnavailableError.title in told["detail"]
    assert buried(services) == [Upload(INPUT, "shoe.png")]  # with all tries before it again


def test_waits_do_not_count_as_failures(stage: Stage, services: Services) -> None:
    for number in range(1, 12):
        services.limiter.block("firered-image-edit", services.now() + 60)
        waiting = msgspec.structs.replace(drop(stage), model="firered-image-edit")
        message = received(services, waiting)
        with pytest.raises(NoSlotError):
            retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(number))
        services.queue.delete(message.receipt_handle)
    services.records.sleep(120)
    stage.venice.faults.add(503, endpoint="edit", times=1)
    message = received(services, drop(stage))

    with pytest.raises(VeniceUnavailableError):
        retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(12))

    assert "shoe.png.error.json" not in stage.outputs()
    assert buried(services) == []


def test_message_that_waits_learns_model_and_keeps_failures(
    stage: Stage, services: Services
) -> None:
    message = received(services, drop(stage))
    stage.venice.faults.add(503, endpoint="edit", times=1)
    with pytest.raises(VeniceUnavailableError):
        retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1))
    services.limiter.block("firered-image-edit", services.now() + 60)

    left = retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(2))

    services.queue.delete(message.receipt_handle)
    stage.clock.sleep(120)
    again = services.queue.receive()
    assert left == []
    assert again is not None
    (waiting,) = from_message(again.body)
    assert (waiting.model, waiting.failures) == ("firered-image-edit", 1)


def test_repeated_count_of_same_receive_is_one_failure(stage: Stage, services: Services) -> None:
    counts = [services.failures.add("m", receive, stage.clock.now()) for receive in (1, 1, 2, 2, 7)]

    assert counts == [1, 1, 2, 2, 3]


def test_waiting_for_account_never_makes_dead_letter(stage: Stage, services: Services) -> None:
    services.circuit_breaker.stop("account_unavailable", "Venice answered 402.", stage.clock.now())
    message = received(services, drop(stage))

    outcomes = retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(80))

    assert outcomes == []  # so this message is done with, and a new one takes its place
    assert queued(services)["MessagesDelayed"] == 1
    assert "shoe.png.error.json" not in stage.outputs()


def buried(services: Services) -> list[Upload]:
    messages = services.queue.sqs.receive_message(QueueUrl=services.queue.dead_letter_url)
    return [
        upload
        for message in messages.get("Messages", [])
        for upload in from_message(message["Body"])
    ]


def test_message_with_several_uploads_becomes_one_for_each(
    stage: Stage, services: Services
) -> None:
    record: dict[str, Any] = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": INPUT}, "object": {"key": "a.png"}},
    }
    message = received(services, json.dumps({"Records": [record, record]}))

    assert retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1)) == []
    assert queued(services)["Messages"] == 2


@pytest.mark.parametrize("empty", ['{"Event": "s3:TestEvent"}', '{"Records": []}'])
def test_message_without_upload_is_done_with(services: Services, empty: str) -> None:
    message = received(services, empty)

    assert retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1)) == []


def test_message_that_nobody_understands_goes_to_dead_letters(
    stage: Stage, services: Services
) -> None:
    message = received(services, "hello")

    assert retry.edit_or_postpone(message.body, message.receipt_handle, services, receive(1)) == []

    found = services.queue.sqs.receive_message(QueueUrl=services.queue.dead_letter_url)
    assert [each["Body"] for each in found["Messages"]] == ["hello"]
