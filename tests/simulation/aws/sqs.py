"""SQS: a standard queue and its dead-letter queue. No order, at least once."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Any

from tests.simulation.aws.errors import client_error
from tests.simulation.world import World

MAX_DELAY = 900
BEST_EFFORT = 0.6  # share of receives that return the oldest message; SQS promises no order
RETENTION = 14 * 86_400.0  # template.yaml: MessageRetentionPeriod; nothing is left after it


@dataclass(eq=False, slots=True)
class Message:
    """A message. `receives`: how often it was received."""

    number: int
    body: str
    sent_at: float
    receives: int = 0
    generation: int = 0  # of its visibility: an older one's end means nothing
    visible: bool = False

    @property
    def id(self) -> str:
        return f"m{self.number:05d}"


@dataclass
class Sqs:
    """The retry queue and the dead-letter queue, by their URLs. `sent`: to both of them."""

    world: World
    url: str
    dead_letter_url: str
    max_receive_count: int
    visibility_timeout: float
    duplicates: float = 0.0  # share of messages that are delivered once more
    messages: dict[Message, None] = field(default_factory=dict)  # a set in the order of sending
    dead_letters: list[Message] = field(default_factory=list)
    sent: int = 0
    _visible: list[Message] = field(default_factory=list)  # in the order of sending, too
    _waiting: deque[Callable[[], object]] = field(default_factory=deque)
    _handles: dict[str, Message] = field(default_factory=dict)

    # what Lambda and people do

    def send(self, body: str, delay: float = 0.0) -> Message:
        """Put a message into the queue."""
        message = self._message(body)
        self.messages[message] = None
        self._hide(message, delay)
        return message

    def wait(self) -> None:
        """Let the calling process wait for a visible message, which it may have to share."""
        if not self._visible:
            self._waiting.append(self.world.alarm())
            self.world.wait()

    def take(self) -> tuple[str, Message] | None:
        """Return any visible message and its receipt handle, or None."""
        while self._visible:
            in_order = self.world.rng.random() < BEST_EFFORT
            message = self._visible[0] if in_order else self.world.rng.choice(self._visible)
            if message.receives >= self.max_receive_count:
                self._remove(message)
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
            message = self._message(MessageBody)
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
                    "Attributes": {
                        "ApproximateReceiveCount": str(message.receives),
                        "SentTimestamp": str(round(message.sent_at * 1000)),
                    },
                }
            ]
        }

    def change_message_visibility(
        self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int
    ) -> dict[str, Any]:
        assert QueueUrl == self.url
        assert 0 <= VisibilityTimeout <= 43_200
        message = self._handles[ReceiptHandle]
        if message not in self.messages or message.visible:
            raise client_error("InvalidParameterValue", 400, "ChangeMessageVisibility")
        self._hide(message, VisibilityTimeout)
        return {}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> dict[str, Any]:
        assert QueueUrl == self.url
        message = self._handles[ReceiptHandle]
        if message in self.messages:
            self._remove(message)
        return {}

    def get_queue_attributes(self, *, QueueUrl: str, **_: object) -> dict[str, Any]:
        ours = QueueUrl == self.url
        visible = len(self._visible if ours else self.dead_letters)
        counts = {
            "ApproximateNumberOfMessages": visible,
            "ApproximateNumberOfMessagesNotVisible": len(self.messages) - visible if ours else 0,
            "ApproximateNumberOfMessagesDelayed": 0,
        }
        return {"Attributes": {name: str(count) for name, count in counts.items()}}

    def _message(self, body: str) -> Message:
        self.sent += 1
        return Message(self.sent, body, self.world.time)

    def _hide(self, message: Message, seconds: float) -> None:
        self._cover(message)
        self.world.call(seconds, partial(self._show, message, message.generation))

    def _show(self, message: Message, generation: int) -> None:
        if message.generation != generation:
            return
        if not message.visible:
            message.visible = True
            insort(self._visible, message, key=_NUMBER)
        if self._waiting:
            self.world.call(0, self._waiting.popleft())

    def _remove(self, message: Message) -> None:
        """Take a message out of the queue for good."""
        self._cover(message)
        del self.messages[message]

    def _cover(self, message: Message) -> None:
        message.generation += 1
        if message.visible:
            message.visible = False
            del self._visible[bisect_left(self._visible, message.number, key=_NUMBER)]


_NUMBER = attrgetter("number")
