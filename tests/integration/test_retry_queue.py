"""The retry queue against SQS as moto plays it."""

from typing import TYPE_CHECKING

import pytest

from image_drop.storage.retry_queue import RetryQueue
from image_drop.uploads import Upload, from_message

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def queue(sqs: "SQSClient") -> RetryQueue:
    return RetryQueue(sqs, sqs.create_queue(QueueName="retry")["QueueUrl"], "dead")


def received(queue: RetryQueue, number: int) -> list[str]:
    """The keys of so many messages, which are taken out."""
    keys: list[str] = []
    while len(keys) < number and (message := queue.receive()):
        keys += [upload.key for upload in from_message(message.body)]
        queue.delete(message.receipt_handle)
    return sorted(keys)


def test_any_number_of_uploads_becomes_one_message_each(queue: RetryQueue) -> None:
    keys = [f"{number:02}.jpg" for number in range(23)]

    queue.send_all(Upload("input", key) for key in keys)
    queue.send_all([])

    assert queue.depth().total == 23
    assert received(queue, 23) == keys
    assert queue.depth().total == 0


def test_keys_with_characters_that_sqs_refuses_are_sent(queue: RetryQueue) -> None:
    key = "a\uffff\u0001\t'\"é.jpg"

    queue.send_all([Upload("input", key)])
    queue.send(Upload("input", key))

    assert received(queue, 2) == [key, key]


def test_recent_depth_is_asked_for_every_ten_seconds(queue: RetryQueue) -> None:
    assert queue.recent_depth(100.0).total == 0
    queue.send(Upload("input", "a.jpg"))
    assert queue.recent_depth(109.0).total == 0
    assert queue.recent_depth(110.0).total == 1
    queue.send(Upload("input", "b.jpg"))
    assert queue.recent_depth(50.0).total == 2  # the clock was set back


def test_messages_that_are_delayed_or_hidden_count(queue: RetryQueue) -> None:
    queue.send(Upload("input", "a.jpg"), delay=600)
    queue.send_all([Upload("input", "b.jpg"), Upload("input", "c.jpg")])
    assert queue.receive() is not None

    assert queue.depth().total == 3
