"""SQS: a standard queue, at least once, without order, with its dead-letter queue."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.support.virtual.service import DUPLICATES, SPREAD, Meter
from tests.support.virtual.world import World

CALL = 0.010  # seconds, medians
POLL = 0.030  # from a visible message to the invocation
LONG_POLL = 20.0


@dataclass(eq=False, slots=True)
class Message:
    """A message and the number of times that it was received."""

    body: str
    receives: int = 0
    deleted: bool = False
    id: str = ""
    generation: int = 0  # of its visibility: an older one's end means nothing


@dataclass
class Queue:
    """A standard queue with its dead-letter queue: no order, at least once.

    `receive` and the calls of boto3 take time; `on_gone` is told when a message leaves for good.
    """

    world: World
    meter: Meter
    max_receive_count: int
    on_gone: Callable[[], object] = lambda: None
    visibility_timeout: float = 1800.0
    dead_letter_url: str = "dead"
    duplicates: float = DUPLICATES
    dead_letters: list[Message] = field(default_factory=list)
    size: int = 0
    sent: int = 0
    most_receives: int = 0
    _visible: list[Message] = field(default_factory=list)
    _waiting: deque[Callable[[], object]] = field(default_factory=deque)
    _received: dict[str, Message] = field(default_factory=dict)

    def send(self, body: str, delay: float = 0.0) -> None:
        """Put a message into the queue at once."""
        self.meter["SQS request"] += 1
        self.size += 1
        self.sent += 1
        self._hide(Message(body, id=str(self.sent)), delay)

    def take(self) -> tuple[str, Message] | None:
        """A visible message and its receipt handle, or None."""
        while self._visible:
            index = self.world.rng.randrange(len(self._visible))
            message = self._visible[index]
            self._visible[index] = self._visible[-1]
            self._visible.pop()
            if message.deleted:
                continue
            if message.receives >= self.max_receive_count:
                self.dead_letters.append(message)
                self._gone(message)
                continue
            message.receives += 1
            self.most_receives = max(self.most_receives, message.receives)
            self._hide(message, self.visibility_timeout)
            if self.world.rng.random() < self.duplicates:
                self._show(message, message.generation)
            handle = f"{id(message)}-{message.receives}"
            self._received[handle] = message
            return handle, message
        return None

    def wait(self) -> None:
        """Poll until a message is visible; it may be gone again when this returns."""
        since = self.world.time
        if not self._visible:
            self._waiting.append(self.world.alarm())
            self.world.wait()
        self.meter["SQS request"] += 1 + int((self.world.time - since) / LONG_POLL)
        self.world.sleep(self.world.about(POLL, SPREAD))

    def delete(self, handle: str) -> None:
        """Remove a message that was received."""
        self.meter["SQS request"] += 1
        message = self._received.pop(handle)
        if not message.deleted:
            self._gone(message)

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0) -> None:  # noqa: N803
        self.world.sleep(self.world.about(CALL, SPREAD))
        if QueueUrl == self.dead_letter_url:
            self.meter["SQS request"] += 1
            self.dead_letters.append(Message(MessageBody))
        else:
            self.send(MessageBody, DelaySeconds)

    def send_message_batch(self, *, QueueUrl: str, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803
        """Send up to ten messages; they cost one request."""
        assert 1 <= len(Entries) <= 10
        self.world.sleep(self.world.about(CALL, SPREAD))
        for entry in Entries:
            self.send(entry["MessageBody"], entry.get("DelaySeconds", 0))
        self.meter["SQS request"] -= len(Entries) - 1
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> None:
        self.world.sleep(self.world.about(CALL, SPREAD))
        self.meter["SQS request"] += 1
        message = self._received[ReceiptHandle]
        if not message.deleted:
            self._hide(message, VisibilityTimeout)

    def receive_message(self, *, WaitTimeSeconds: int, **_: object) -> dict[str, Any]:  # noqa: N803
        self.world.sleep(self.world.about(CALL, SPREAD))
        self.meter["SQS request"] += 1
        if not self._visible:
            self.world.sleep(WaitTimeSeconds)
        taken = self.take()
        if taken is None:
            return {}
        handle, message = taken
        count = {"ApproximateReceiveCount": str(message.receives)}
        found = {
            "MessageId": message.id,
            "Body": message.body,
            "ReceiptHandle": handle,
            "Attributes": count,
        }
        return {"Messages": [found]}

    def get_queue_attributes(self, **_: object) -> dict[str, Any]:
        self.world.sleep(self.world.about(CALL, SPREAD))
        self.meter["SQS request"] += 1
        visible = sum(not message.deleted for message in self._visible)
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": str(visible),
                "ApproximateNumberOfMessagesNotVisible": str(self.size - visible),
                "ApproximateNumberOfMessagesDelayed": "0",
            }
        }

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        self.world.sleep(self.world.about(CALL, SPREAD))
        self.delete(ReceiptHandle)

    def _hide(self, message: Message, seconds: float) -> None:
        message.generation += 1
        self.world.call(seconds, partial(self._show, message, message.generation))

    def _show(self, message: Message, generation: int) -> None:
        if message.deleted or message.generation != generation:
            return
        self._visible.append(message)
        if self._waiting:
            self.world.call(0, self._waiting.popleft())

    def _gone(self, message: Message) -> None:
        message.deleted = True
        self.size -= 1
        self.on_gone()
