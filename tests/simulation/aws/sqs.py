"""SQS: a standard queue and its dead-letter queue. No order, at least once."""

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.simulation.aws.errors import client_error
from tests.simulation.world import World

MAX_DELAY = 900
RETENTION = 14 * 86_400.0


@dataclass(eq=False)
class Message:
    """A message. `receives`: how often it was received."""

    id: str
    body: str
    sent_at: float
    receives: int = 0
    deleted: bool = False
    generation: int = 0  # of its visibility: an older one's end means nothing
    visible: bool = False


@dataclass
class Sqs:
    """The retry queue and the dead-letter queue, by their URLs."""

    world: World
    url: str
    dead_letter_url: str
    max_receive_count: int
    visibility_timeout: float
    duplicates: float = 0.0  # share of messages that are delivered once more
    messages: list[Message] = field(default_factory=list)
    dead_letters: list[Message] = field(default_factory=list)
    on_visible: deque[Callable[[], object]] = field(default_factory=deque)
    _handles: dict[str, Message] = field(default_factory=dict)
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    # what Lambda and people do

    def send(self, body: str, delay: float = 0.0) -> Message:
        """Put a message into the queue."""
        message = Message(f"m{next(self._serial):05d}", body, self.world.time)
        self.messages.append(message)
        self._hide(message, delay)
        return message

    def take(self) -> tuple[str, Message] | None:
        """Return any visible message and its receipt handle, or None."""
        while ready := [each for each in self.messages if each.visible]:
            message = self.world.rng.choice(ready)
            if message.receives >= self.max_receive_count:
                self.messages.remove(message)
                self.dead_letters.append(message)
                continue
            message.receives += 1
            self._hide(message, self.visibility_timeout)
            if self.world.rng.random() < self.duplicates:
                self._show(message, message.generation)
            handle = f"{message.id}-{message.receives}"
            self._handles[handle] = message
            return handle, message
        return None

    def redrive(self) -> int:
        """Move all dead letters back, as StartMessageMoveTask does; return how many there were."""
        moved = len(self.dead_letters)
        for message in self.dead_letters:
            self.send(message.body)
        self.dead_letters.clear()
        return moved

    # boto3's calls

    def send_message(
        self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0
    ) -> dict[str, Any]:
        assert 0 <= DelaySeconds <= MAX_DELAY
        assert isinstance(DelaySeconds, int)
        if QueueUrl == self.dead_letter_url:
            message = Message(f"d{next(self._serial):05d}", MessageBody, self.world.time)
            self.dead_letters.append(message)
            return {"MessageId": message.id}
        return {"MessageId": self.send(MessageBody, DelaySeconds).id}

    def send_message_batch(
        self, *, QueueUrl: str, Entries: list[Mapping[str, Any]]
    ) -> dict[str, Any]:
        assert 1 <= len(Entries) <= 10
        assert QueueUrl == self.url
        for entry in Entries:
            self.send(entry["MessageBody"])
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def receive_message(self, **_: object) -> dict[str, Any]:
        taken = self.take()
        if taken is None:
            return {}
        handle, message = taken
        return {
            "Messages": [
                {
                    "MessageId": message.id,
                    "Body": message.body,
                    "ReceiptHandle": handle,
                    "Attributes": {"ApproximateReceiveCount": str(message.receives)},
                }
            ]
        }

    def change_message_visibility(
        self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int
    ) -> dict[str, Any]:
        assert QueueUrl == self.url
        assert 0 <= VisibilityTimeout <= 43_200
        message = self._handles[ReceiptHandle]
        if message.deleted or message.visible:
            raise client_error("InvalidParameterValue", 400, "ChangeMessageVisibility")
        self._hide(message, VisibilityTimeout)
        return {}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:
        assert QueueUrl == self.url
        message = self._handles[ReceiptHandle]
        message.deleted, message.visible = True, False
        if message in self.messages:
            self.messages.remove(message)
        return {}

    def get_queue_attributes(self, *, QueueUrl: str, **_: object) -> dict[str, Any]:
        waiting = self.messages if QueueUrl == self.url else self.dead_letters
        visible = sum(each.visible for each in waiting)
        counts = {
            "ApproximateNumberOfMessages": visible,
            "ApproximateNumberOfMessagesNotVisible": len(waiting) - visible,
            "ApproximateNumberOfMessagesDelayed": 0,
        }
        return {"Attributes": {name: str(count) for name, count in counts.items()}}

    def _hide(self, message: Message, seconds: float) -> None:
        message.generation += 1
        message.visible = False
        self.world.call(seconds, partial(self._show, message, message.generation))

    def _show(self, message: Message, generation: int) -> None:
        if message.deleted or message.generation != generation:
            return
        message.visible = True
        if self.on_visible:
            self.world.call(0, self.on_visible.popleft())
