"""One rate limiter for all functions: sliding-window logs of all models in one item.

Venice allows a number of requests a minute for each model and account, and locks a key out for
half a minute after more than 20 failures in 30 s, whatever the model. The limiter keeps both
limits by giving out *slots*, times at which one call may start:

- The slots of a model's last minute are kept, so the limit holds whether Venice counts in fixed
  minutes or in a sliding one, and a small drop still starts at once.
- Calls in flight count as failures in advance while they are *unconfirmed*. As in TCP's slow
  start, a model begins with the 14 failures that the key can have; each success allows one more
  call in flight, and a failure halves that number.

The first half of this module decides and is pure. `RateLimiter` at the end keeps the state in
DynamoDB. All times are seconds since 1970.
"""

import random
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from image_drop.errors import NoSlotError
from image_drop.state.atomic_item import TRIES, AtomicItem, Found

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEFAULT_LIMIT = 20  # requests a minute, Venice's own default for images
MOST = 1000  # requests a minute; a higher limit counts as this, which bounds the item's size
WINDOW = 60.0
MARGIN = 1.1  # 2 × 0.5 s that two Lambda clocks may differ, and some for the network
FAILURE_WINDOW = 30.0
FAILURE_BUDGET = 14  # Venice locks the key out above 20; its own advice is to stay below 15
YOUNG = 10  # calls, at the full rate of all models, that may all be too young for an answer
TRUSTED_FOR = 60.0  # after a success; a model that was idle for longer begins again
LONGEST_CALL = 300.0  # Lambda's timeout: no call is in flight after it
RATES_TTL = 86_400.0  # after the last use; the account watch then sets the limits again
MOST_MODELS = 200  # Venice has about 30 that edit
RECHECK_AFTER = 1.0  # until a caller that waits checks again for an answer to a call in flight
RETRY_AFTER = 5.0  # the same for a caller that does not wait
ALL_MODELS = "all models"  # stands for all models; no model has a space in its name


@dataclass(frozen=True)
class SlotLog:
    """The calls of one model.

    `times`: its slots of the last minute, oldest first, some still in the future. `limit`: slots
    a minute. `in_flight`: the slots of calls without an answer, by id. `trust`: how many of those
    do not count as unconfirmed, until `trusted_until`. No call starts before `blocked_until`.
    """

    times: tuple[float, ...] = ()
    limit: int = DEFAULT_LIMIT
    in_flight: Mapping[str, float] = field(default_factory=dict)
    trust: int = 0
    trusted_until: float = 0.0
    blocked_until: float = 0.0
    used_at: float = 0.0


@dataclass(frozen=True)
class Rates:
    """The logs of all models, and the state of the key: failures by id, and a lock-out."""

    logs: Mapping[str, SlotLog] = field(default_factory=dict)
    failures: Mapping[str, float] = field(default_factory=dict)
    blocked_until: float = 0.0

    def log(self, model: str) -> SlotLog:
        """Return the log of a model, an empty one if the model is unknown."""
        return self.logs.get(model, SlotLog())


def next_slot(rates: Rates, model: str, now: float) -> float:
    """Return the earliest time at which one more call may start, judging by times alone.

    There are never more than `limit` slots in any 60 s. Of those, 14 may start at once and the
    others at the model's own rate, so that the first failures are known before many more calls
    are made. Slots never go back in time.
    """
    log = rates.log(model)
    pace = min(FAILURE_WINDOW + MARGIN, FAILURE_BUDGET * WINDOW / log.limit)
    return max(
        open_from(rates, model, now),
        log.times[-1] if log.times else now,
        _room(log.times, log.limit, WINDOW + MARGIN),
        _room(log.times, FAILURE_BUDGET, pace),
    )


def open_from(rates: Rates, model: str, now: float) -> float:
    """Return when a call may start after the refusals so far: blocks and failures."""
    failures = sorted(rates.failures.values())
    return max(
        now,
        rates.blocked_until,
        rates.log(model).blocked_until,
        _room(failures, FAILURE_BUDGET, FAILURE_WINDOW + MARGIN),
    )


def unconfirmed(rates: Rates, now: float) -> int:
    """Return how many calls have failed in the last 30 s, or may still fail together.

    A call in flight is unconfirmed if its model has not earned trust for so many calls, or if it
    has just begun: at the full rate of all models, up to ten calls may have.
    """
    busy = [log for log in rates.logs.values() if log.in_flight]
    rate = sum(log.limit for log in busy) or 1
    young = now - min(FAILURE_WINDOW + MARGIN, YOUNG * WINDOW / rate)
    failed = sum(time > now - FAILURE_WINDOW - MARGIN for time in rates.failures.values())
    return failed + sum(_unconfirmed_of(log, young, now) for log in busy)


def may_start(rates: Rates, model: str, now: float) -> bool:
    """Return whether a call whose slot has come may still start, after what happened meanwhile."""
    return open_from(rates, model, now) <= now and unconfirmed(rates, now) <= FAILURE_BUDGET


def reserve(rates: Rates, model: str, id: str, slot: float, now: float) -> Rates:
    """Return the rates with one more slot, and without entries that no longer count."""
    rates = _tidy(rates, now)
    log = rates.log(model)
    changed = replace(
        log,
        times=tuple(sorted((*log.times, slot))),
        in_flight={**log.in_flight, id: slot},
        used_at=now,
    )
    return _with(rates, model, changed)


def release(rates: Rates, model: str, id: str) -> Rates:
    """Return the rates without a slot that was not used."""
    log = rates.log(model)
    if id not in log.in_flight:
        return rates
    times = list(log.times)
    with suppress(ValueError):  # the slot is more than a minute old
        times.remove(log.in_flight[id])
    return _with(rates, model, replace(_without(log, id), times=tuple(times)))


def succeed(rates: Rates, model: str, id: str, now: float) -> Rates:
    """Return the rates after a call succeeded: one more may be in flight."""
    log = rates.log(model)
    if id not in log.in_flight:
        return rates
    changed = replace(
        _without(log, id), trust=_trust(log, now) + 1, trusted_until=now + TRUSTED_FOR
    )
    return _with(rates, model, changed)


def miss(rates: Rates, model: str, id: str, now: float) -> Rates:
    """Return the rates after a call did not succeed: the model loses half of its trust."""
    log = rates.log(model)
    if id not in log.in_flight:
        return rates
    trust = min(_trust(log, now), len(log.in_flight)) // 2
    return _with(rates, model, replace(_without(log, id), trust=trust))


def fail(rates: Rates, id: str, now: float) -> Rates:
    """Return the rates with one more failure of the key."""
    return (
        replace(rates, failures={**rates.failures, id: now}) if id not in rates.failures else rates
    )


def block(rates: Rates, model: str, until: float) -> Rates:
    """Return the rates with a block until `until`, of one model or of `ALL_MODELS`."""
    if model == ALL_MODELS:
        return replace(rates, blocked_until=max(rates.blocked_until, until))
    log = rates.log(model)
    return _with(rates, model, replace(log, blocked_until=max(log.blocked_until, until)))


def set_limits(rates: Rates, limits: Mapping[str, int], now: float) -> Rates:
    """Return the rates with the limits that Venice named, clamped to 1 to 1,000 a minute."""
    logs = dict(rates.logs)
    for model, limit in limits.items():
        log = rates.log(model)
        known = min(max(limit, 1), MOST)
        if log.limit == known and log.used_at > now - RATES_TTL / 2:
            continue  # saves a write
        if model in logs or len(logs) < MOST_MODELS:
            logs[model] = replace(log, limit=known, used_at=max(log.used_at, now))
    return replace(rates, logs=logs)


def _room(times: Iterable[float], count: int, seconds: float) -> float:
    """Return when any `seconds` with at most `count` times have room for one more; 0 is now."""
    sequence = tuple(times)
    return sequence[-count] + seconds if len(sequence) >= count else 0.0


def _unconfirmed_of(log: SlotLog, young: float, now: float) -> int:
    slots = [slot for slot in log.in_flight.values() if slot > now - LONGEST_CALL]
    begun = sum(young < slot <= now + MARGIN for slot in slots)
    return max(begun, len(slots) - _trust(log, now))


def _trust(log: SlotLog, now: float) -> int:
    return log.trust if now < log.trusted_until else 0


def _with(rates: Rates, model: str, log: SlotLog) -> Rates:
    return replace(rates, logs={**rates.logs, model: log})


def _without(log: SlotLog, id: str) -> SlotLog:
    return replace(
        log, in_flight={other: slot for other, slot in log.in_flight.items() if other != id}
    )


def _tidy(rates: Rates, now: float) -> Rates:
    """Remove slots older than a minute, failures older than half of one, and unused models."""
    logs = {
        model: replace(
            log,
            times=tuple(time for time in log.times if time > now - WINDOW - MARGIN),
            in_flight={i: t for i, t in log.in_flight.items() if t > now - LONGEST_CALL},
        )
        for model, log in rates.logs.items()
        if max(log.used_at, log.blocked_until) > now - RATES_TTL
    }
    recent = now - FAILURE_WINDOW - MARGIN
    failures = {id: time for id, time in rates.failures.items() if time > recent}
    return replace(rates, logs=logs, failures=failures)


@dataclass
class Slot:
    """A slot whose time has come. Set `consumed` when the call is made; else it is released.

    `reserved`: the rates as they were written with it.
    """

    at: float
    limit: int
    consumed: bool = False
    reserved: Found[Rates] | None = None


@dataclass(frozen=True)
class RateLimiter:
    """The limiter, with its state in DynamoDB.

    It reads first and writes only when the slot is near enough, so a burst of a thousand uploads
    reads one item and queues. A call costs two writes: its slot and its end.
    `new_id` makes an id for each slot, so that a write whose answer was lost is recognized.
    """

    dynamodb: "DynamoDBClient"
    table: str
    now: Callable[[], float]
    sleep: Callable[[float], None]
    rng: random.Random = field(default_factory=random.Random)
    new_id: Callable[[], str] = field(default=partial(secrets.token_hex, 6))

    @contextmanager
    def acquire(
        self, model: str, max_slot_wait: float, seen: Found[Rates] | None = None
    ) -> Iterator[Slot]:
        """Wait up to `max_slot_wait` seconds for a slot of `model`; the body must use it at once.

        `seen`: the rates if they were just read, which saves a read if a call may start at once.
        A body that raises nothing counts as a call that succeeded. Raise `NoSlotError`, with the
        time of the next slot, when that is later.
        """
        id = self.new_id()
        slot = self._wait(model, id, self.now() + max_slot_wait, seen)
        try:
            yield slot
        except Exception:
            self._end(model, id, miss if slot.consumed else None, slot.reserved)
            raise
        self._end(model, id, succeed if slot.consumed else None, slot.reserved)

    def block(self, model: str, until: float) -> None:
        """Let no call start before `until`. The model `ALL_MODELS` stands for all models."""
        self._change(lambda rates: block(rates, model, until))

    def set_limit(self, model: str, limit: int) -> None:
        """Keep the model's limit that Venice named, in requests a minute."""
        self.set_limits({model: limit})

    def set_limits(self, limits: Mapping[str, int]) -> None:
        """Keep the limits of several models, in requests a minute, in one write."""
        now = self.now()
        self._change(lambda rates: set_limits(rates, limits, now))

    def record_failure(self) -> None:
        """Count an error that Venice answered against the key, whatever the model."""
        id, now = self.new_id(), self.now()
        self._change(lambda rates: fail(rates, id, now))

    def peek(self, model: str) -> tuple[SlotLog, float]:
        """Return the model's log and the time of its next slot; nothing is reserved."""
        rates, _ = self.item.read()
        now = self.now()
        slot = next_slot(rates, model, now)
        if unconfirmed(reserve(rates, model, "", slot, now), now) > FAILURE_BUDGET:
            slot = max(slot, now + RECHECK_AFTER)
        return rates.log(model), slot

    @property
    def item(self) -> AtomicItem[Rates]:
        """The item of the state table."""
        return AtomicItem(self.dynamodb, self.table, "rate", Rates())

    def _wait(self, model: str, id: str, deadline: float, seen: Found[Rates] | None) -> Slot:
        while True:
            slot = self._reserve(model, id, deadline, seen)
            seen = None
            wait = slot.at - self.now()
            if wait <= 0:
                return slot
            self.sleep(wait)
            if may_start(self.item.read()[0], model, self.now()):
                return slot
            # Calls failed while this one was waiting, so its slot is no longer valid.
            self._change(lambda rates: release(rates, model, id))

    def _reserve(self, model: str, id: str, deadline: float, seen: Found[Rates] | None) -> Slot:
        if seen and (reserved_now := self._at_once(model, id, *seen)):
            return reserved_now
        conflicts = 0
        while conflicts < TRIES:
            rates, version = self.item.read()
            now, log = self.now(), rates.log(model)
            if id in log.in_flight:  # our own write succeeded, but its answer was lost
                return Slot(log.in_flight[id], log.limit)
            slot = next_slot(rates, model, now)
            if slot > deadline:
                raise NoSlotError("The next free slot is too late for this try.", retry_at=slot)
            reserved = reserve(rates, model, id, slot, now)
            if unconfirmed(reserved, now) > FAILURE_BUDGET:
                self._wait_for_answers(now, deadline)
            elif self.item.swap(version, reserved, now + RATES_TTL):
                return Slot(slot, log.limit, reserved=(reserved, version + 1))
            else:
                conflicts += 1
                self._back_off(conflicts)
        raise NoSlotError("Too many calls want a slot at the same time.", retry_at=self.now())

    def _at_once(self, model: str, id: str, rates: Rates, version: int) -> Slot | None:
        """Reserve a slot that starts now, if the rates that were read allow it and still hold."""
        now = self.now()
        reserved = reserve(rates, model, id, now, now)
        free = next_slot(rates, model, now) <= now and unconfirmed(reserved, now) <= FAILURE_BUDGET
        if not free or not self.item.swap(version, reserved, now + RATES_TTL):
            return None
        return Slot(now, rates.log(model).limit, reserved=(reserved, version + 1))

    def _wait_for_answers(self, now: float, deadline: float) -> None:
        if now + RECHECK_AFTER > deadline:
            raise NoSlotError(
                "Too many calls are still without an answer.", retry_at=now + RETRY_AFTER
            )
        self.sleep(self.rng.uniform(RECHECK_AFTER / 2, RECHECK_AFTER))

    def _end(
        self,
        model: str,
        id: str,
        note: Callable[[Rates, str, str, float], Rates] | None,
        known: Found[Rates] | None,
    ) -> None:
        """Note how a slot ended; if that fails, the slot expires in five minutes."""
        now = self.now()
        with suppress(Exception):  # never lose a paid answer because of a note
            if note is None:
                self._change(lambda rates: release(rates, model, id), known)
            else:
                self._change(lambda rates: note(rates, model, id, now), known)

    def _change(self, change: Callable[[Rates], Rates], known: Found[Rates] | None = None) -> None:
        expiration = self.now() + RATES_TTL
        self.item.change(change, pause=self._back_off, expiration=expiration, known=known)

    def _back_off(self, conflicts: int) -> None:
        self.sleep(self.rng.uniform(0.005, 0.05 * min(conflicts, 20)))
