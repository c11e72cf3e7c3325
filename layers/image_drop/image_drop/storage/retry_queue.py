"""The retry queue, in which an edit waits for its next try."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import batched
from typing import TYPE_CHECKING

import msgspec

from image_drop.errors import StorageBusyError
from image_drop.uploads import Upload

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

MAX_DELAY = 900  # seconds; SQS's limit for a message that is sent
BATCH = 10  # messages; SQS's limit for a request
BATCH_TRIES = 4
_COUNTS: tuple["QueueAttributeNameType", ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)
RECENT = 10.0  # seconds
MAX_VISIBILITY = 43_000  # seconds; SQS allows 12 h since the receipt, part of which has passed


@dataclass(frozen=True)
class Message:
    """A message that was received, for the `receive_count`th time. `sent_at`: since 1970."""

    id: str
    body: str
    receipt_handle: str
    receive_count: int
    sent_at: float


@dataclass(frozen=True)
class Depth:
    """Messages in a queue, by SQS's own approximate count.

    `hidden`: received, then in progress or waiting for their next try; SQS does not say which.
    """

    visible: int
    delayed: int
    hidden: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.delayed + self.hidden


@dataclass
class RetryQueue:
    """The retry queue."""

    sqs: "SQSClient"
    url: str
    dead_letter_url: str
    _seen: tuple[float, Depth] | None = field(default=None, repr=False)

    def send(self, upload: Upload, delay: float = 0) -> None:
        """Put an upload in the queue, hidden for `delay` seconds (at most 900)."""
        self.sqs.send_message(
            QueueUrl=self.url,
            MessageBody=message(upload),
            DelaySeconds=min(MAX_DELAY, math.ceil(delay)),
        )

    def send_all(self, found: Iterable[Upload]) -> None:
        """Put any number of uploads in the queue, ten in a request.

        Messages that SQS did not take are sent again. Raise `StorageBusyError` after four times.
        """
        for uploads in batched(found, BATCH, strict=False):
            bodies = {str(number): message(upload) for number, upload in enumerate(uploads)}
            for _ in range(BATCH_TRIES):
                answer = self.sqs.send_message_batch(
                    QueueUrl=self.url,
                    Entries=[{"Id": id, "MessageBody": body} for id, body in bodies.items()],
                )
                bodies = {each["Id"]: bodies[each["Id"]] for each in answer.get("Failed", ())}
                if not bodies:
                    break
            else:
                raise StorageBusyError(
                    f"SQS did not accept {len(bodies)} of {len(uploads)} messages."
                )

    def bury(self, body: str) -> None:
        """Put a message into the dead-letter queue; a redrive brings it back."""
        self.sqs.send_message(QueueUrl=self.dead_letter_url, MessageBody=body)

    def depth(self) -> Depth:
        """Return how many messages the retry queue holds."""
        return depth_of(self.sqs, self.url)

    def recent_depth(self, now: float) -> Depth:
        """Return how many messages the retry queue held in the last `RECENT` seconds.

        Enough to spread waits by; a request for each try that finds no slot would cost more.
        """
        if not self._seen or not self._seen[0] <= now < self._seen[0] + RECENT:
            self._seen = now, self.depth()
        return self._seen[1]

    def dead(self) -> Depth:
        """Return how many messages the dead-letter queue holds."""
        return depth_of(self.sqs, self.dead_letter_url)

    def postpone(self, receipt_handle: str, seconds: float) -> None:
        """Hide a received message for so many seconds from now.

        Do not send it again instead: Lambda stops a chain of re-sent messages after 16 rounds.
        """
        self.sqs.change_message_visibility(
            QueueUrl=self.url,
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=min(MAX_VISIBILITY, math.ceil(seconds)),
        )

    def receive(self) -> Message | None:
        """Return one message, which stays hidden for 30 minutes; None if none is visible."""
        answer = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
        for message in answer.get("Messages", []):
            count = int(message["Attributes"]["ApproximateReceiveCount"])
            sent_at = int(message["Attributes"]["SentTimestamp"]) / 1000
            return Message(
                message["MessageId"], message["Body"], message["ReceiptHandle"], count, sent_at
            )
        return None

    def is_empty(self) -> bool:
        """Return whether the queue holds no message, hidden ones included; SQS's count may lag."""
        return self.depth().total == 0

    def delete(self, receipt_handle: str) -> None:
        """Delete a message whose work is done."""
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=receipt_handle)


def depth_of(sqs: "SQSClient", url: str) -> Depth:
    """Return how many messages the queue at `url` holds."""
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
    return Depth(*(int(found.get(name, "0")) for name in _COUNTS))


def message(upload: Upload) -> str:
    """Return an upload as the body of a message."""
    # In ASCII, because SQS refuses some characters that a key may hold, such as U+FFFF.
    return json.dumps(msgspec.to_builtins(upload))
