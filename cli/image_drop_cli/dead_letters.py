"""The dead-letter queue, as a person works with it: look, send round again, throw away."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched
from typing import TYPE_CHECKING, Any

import msgspec

from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import Report
from image_drop.storage.retry_queue import depth_of
from image_drop.uploads import UnreadableMessageError, Upload, from_message

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

HELD = 120  # seconds that a letter is kept from others while it is looked at
BATCH = 10  # messages a request; SQS's limit


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up. `upload` is None where the message is none of ours."""

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
        """Of the dead-letter queue."""
        return self.deployment.outputs["DeadLetterQueueUrl"]

    @property
    def _sqs(self) -> Any:
        return self.deployment.client("sqs")

    def count(self) -> int:
        """How many there are, about."""
        return depth_of(self._sqs, self.url).total

    @contextmanager
    def held(self, most: int) -> Iterator[list[DeadLetter]]:
        """Up to `most` of them; those that are still there at the end are left as they were."""
        letters: list[DeadLetter] = []
        try:
            while len(letters) < most and (found := self._receive(most - len(letters))):
                letters += found
            yield letters
        finally:
            self._release(letters)

    def send_again(self, letters: Sequence[DeadLetter]) -> None:
        """Put letters back into the retry queue, with all tries before them.

        After a crash in the middle some are in both queues, which costs nothing: an image that is
        done is not made again.
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
            self._sqs.delete_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": each.receipt_handle}
                    for n, each in enumerate(some)
                ],
            )

    def send_all_again(self) -> int:
        """Put all letters back into the retry queue; how many there are, about.

        AWS moves them by itself; the embedded stack has no such task.
        """
        count = self.count()
        if not self.deployment.is_local:
            # Most letters were put here by a function, so AWS does not know where they came from.
            here, there = (
                self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
                for url in (self.url, self.deployment.outputs["RetryQueueUrl"])
            )
            self._sqs.start_message_move_task(
                SourceArn=here["Attributes"]["QueueArn"],
                DestinationArn=there["Attributes"]["QueueArn"],
            )
            return count
        moved = 0
        while moved < count:  # one that dies again meanwhile is not sent a second time
            with self.held(BATCH) as letters:
                self.send_again(letters)
            if not letters:
                break
            moved += len(letters)
        return moved

    def discard_all(self) -> int:
        """Delete all letters for good; how many there were, about."""
        count = self.count()
        self._sqs.purge_queue(QueueUrl=self.url)
        return count

    def report_on(self, letter: DeadLetter) -> Report | None:
        """What the output bucket says about the image of a letter."""
        if letter.upload is None:
            return None
        s3 = self.deployment.client("s3")
        try:
            answer = s3.get_object(
                Bucket=self.deployment.outputs["OutputBucketName"],
                Key=output_bucket.report_key(letter.upload.key, letter.upload.variant),
            )
            return msgspec.json.decode(answer["Body"].read(), type=Report)
        except s3.exceptions.NoSuchKey:
            return None
        except msgspec.MsgspecError:
            return None  # somebody else's file

    def _receive(self, most: int) -> list[DeadLetter]:
        answer = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=min(BATCH, most),
            VisibilityTimeout=HELD,
            # A second makes SQS ask all its servers, so that an empty answer means none.
            WaitTimeSeconds=0 if self.deployment.is_local else 1,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return [_letter(message) for message in answer.get("Messages", [])]

    def _release(self, letters: Sequence[DeadLetter]) -> None:
        for some in batched(letters, BATCH, strict=False):
            self._sqs.change_message_visibility_batch(  # of one that is gone, SQS says so: fine
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": each.receipt_handle, "VisibilityTimeout": 0}
                    for n, each in enumerate(some)
                ],
            )


def _letter(message: dict[str, Any]) -> DeadLetter:
    sent_at = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    try:
        [upload] = from_message(message["Body"])
    except (UnreadableMessageError, ValueError):  # nothing of ours, or several at once
        upload = None
    return DeadLetter(message["Body"], message["ReceiptHandle"], sent_at, upload)
