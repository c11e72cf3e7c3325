"""One rate limiter for all functions: the state of `rates` in one item of the table.

A caller that gets no slot soon waits in the queue, where waiting is free.
"""

import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from image_drop.errors import NoSlotError
from image_drop.events import LimitChanged
from image_drop.quota import Quota
from image_drop.state.atomic_item import TRIES, AtomicItem, Found
from image_drop.state.rates import (
    RATES_TTL,
    Rates,
    block,
    fail,
    learn,
    opens_at,
    refuse,
    release,
    reserve,
    set_limits,
)
from image_drop.state.slot_log import SlotLog, in_progress, opens_within

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ID = 8  # characters of a slot's id, which keeps the item small
CONTEST = 3.0  # seconds after the wait in which a slot that is free is had, if others want it, too
SPREAD = 0.1  # seconds over which callers who wait for the same moment ask again


@dataclass
class Slot:
    """A slot: the call may start now. Set `consumed` when it is made; else it is released.

    `log`: of its model, with this slot.
    """

    id: str
    log: SlotLog
    consumed: bool = False

    @property
    def at(self) -> float:
        """When it was given."""
        return self.log.slots[self.id]


@dataclass(frozen=True)
class RateLimiter:
    """The limiter, with its state in DynamoDB.

    It reads first and writes only when a call may start, so a burst of a thousand uploads reads
    one item and queues. A call costs one write. `new_id` makes an id for each slot, so that a
    write whose answer was lost is recognized.
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
        Raise `NoSlotError`, with the time at which one may be free, when that is later.
        """
        id = self.new_id()[-ID:]
        slot = self._wait(model, id, self.now() + max_slot_wait, seen)
        try:
            yield slot
        finally:
            if not slot.consumed:
                with suppress(Exception):  # it expires in a minute
                    self._change(lambda rates: release(rates, model, id))

    def require(self, model: str, max_slot_wait: float) -> None:
        """Raise `NoSlotError` when no slot of `model` will be free within `max_slot_wait` seconds.

        Nothing is reserved. It saves the work of preparing a call that cannot be made yet.
        """
        rates, _ = self.item.read()
        now = self.now()
        opens = opens_at(rates, model, now)
        if opens > now + max_slot_wait:
            raise _no_slot(rates, model, opens, now)

    def block(self, model: str, until: float) -> None:
        """Let no call start before `until`. The model `ALL_MODELS` stands for all models."""
        self._change(lambda rates: block(rates, model, until))

    def refuse(self, model: str, quota: Quota, slot: Slot, until: float) -> LimitChanged | None:
        """Note that Venice answered 429: let no call of this model start before `until`.

        Return the event if the limit has changed.
        """
        now = self.now()
        return self._change_limit(
            model, lambda rates: refuse(rates, model, quota, slot.id, slot.log, until, now)
        )

    def learn(self, model: str, quota: Quota, slot: Slot, seconds: float) -> LimitChanged | None:
        """Note what an answer says about the limit, and how many `seconds` it took.

        An answer that says nothing new is free. Return the event if the limit has changed.
        """
        now = self.now()

        def learned(rates: Rates) -> Rates:
            return learn(rates, model, quota, slot.at, slot.log, seconds, now)

        known = Rates({model: slot.log})
        return self._change_limit(model, learned) if learned(known) != known else None

    def set_limits(self, limits: Mapping[str, int]) -> None:
        """Keep the limits of several models, in requests a minute, in one write."""
        now = self.now()
        self._change(lambda rates: set_limits(rates, limits, now))

    def record_failure(self) -> None:
        """Count an error that Venice answered against the key, whatever the model."""
        id, now = self.new_id()[-ID:], self.now()
        self._change(lambda rates: fail(rates, id, now))

    def rates(self) -> Rates:
        """Return the logs of all models."""
        return self.item.read()[0]

    def peek(self, model: str) -> tuple[SlotLog, float]:
        """Return the model's log and the time of its next slot; nothing is reserved."""
        rates = self.rates()
        return rates.log(model), opens_at(rates, model, self.now())

    @property
    def item(self) -> AtomicItem[Rates]:
        """The item of the state table."""
        return AtomicItem(self.dynamodb, self.table, "rate", Rates())

    def _wait(self, model: str, id: str, deadline: float, seen: Found[Rates] | None) -> Slot:
        conflicts = 0
        while conflicts < TRIES:
            rates, version = seen or self.item.read()
            seen = None
            now, log = self.now(), rates.log(model)
            if id in log.slots:  # our own write succeeded, but its answer was lost
                return Slot(id, log)
            opens = opens_at(rates, model, now)
            if opens > max(deadline, min(now, deadline + CONTEST)):
                raise _no_slot(rates, model, opens, now)
            if opens > now:
                self.sleep(opens - now + self.rng.uniform(0, SPREAD))
                continue
            reserved = reserve(rates, model, id, now)
            if self.item.swap(version, reserved, now + RATES_TTL):
                return Slot(id, reserved.log(model))
            conflicts += 1
            self._back_off(conflicts)
        raise NoSlotError("Too many calls want a slot at the same time.", retry_at=self.now())

    def _change_limit(self, model: str, change: Callable[[Rates], Rates]) -> LimitChanged | None:
        former = 0

        def changed(rates: Rates) -> Rates:
            nonlocal former
            former = rates.log(model).limit
            return change(rates)

        limit = self._change(changed).log(model).limit
        if limit == former:
            return None
        return LimitChanged(event_id=self.new_id(), model=model, limit=limit, former=former)

    def _change(self, change: Callable[[Rates], Rates]) -> Rates:
        return self.item.change(change, pause=self._back_off, expiration=self.now() + RATES_TTL)

    def _back_off(self, conflicts: int) -> None:
        self.sleep(self.rng.uniform(0.005, 0.05 * min(conflicts, 20)))


def _no_slot(rates: Rates, model: str, opens: float, now: float) -> NoSlotError:
    log = rates.log(model)
    return NoSlotError(
        "The next free slot is too late for this try.",
        retry_at=opens,
        model=model,
        limit=log.limit,
        in_progress=in_progress(log, now),
        opens_within=opens_within(log, now),
    )
