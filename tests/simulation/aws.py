"""The parts of AWS that Image Drop uses, in virtual time and behind boto3's calls.

Only what the project calls is here, as AWS's documentation describes it: consistent reads and
conditional writes, at-least-once delivery, visibility and receive counts, concurrency limits,
cold starts. `Meter` counts what AWS would bill.
"""

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.simulation.world import World

# Medians in seconds. Assumed, from what is commonly seen inside a region; the spread is
# log-normal with sigma 0.4, so one call in a hundred takes 2.5 times as long.
SPREAD = 0.4
S3_HEAD = 0.015
S3_GET = 0.060  # a photo of 2 MB
S3_SMALL = 0.020
S3_PUT = 0.080  # a result of 2 MB
DYNAMODB_READ = 0.004
DYNAMODB_WRITE = 0.006
SQS_CALL = 0.010
EVENTS_CALL = 0.015
S3_EVENT = 0.8  # from the upload to the invocation; "typically seconds"
POLL = 0.030  # from a visible message to the invocation
WARM_START = 0.005
COLD_START = 1.5  # billed like the rest, since August 2025
OWN_WORK = 0.030  # CPU time of a try: parse, hash, read the image's header

ITEM_WRITES = 1000  # a second: DynamoDB's limit for a partition, and so for an item
ACCOUNT_CONCURRENCY = 1000  # Lambda's default; a function may also start 1,000 in any 10 s
ENVIRONMENT_LIFE = 600.0  # seconds that an idle environment is kept; not documented
FIRST_POLLERS, MORE_POLLERS = 5, 5.0  # at first; a second (300 a minute)
LONG_POLL = 20.0
MAPPING_UPDATE = 45.0  # seconds until a paused mapping stops; AWS says "a minute or so"
DUPLICATES = 0.001  # of S3's events, and of SQS's deliveries
LAMBDA_LOG_BYTES = 400  # Lambda's own START, END and REPORT lines


class Meter(Counter[str]):
    """What AWS would bill, by kind: requests, units, GB-seconds, bytes."""


class NotFoundError(ClientError):
    """S3's 404."""

    def __init__(self) -> None:
        super().__init__(_failure("404", 404), "S3")


class PreconditionFailedError(ClientError):
    """S3's 412."""

    def __init__(self) -> None:
        super().__init__(_failure("PreconditionFailed", 412), "S3")


class ResourceInUseError(ClientError):
    """An update of an event source mapping that has not finished the last one."""

    def __init__(self) -> None:
        super().__init__(_failure("ResourceInUseException", 400), "Lambda")


class ConditionalCheckFailedError(ClientError):
    """A conditional write whose condition does not hold."""

    def __init__(self) -> None:
        super().__init__(_failure("ConditionalCheckFailedException", 400), "DynamoDB")


class TransactionCanceledError(ClientError):
    """A transaction of which an item did not meet its condition."""

    def __init__(self, reasons: list[str]) -> None:
        failure = _failure("TransactionCanceledException", 400)
        super().__init__(
            failure | {"CancellationReasons": [{"Code": reason} for reason in reasons]}, "DynamoDB"
        )


def _failure(code: str, status: int) -> Any:
    return {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


# --- S3 ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    etag: str
    metadata: Mapping[str, str]
    modified: datetime


@dataclass(frozen=True)
class _Body:
    data: bytes

    def read(self, amount: int | None = None) -> bytes:
        return self.data[:amount]

    def close(self) -> None: ...


@dataclass
class S3:
    """All buckets. `on_put(bucket, key)` is told of each object that is written."""

    world: World
    meter: Meter
    on_put: Callable[[str, str], object]
    objects: dict[tuple[str, str], _Object] = field(default_factory=dict)
    meta: Any = field(default_factory=lambda: boto3.client("s3", "us-east-1").meta)

    def put(self, bucket: str, key: str, body: bytes, metadata: Mapping[str, str]) -> None:
        """Store an object at once: the person's upload, or the end of a PUT."""
        number = self.meter["S3 PUT"] = self.meter["S3 PUT"] + 1
        modified = datetime.fromtimestamp(self.world.time, UTC)
        self.objects[bucket, key] = _Object(body, f'"{number:032x}"', metadata, modified)
        self.on_put(bucket, key)

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        self._read(S3_HEAD)
        return self._head(self._find(Bucket, Key))

    def get_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        self._read(S3_GET if IfMatch else S3_SMALL)
        found = self._find(Bucket, Key)
        if IfMatch and IfMatch.strip('"') != found.etag.strip('"'):
            raise PreconditionFailedError
        return self._head(found) | {"Body": _Body(found.body)}

    def get_object_tagging(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        self._read(S3_HEAD)
        self._find(Bucket, Key)
        return {"TagSet": []}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        Metadata: Mapping[str, str],  # noqa: N803
        ContentType: str,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        self.world.sleep(self.world.about(S3_PUT, SPREAD))
        there = self.objects.get((Bucket, Key))
        if (IfNoneMatch and there) or (IfMatch and (not there or there.etag != IfMatch)):
            self.meter["S3 PUT"] += 1
            raise PreconditionFailedError
        self.put(Bucket, Key, Body, Metadata)
        return {"ETag": self.objects[Bucket, Key].etag}

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str) -> dict[str, Any]:  # noqa: N803
        self.world.sleep(self.world.about(S3_HEAD, SPREAD))
        self.objects.pop((Bucket, Key), None)
        return {}

    def _read(self, median: float) -> None:
        self.meter["S3 GET"] += 1
        self.world.sleep(self.world.about(median, SPREAD))

    def _find(self, bucket: str, key: str) -> _Object:
        try:
            return self.objects[bucket, key]
        except KeyError:
            raise NotFoundError from None

    def _head(self, found: _Object) -> dict[str, Any]:
        return {
            "ETag": found.etag,
            "ContentLength": len(found.body),
            "LastModified": found.modified,
            "Metadata": found.metadata,
        }


# --- DynamoDB ------------------------------------------------------------------------------

Item = dict[str, dict[str, Any]]


@dataclass
class DynamoDB:
    """One table with the key `id`. A call takes effect at its end."""

    world: World
    meter: Meter
    items: dict[str, Item] = field(default_factory=dict)
    exceptions = SimpleNamespace(ConditionalCheckFailedException=ConditionalCheckFailedError)
    _busy: dict[str, float] = field(default_factory=dict)

    def get_item(self, *, Key: Item, **_: object) -> dict[str, Any]:  # noqa: N803
        self.world.sleep(self.world.about(DYNAMODB_READ, SPREAD))
        item = self._read(Key["id"]["S"])
        return {"Item": item} if item else {}

    def put_item(
        self,
        *,
        Item: Item,  # noqa: N803
        ConditionExpression: str = "",  # noqa: N803
        ExpressionAttributeValues: Item | None = None,  # noqa: N803
        **_: object,
    ) -> None:
        id = Item["id"]["S"]
        self._write(id, Item)
        self._check(id, ConditionExpression, {}, ExpressionAttributeValues or {})
        self.items[id] = Item

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803
        """A put and an update, both or neither; costs twice what they would cost alone."""
        put, update = TransactItems[0]["Put"], TransactItems[1]["Update"]
        put_id, update_id = put["Item"]["id"]["S"], update["Key"]["id"]["S"]
        for id, item in ((put_id, put["Item"]), (update_id, self.items.get(update_id, {}))):
            self.meter["DynamoDB write unit"] += 2 * math.ceil(_size(item) / 1024 or 1)
            turn = max(self.world.time, self._busy.get(id, 0.0))
            self._busy[id] = turn + 1 / ITEM_WRITES
        self.world.sleep(turn - self.world.time + self.world.about(DYNAMODB_WRITE, SPREAD))
        reasons = [
            "None" if self._meets(id, part) else "ConditionalCheckFailed"
            for id, part in ((put_id, put), (update_id, update))
        ]
        if "ConditionalCheckFailed" in reasons:
            raise TransactionCanceledError(reasons)
        self.items[put_id] = put["Item"]
        self._update(update_id, update)

    def _meets(self, id: str, part: dict[str, Any]) -> bool:
        expression = part.get("ConditionExpression", "")
        names, values = (part.get(f"ExpressionAttribute{each}", {}) for each in ("Names", "Values"))
        return not expression or _holds(expression, self.items.get(id, {}), names, values)

    def update_item(
        self,
        *,
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ConditionExpression: str = "",  # noqa: N803
        ExpressionAttributeNames: Mapping[str, str] | None = None,  # noqa: N803
        ExpressionAttributeValues: Item | None = None,  # noqa: N803
        **_: object,
    ) -> dict[str, Any]:
        id, names = Key["id"]["S"], ExpressionAttributeNames or {}
        values = ExpressionAttributeValues or {}
        self._write(id, self.items.get(id, Key))
        self._check(id, ConditionExpression, names, values)
        return {
            "Attributes": self._update(
                id,
                {
                    "Key": Key,
                    "UpdateExpression": UpdateExpression,
                    "ExpressionAttributeNames": names,
                    "ExpressionAttributeValues": values,
                },
            )
        }

    def _update(self, id: str, update: Mapping[str, Any]) -> Item:
        names = update.get("ExpressionAttributeNames", {})
        values = update["ExpressionAttributeValues"]
        item = self.items[id] = dict(self.items.get(id, update["Key"]))
        for action, name, value in _assignments(update["UpdateExpression"]):
            name = names.get(name, name)
            if action == "SET":
                item[name] = values[value]
            elif "NS" in values[value]:
                numbers = {*item.get(name, {"NS": []})["NS"], *values[value]["NS"]}
                item[name] = {"NS": sorted(numbers)}
            else:
                total = int(item.get(name, {"N": "0"})["N"]) + int(values[value]["N"])
                item[name] = {"N": str(total)}
        return item

    def delete_item(self, *, Key: Item, **_: object) -> None:  # noqa: N803
        self._write(Key["id"]["S"], Key)
        self.items.pop(Key["id"]["S"], None)

    def _read(self, id: str) -> Item | None:
        item = self.items.get(id)
        self.meter["DynamoDB read unit"] += math.ceil(_size(item or {}) / 4096) or 1
        return item

    def _write(self, id: str, item: Item) -> None:
        """What a write costs; failed conditions cost as much."""
        self.meter["DynamoDB write unit"] += math.ceil(_size(item) / 1024)
        turn = max(self.world.time, self._busy.get(id, 0.0))
        self._busy[id] = turn + 1 / ITEM_WRITES
        self.world.sleep(turn - self.world.time + self.world.about(DYNAMODB_WRITE, SPREAD))

    def _check(self, id: str, expression: str, names: Mapping[str, str], values: Item) -> None:
        if expression and not _holds(expression, self.items.get(id, {}), names, values):
            raise ConditionalCheckFailedError


def _size(item: Item) -> int:
    return sum(
        len(name) + len(value) if isinstance(value, (str, bytes)) else len(name) + 1
        for name, typed in item.items()
        for value in typed.values()
    )


_COMPARISON = re.compile(r"([#:\w]+) (=|<>|<=|>=|<|>) ([#:\w]+)")
_EXISTENCE = re.compile(r"attribute_(not_)?exists\(([#\w]+)\)")
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _holds(expression: str, item: Item, names: Mapping[str, str], values: Item) -> bool:
    def value(operand: str) -> Any:
        typed = values[operand] if operand[0] == ":" else item.get(names.get(operand, operand))
        if typed is None:
            return None
        ((kind, plain),) = typed.items()
        return float(plain) if kind == "N" else plain

    def compare(left: str, operator: str, right: str) -> bool:
        a, b = value(left), value(right)
        return a is not None and b is not None and _OPERATORS[operator](a, b)

    def exists(name: str) -> bool:
        return names.get(name, name) in item

    return bool(eval(_condition(expression), {"compare": compare, "exists": exists}))


@cache
def _condition(expression: str) -> Any:
    """A condition of the project's own code as a Python expression."""
    source = _EXISTENCE.sub(lambda m: f"{'not ' if m[1] else ''}exists({m[2]!r})", expression)
    source = _COMPARISON.sub(r"compare('\1', '\2', '\3')", source)
    for word in ("AND", "OR", "NOT"):
        source = re.sub(rf"\b{word}\b", word.lower(), source)
    return compile(source, expression, "eval")


@cache
def _assignments(expression: str) -> list[tuple[str, str, str]]:
    """`SET a = :x, b = :y ADD c :z` → (SET, a, :x), (SET, b, :y), (ADD, c, :z)."""
    parts = re.split(r"\b(SET|ADD)\b", expression)[1:]
    return [
        (action, *re.split(r" = | ", assignment.strip()))
        for action, clause in zip(parts[::2], parts[1::2], strict=True)
        for assignment in clause.split(",")
    ]  # type: ignore[misc]


# --- SQS -----------------------------------------------------------------------------------


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
    on_gone: Callable[[], object]
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
        self.world.sleep(self.world.about(SQS_CALL, SPREAD))
        if QueueUrl == self.dead_letter_url:
            self.meter["SQS request"] += 1
            self.dead_letters.append(Message(MessageBody))
        else:
            self.send(MessageBody, DelaySeconds)

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> None:
        self.world.sleep(self.world.about(SQS_CALL, SPREAD))
        self.meter["SQS request"] += 1
        message = self._received[ReceiptHandle]
        if not message.deleted:
            self._hide(message, VisibilityTimeout)

    def receive_message(self, *, WaitTimeSeconds: int, **_: object) -> dict[str, Any]:  # noqa: N803
        self.world.sleep(self.world.about(SQS_CALL, SPREAD))
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
        self.world.sleep(self.world.about(SQS_CALL, SPREAD))
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
        self.world.sleep(self.world.about(SQS_CALL, SPREAD))
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


# --- Lambda --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Context:
    """The part of Lambda's context that the project uses."""

    world: World
    deadline: float

    def get_remaining_time_in_millis(self) -> int:
        return round((self.deadline - self.world.time) * 1000)


@dataclass(eq=False)
class _Environment:
    services: Any
    used_at: float


class TimedOutError(RuntimeError):
    """When an invocation runs longer than the function's timeout."""


@dataclass
class Function:
    """A function's environments. `make_services` is what a cold start makes."""

    world: World
    meter: Meter
    make_services: Callable[[], Any]
    gigabytes: float = 1.0
    timeout: float = 300.0
    _idle: list[_Environment] = field(default_factory=list)

    def invoke[T](self, handler: Callable[[Any, Context], T]) -> T:
        """Run `handler(services, context)` in an environment, and bill it."""
        start = self.world.time
        environment = self._environment()
        begun = self.world.time
        try:
            self.world.sleep(OWN_WORK)
            return handler(environment.services, Context(self.world, begun + self.timeout))
        finally:
            if self.world.time - begun > self.timeout:
                raise TimedOutError(f"{self.world.time - begun:.0f} s")
            environment.used_at = self.world.time
            self._idle.append(environment)
            self.meter["Lambda request"] += 1
            self.meter["Lambda GB-second"] += (self.world.time - start) * self.gigabytes
            self.meter["log byte"] += LAMBDA_LOG_BYTES

    def _environment(self) -> _Environment:
        """The one that was used last, which lets the others die, as Lambda does; or a new one."""
        if self._idle and self._idle[-1].used_at > self.world.time - ENVIRONMENT_LIFE:
            warm = self._idle.pop()
            self.world.sleep(self.world.about(WARM_START, SPREAD))
            return warm
        self._idle.clear()
        self.world.sleep(self.world.about(COLD_START, 0.2))
        return _Environment(self.make_services(), self.world.time)


@dataclass
class Concurrency:
    """The account's concurrent executions, and the queue in which asynchronous events wait."""

    world: World
    on_idle: Callable[[], object]
    free: int = ACCOUNT_CONCURRENCY
    running: int = 0
    _events: deque[Callable[[], object]] = field(default_factory=deque)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self.running and not self._events

    def submit(self, work: Callable[[], object]) -> None:
        """Run `work` as soon as there is room."""
        self._events.append(work)
        self._dispatch()

    def run(self, work: Callable[[], object]) -> None:
        """Run `work` in the calling process, after throttled tries if there is no room."""
        while not self.free:
            self.world.sleep(self.world.rng.uniform(0.5, 1.5))
        self._enter()
        try:
            work()
        finally:
            self._leave()

    def _dispatch(self) -> None:
        while self._events and self.free:
            self._enter()
            self.world.start(0, partial(self._run, self._events.popleft()))

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            self._leave()

    def _enter(self) -> None:
        self.free -= 1
        self.running += 1

    def _leave(self) -> None:
        self.free += 1
        self.running -= 1
        self._dispatch()
        if self.is_idle:
            self.on_idle()


@dataclass
class EventSourceMapping:
    """An event source mapping with BatchSize 1 and ReportBatchItemFailures.

    `handler(handle, message)` answers whether the message is done. A paused mapping finishes what
    it has received. While it changes its state, every update is refused.
    """

    world: World
    queue: Queue
    concurrency: Concurrency
    handler: Callable[[str, Message], bool]
    pollers: int
    enabled: bool = True
    changing: bool = False
    _paused: list[Callable[[], object]] = field(default_factory=list)

    def start(self) -> None:
        """Start polling: five pollers at first, then five more a second."""
        for number in range(self.pollers):
            self.world.start(max(0, number - FIRST_POLLERS + 1) / MORE_POLLERS, self._poll)

    def update_event_source_mapping(self, *, UUID: str, Enabled: bool) -> None:  # noqa: N803
        self.world.sleep(self.world.about(EVENTS_CALL, SPREAD))
        if self.changing:
            raise ResourceInUseError
        if Enabled != self.enabled:
            self.changing = True
            self.world.call(self.world.about(MAPPING_UPDATE, 0.3), partial(self._set, Enabled))

    def _set(self, enabled: bool) -> None:
        self.enabled, self.changing = enabled, False
        while enabled and self._paused:
            self.world.call(0, self._paused.pop())

    def _poll(self) -> None:
        while True:
            self.queue.wait()
            if not self.enabled:
                self._paused.append(self.world.alarm())
                self.world.wait()
            elif taken := self.queue.take():
                self.concurrency.run(partial(self._work, *taken))

    def _work(self, handle: str, message: Message) -> None:
        if self.handler(handle, message):
            self.queue.delete(handle)
