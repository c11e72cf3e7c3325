"""One rate limiter for all functions: a sliding-window log in the state table.

Venice allows a number of requests a minute for each model and account, and locks a key out after
more than 20 failures in 30 s. Both are held by handing out *slots*, times at which one call may
start. The slots of the last minute are kept in one item for each model, so the limit holds whether
Venice counts in fixed minutes or in a sliding one, and a small drop still starts at once.

The first half of this module decides and is pure; `RateLimiter` at the end keeps the state in
DynamoDB. All times are seconds since 1970.
"""

import random
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from image_drop.errors import NoSlotError, StorageBusyError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEFAULT_LIMIT = 20  # requests a minute, Venice's own default for images
WINDOW = 60.0
MARGIN = 1.1  # 2 × 0.5 s that two Lambda clocks may differ, and some for a request's way
FAILURE_WINDOW = 30.0
FAILURE_BUDGET = 14  # Venice locks the key out above 20; its own advice is to stay below 15
DEFAULT_MODEL = "default"  # the name for the slots of edits that name no model
# The log of the API key's failures, beside one log of slots for each model. No model has a name
# with a space in it, whatever a sidecar says.
KEY = "the key"
TRIES = 40  # at a conflicting write; ten uploads at once were seen to need up to ten


@dataclass(frozen=True)
class Log:
    """Times, oldest first: the slots of a model (some still to come), or the key's failures.

    `limit`: slots a minute. Nothing starts before `blocked_until`. `version` counts changes.
    """

    times: tuple[float, ...] = ()
    limit: int = DEFAULT_LIMIT
    blocked_until: float = 0.0
    version: int = 0


def next_slot(slots: Log, failures: Log, now: float) -> float:
    """The earliest time at which one more call may start.

    Never more than `limit` slots in any 60 s. Where the key has just failed, or where it costs no
    throughput because the limit is low, also never more than 14 in any 30 s: even if each of them
    failed, the key would not be locked out. Slots never go back in time.
    """
    recent = now - FAILURE_WINDOW - MARGIN
    recent_failures = tuple(time for time in failures.times if time > recent)
    careful = recent_failures or slots.limit <= FAILURE_BUDGET * WINDOW / FAILURE_WINDOW
    return max(
        now,
        slots.blocked_until,
        failures.blocked_until,
        slots.times[-1] if slots.times else now,
        _room(slots.times, slots.limit, WINDOW),
        _room(slots.times, FAILURE_BUDGET, FAILURE_WINDOW) if careful else now,
        _room(recent_failures, FAILURE_BUDGET, FAILURE_WINDOW),
    )


def record(log: Log, time: float, now: float) -> Log:
    """The log with one more time, without those that no longer count."""
    recent = tuple(past for past in log.times if past > now - WINDOW - MARGIN)
    return replace(log, times=tuple(sorted((*recent, time))))


def give_back(slots: Log, slot: float) -> Log:
    """The log without a slot that was not used."""
    kept = list(slots.times)
    if slot in kept:
        kept.remove(slot)
    return replace(slots, times=tuple(kept))


def _room(times: tuple[float, ...], count: int, seconds: float) -> float:
    """When `seconds` that hold at most `count` times have room for one more; 0 is at once."""
    return times[-count] + seconds + MARGIN if len(times) >= count else 0.0


@dataclass
class Turn:
    """A slot that was waited for. Set `used` when the call is made; else it is given back."""

    slot: float
    limit: int
    used: bool = False


@dataclass(frozen=True)
class RateLimiter:
    """The limiter over DynamoDB.

    It reads first and writes only when the slot is within the caller's patience, so a burst of a
    thousand uploads reads two items and queues. Writes are conditional on the version.
    """

    dynamodb: "DynamoDBClient"
    table: str
    now: Callable[[], float]
    sleep: Callable[[float], None]
    chance: random.Random = field(default_factory=random.Random)

    @contextmanager
    def turn(self, model: str, patience: float) -> Iterator[Turn]:
        """Wait up to `patience` seconds for a slot of `model`; the body is to use it at once.

        Raises `NoSlotError` with the time of the next slot when that is further away.
        """
        turn = self._wait(model, self.now() + patience)
        try:
            yield turn
        finally:
            if not turn.used:
                self._change(model, partial(give_back, slot=turn.slot))

    def block(self, model: str, until: float) -> None:
        """Let nobody call before `until`. The model `KEY` stands for all models."""
        self._change(model, lambda log: replace(log, blocked_until=max(log.blocked_until, until)))

    def learn(self, model: str, limit: int) -> None:
        """Venice named the model's limit, in requests a minute."""
        self._change(model, lambda slots: replace(slots, limit=limit))

    def failed(self) -> None:
        """Venice answered a call with an error: it counts against the key, whatever the model."""
        now = self.now()
        self._change(KEY, lambda failures: record(failures, now, now))

    def look(self, model: str) -> tuple[Log, float]:
        """The model's log and the time of its next slot; nothing is reserved."""
        slots, failures = self._read(model)
        return slots, next_slot(slots, failures, self.now())

    def _wait(self, model: str, deadline: float) -> Turn:
        while True:
            turn = self._reserve(model, deadline)
            wait = turn.slot - self.now()
            if wait <= 0:
                return turn
            self.sleep(wait)
            slots, failures = self._read(model)
            if max(slots.blocked_until, failures.blocked_until) <= self.now():
                return turn
            # Somebody met a 429 while this call was waiting: its slot is void.
            self._change(model, partial(give_back, slot=turn.slot))

    def _reserve(self, model: str, deadline: float) -> Turn:
        for _ in range(TRIES):
            slots, failures = self._read(model)
            slot = round(next_slot(slots, failures, self.now()), 3)
            if slot > deadline:
                raise NoSlotError("The next free slot is too far away.", retry_at=slot)
            if self._write(model, slots, record(slots, slot, self.now())):
                return Turn(slot, slots.limit)
            self._back_off()
        raise NoSlotError("Too many calls want a slot at the same time.", retry_at=self.now())

    def _change(self, model: str, change: Callable[[Log], Log]) -> None:
        for _ in range(TRIES):
            log = self._read(model)[0]
            changed = change(log)
            if changed == log or self._write(model, log, changed):
                return
            self._back_off()
        raise StorageBusyError("Too many calls change the rate limiter at the same time.")

    def _back_off(self) -> None:
        self.sleep(self.chance.uniform(0.005, 0.05))

    def _read(self, model: str) -> tuple[Log, Log]:
        """The logs of the model and of the key, read together."""
        ids = {_id(model), _id(KEY)}
        answer = self.dynamodb.batch_get_item(
            RequestItems={
                self.table: {"Keys": [{"id": {"S": id}} for id in ids], "ConsistentRead": True}
            }
        )
        if answer.get("UnprocessedKeys"):  # throttled: what was not read is not what is not there
            raise StorageBusyError("The state table did not give the rate limit's items.")
        items = {item["id"]["S"]: item for item in answer["Responses"].get(self.table, [])}
        return _from_item(items.get(_id(model))), _from_item(items.get(_id(KEY)))

    def _write(self, model: str, old: Log, new: Log) -> bool:
        """Whether the new log was written: not if somebody else has changed the old one."""
        item = _to_item(_id(model), replace(new, version=old.version + 1))
        condition = "version = :old" if old.version else "attribute_not_exists(version)"
        values = {":old": {"N": str(old.version)}} if old.version else None
        try:
            self.dynamodb.put_item(
                TableName=self.table,
                Item=item,
                ConditionExpression=condition,
                **({"ExpressionAttributeValues": values} if values else {}),  # type: ignore[arg-type]
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _id(model: str) -> str:
    return f"rate#{model}"


def _to_item(id: str, log: Log) -> dict[str, Any]:
    # Whole milliseconds, packed: 600 slots a minute stay within 5 KB, which is 5 write units.
    packed = array("q", (round(time * 1000) for time in log.times)).tobytes()
    return {
        "id": {"S": id},
        "times": {"B": packed},
        "limit": {"N": str(log.limit)},
        "blocked_until": {"N": f"{log.blocked_until:.3f}"},
        "version": {"N": str(log.version)},
    }


def _from_item(item: dict[str, Any] | None) -> Log:
    if item is None:
        return Log()
    times = array("q", bytes(item["times"]["B"]))
    return Log(
        times=tuple(time / 1000 for time in times),
        limit=int(item["limit"]["N"]),
        blocked_until=float(item["blocked_until"]["N"]),
        version=int(item["version"]["N"]),
    )
