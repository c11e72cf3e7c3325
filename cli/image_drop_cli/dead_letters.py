"""The dead-letter queue, as a person works with it: inspect, redrive, delete."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

import msgspec

from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import Report
from image_drop.storage.retry_queue import BATCH, depth_of
from image_drop.uploads import UnreadableMessageError, Upload, from_message

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

HOLD = 120  # seconds that a letter is kept from others while somebody looks at it


@dataclass(frozen=True)
class DeadLetter:
    """A message of the dead-letter queue. `upload` is None if Image Drop did not write it."""

    body: str
    receipt_handle: str
    sent_at: datetime
    upload: Upload | None


@dataclass(frozen=True)
class DeadLetters:
    """The dead letters of a stack."""

    deployment: "Deployment"

    @property
    def url(self) -> str:
        """URL of the dead-letter queue."""
        return self.deployment.outputs["DeadLetterQueueUrl"]

    @property
    def _sqs(self) -> Any:
        return self.deployment.client("sqs")

    def count(self) -> int:
        """Return how many there are, about."""
        return depth_of(self._sqs, self.url).total

    @contextmanager
    def held(self, limit: int) -> Iterator[list[DeadLetter]]:
        """Yield up to `limit` of them; those still in the queue at the end stay as they were."""
        letters: list[DeadLetter] = []
        try:
            while len(letters) < limit and (found := self._receive(limit - len(letters))):
                letters += found
            yield letters
        finally:
            self._release(letters)

    def redrive(self, letters: Sequence[DeadLetter]) -> None:
        """Move letters to the retry queue, where they get a fresh set of attempts.

        A crash half way leaves some in both queues. That costs nothing: an edit that is done is
        not made again.
        """
        queue = self.deployment.outputs["RetryQueueUrl"]
        for some in batched(letters, BATCH, strict=False):
            entries = [{"Id": str(n), "MessageBody": each.body} for n, each in enumerate(some)]
            answer = self._sqs.send_message_batch(QueueUrl=queue, Entries=entries)
            refused = {each["Id"] for each in answer.get("Failed", ())}
            self.discard([each for n, each in enumerate(some) if str(n) not in refused])

    def discard(self, letters: Sequence[DeadLetter]) -> None:
        """Delete letters for good."""
        for some in batched(letters, BATCH, strict=False):
            self._sqs.delete_message_batch(QueueUrl=self.url, Entries=_entries(some))

    def redrive_all(self) -> int:
        """Move all letters to the retry queue; return how many there are, about.

        AWS does that in the background; the embedded stack has no such task.
        """
        count = self.count()
        if not self.deployment.is_local:
            # A function put most letters here itself, so AWS does not know their source queue.
            source, destination = (
                self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
                for url in (self.url, self.deployment.outputs["RetryQueueUrl"])
            )
            self._sqs.start_message_move_task(
                SourceArn=source["Attributes"]["QueueArn"],
                DestinationArn=destination["Attributes"]["QueueArn"],
            )
            return count
        moved = 0
        while moved < count:  # one that fails again meanwhile is not moved a second time
            with self.held(BATCH) as letters:
                self.redrive(letters)
            if not letters:
                break
            moved += len(letters)
        return moved

    def discard_all(self) -> int:
        """Delete all letters for good; return how many there were, about."""
        count = self.count()
        self._sqs.purge_queue(QueueUrl=self.url)
        return count

    def report_on(self, letter: DeadLetter) -> Report | None:
        """Return the report on the image of a letter, or None if there is none."""
        if letter.upload is None:
            return None
        key = output_bucket.report_key(letter.upload.key, letter.upload.variant)
        found = self.deployment.services.output_bucket.read_output(key)
        if found is None:
            return None
        _, _, body = found
        try:
            return msgspec.json.decode(body, type=Report)
        except msgspec.MsgspecError:
            return None  # somebody else's file

    def _receive(self, limit: int) -> list[DeadLetter]:
        answer = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=min(BATCH, limit),
            VisibilityTimeout=HOLD,
            # A second makes SQS ask all its servers, so that an empty answer means none.
            WaitTimeSeconds=0 if self.deployment.is_local else 1,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        prefix = self.deployment.services.settings.input_prefix
        return [_letter(message, prefix) for message in answer.get("Messages", [])]

    def _release(self, letters: Sequence[DeadLetter]) -> None:
        for some in batched(letters, BATCH, strict=False):
            self._sqs.change_message_visibility_batch(  # SQS reports those that are gone: fine
                QueueUrl=self.url, Entries=_entries(some, VisibilityTimeout=0)
            )


def _entries(letters: Sequence[DeadLetter], **values: int) -> list[dict[str, Any]]:
    return [
        {"Id": str(number), "ReceiptHandle": each.receipt_handle, **values}
        for number, each in enumerate(letters)
    ]


def _letter(message: dict[str, Any], prefix: str) -> DeadLetter:
    sent_at = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    try:
        [upload] = from_message(message["Body"], prefix)
    except (UnreadableMessageError, ValueError):  # not ours, or several at once
        upload = None
    return DeadLetter(message["Body"], message["ReceiptHandle"], sent_at, upload)
