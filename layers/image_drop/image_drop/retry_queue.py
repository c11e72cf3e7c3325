"""The retry queue: where an edit waits for its next try."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from image_drop.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_DELAY = 900  # seconds; SQS's limit for a message that is sent
MAX_VISIBILITY = 43_000  # seconds; SQS allows 12 h from the receipt, and some of it is over


@dataclass(frozen=True)
class Message:
    """A message that was received, for the `receive_count`th time."""

    body: str
    receipt_handle: str
    receive_count: int


@dataclass(frozen=True)
class RetryQueue:
    """The retry queue."""

    sqs: "SQSClient"
    url: str

    def send(self, upload: Upload, delay: float = 0) -> None:
        """Put an upload in the queue, hidden for `delay` seconds (at most 900)."""
        self.sqs.send_message(
            QueueUrl=self.url,
            MessageBody=msgspec.json.encode(upload).decode(),
            DelaySeconds=min(MAX_DELAY, math.ceil(delay)),
        )

    def postpone(self, receipt_handle: str, seconds: float) -> None:
        """Hide a message that is being worked on for so many seconds from now.

        Never sent anew: Lambda ends a chain of re-sent messages after 16 rounds.
        """
        self.sqs.change_message_visibility(
            QueueUrl=self.url,
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=min(MAX_VISIBILITY, math.ceil(seconds)),
        )

    def receive(self) -> Message | None:
        """One message, or None where none is visible. It stays hidden for 30 minutes."""
        answer = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        for message in answer.get("Messages", []):
            count = int(message["Attributes"]["ApproximateReceiveCount"])
            return Message(message["Body"], message["ReceiptHandle"], count)
        return None

    def delete(self, receipt_handle: str) -> None:
        """Remove a message that was worked on."""
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=receipt_handle)
