"""When one more call may start, from the calls of the last minute: decisions, without I/O.

Venice allows a number of requests a minute for each model and account, and locks a key out for
half a minute after more than 20 failures in 30 s, whatever the model. The limiter keeps both
limits by giving out *slots*. A slot is a call that starts now:

- The slots of a model's last minute are kept, so the limit holds whether Venice counts in fixed
  minutes or in a sliding one. Once Venice has named two resets on whole minutes, its minutes
  are fixed, and the limiter counts in them too.
- Failures that could still come are counted in advance. Venice refuses within half a second, so
  few calls may start in that time. And as in TCP's slow start, a model may start 14 more calls
  than it has *proven*: calls of the last minute that are a few seconds old and have not failed.

The calls of one model, and what others use of the same account, are in `slot_log`. All times are
seconds since 1970.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from image_drop.quota import Quota
from image_drop.state.slot_log import (
    BURST,
    DEFAULT_LIMIT,
    MARGIN,
    WINDOW,
    SlotLog,
    blocked,
    calls_a_minute,
    learned,
    refused,
    room,
    shares,
    window_opens,
    without,
)

MOST = 1000  # requests a minute; a higher limit counts as this, which bounds the item's size
FAILURE_WINDOW = 30.0
FAILURE_BUDGET = 14  # Venice locks the key out above 20; its own advice is to stay below 15
AT_ONCE = 20  # calls that may all be refused before anybody knows; one more is a lock-out
FIRST = 4  # as many of them may start at once, or a fifteenth of a minute's
REFUSAL = 0.25  # seconds in which Venice refuses a call and all functions know it; assumed
BEGIN = 2  # calls begin a drop, because others may have used up the minute
UNSURE = 0.7  # seconds until more calls follow, or as many as `FIRST` calls take in turns
PROVEN_AFTER = 1.5  # seconds; a failure after that is not one of the account, the key or the rate
PROVEN_CALLS = 10  # at the full rate; the time that they take proves a call if it is longer
DOUBT = 3  # failures in the last half minute; with more, no call counts as proven
RATES_TTL = 86_400.0  # after the last use; the account watch then sets the limits again
MOST_MODELS = 200  # Venice has about 30 that edit
ALL_MODELS = "all models"  # stands for all models; no model has a space in its name


@dataclass(frozen=True)
class Rates:
    """The logs of all models, and the state of the key: failures by id, and a lock-out."""

    logs: Mapping[str, SlotLog] = field(default_factory=dict)
    failures: Mapping[str, float] = field(default_factory=dict)
    blocked_until: float = 0.0

    def log(self, model: str) -> SlotLog:
        """Return the log of a model, an empty one if the model is unknown."""
        return self.logs.get(model, SlotLog())


def opens_at(rates: Rates, model: str, now: float) -> float:
    """Return when one more call may start: `now`, or the earliest time at which it may.

    There are never more than `limit` slots in any 60 s, or in any of Venice's minutes.
    """
    return max(
        open_from(rates, model, now),
        window_opens(rates.log(model), now),
        _proven_from(rates, now),
        _refused_by(rates, rates.log(model), now),
        _first_known_by(rates.log(model)),
    )


def open_from(rates: Rates, model: str, now: float) -> float:
    """Return when a call may start after the refusals so far: blocks and failures."""
    return max(
        now,
        rates.blocked_until,
        rates.log(model).blocked_until,
        room(rates.failures.values(), FAILURE_BUDGET, FAILURE_WINDOW + MARGIN),
    )


def failures_in_advance(rates: Rates, now: float) -> int:
    """Return how many calls have failed in the last 30 s, or have not yet proven themselves.

    A model's calls that have not failed prove as many more. After a few failures, none does.
    """
    failed = _failed(rates, now)
    unproven = 0
    for log in rates.logs.values():
        young = len(_young(log, now))
        proven = len(log.slots) - young - len(rates.failures) if failed <= DOUBT else 0
        unproven += max(0, young - max(0, proven))
    return failed + unproven


def reserve(rates: Rates, model: str, id: str, now: float) -> Rates:
    """Return the rates with one more slot, and without entries that no longer count."""
    rates = _tidy(rates, now)
    log = rates.log(model)
    return _with(rates, model, replace(log, slots={**log.slots, id: now}, used_at=now))


def release(rates: Rates, model: str, id: str) -> Rates:
    """Return the rates without a slot that was not used."""
    log = rates.log(model)
    return _with(rates, model, without(log, id)) if id in log.slots else rates


def fail(rates: Rates, id: str, now: float) -> Rates:
    """Return the rates with one more failure of the key."""
    return (
        replace(rates, failures={**rates.failures, id: now}) if id not in rates.failures else rates
    )


def block(rates: Rates, model: str, until: float) -> Rates:
    """Return the rates with a block until `until`, of one model or of `ALL_MODELS`."""
    if model == ALL_MODELS:
        return replace(rates, blocked_until=max(rates.blocked_until, until))
    return _with(rates, model, blocked(rates.log(model), until))


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


def learn(
    rates: Rates, model: str, quota: Quota, at: float, then: SlotLog, seconds: float, now: float
) -> Rates:
    """Return the rates after an answer that took `seconds`.

    `then`: the model's log when the slot of the call was given, at `at`. The rates change only if
    the answer shows something new, which saves a write.
    """
    if quota.limit:
        rates = set_limits(rates, {model: quota.limit}, now)
    log = learned(rates.log(model), quota, at, then, seconds, now)
    return rates if log == rates.log(model) else _with(rates, model, log)


def refuse(
    rates: Rates, model: str, quota: Quota, id: str, then: SlotLog, until: float, now: float
) -> Rates:
    """Return the rates after Venice answered 429 to the call of slot `id`; `then` as in `learn`.

    No call of the model starts until `until`, or longer if others use up the account.
    """
    if quota.limit:
        rates = set_limits(rates, {model: quota.limit}, now)
    return _with(rates, model, refused(rates.log(model), quota, id, then, until, now))


def calls_at_once(rates: Rates, now: float) -> int:
    """Return how many calls will be in progress at the same time, by Little's law.

    A minute's calls start within `BURST` seconds rather than evenly. Counted are the models that
    were used in the last minute, and at least the one with the highest limit. An eighth more is
    for callers that find no slot.
    """
    needs = {
        model: calls_a_minute(log, now) * min(1.0, log.seconds / BURST if log.seconds else 1.0)
        for model, log in rates.logs.items()
    }
    used = sum(need for model, need in needs.items() if rates.log(model).slots)
    most = max(needs.values(), default=float(DEFAULT_LIMIT))
    return math.ceil(max(used, most) * 9 / 8)


def _failed(rates: Rates, now: float) -> int:
    return sum(at > now - FAILURE_WINDOW - MARGIN for at in rates.failures.values())


def _young(log: SlotLog, now: float) -> list[float]:
    """Return the slots of the calls that have not proven themselves."""
    return [at for at in log.slots.values() if at > now - _proven_after(log)]


def _proven_after(log: SlotLog) -> float:
    """Return after how many seconds a call counts as proven: later where time matters less."""
    few_calls = PROVEN_CALLS * WINDOW / log.limit
    return min(FAILURE_WINDOW + MARGIN, max(PROVEN_AFTER, few_calls))


def _proven_from(rates: Rates, now: float) -> float:
    """Return when enough calls have proven themselves for one more; 0 is now."""
    if failures_in_advance(rates, now) < FAILURE_BUDGET:
        return 0.0
    return min(
        (
            min(young) + _proven_after(log)
            for log in rates.logs.values()
            if (young := _young(log, now))
        ),
        default=0.0,
    )


def _refused_by(rates: Rates, log: SlotLog, now: float) -> float:
    """Return when all refusals of the last calls would be known, if those are many; 0 is now."""
    together = max(FIRST, log.limit // 15)
    if shares(log, now):
        together //= FIRST  # usually one by one
    most = min(AT_ONCE - _failed(rates, now), together)
    starts = (at for each in rates.logs.values() for at in each.slots.values())
    return room(starts, most, REFUSAL) if most > 0 else 0.0


def _first_known_by(log: SlotLog) -> float:
    """Return when a refusal of the first calls would be known, if `BEGIN` have started; 0 is now.

    Later in a drop it is past, because the first calls stay in the log for a minute.
    """
    unsure = min(UNSURE, FIRST * WINDOW / log.limit)  # else a minute of 600 would not be filled
    return min(log.slots.values()) + unsure if len(log.slots) >= BEGIN else 0.0


def _with(rates: Rates, model: str, log: SlotLog) -> Rates:
    return replace(rates, logs={**rates.logs, model: log})


def _tidy(rates: Rates, now: float) -> Rates:
    """Remove slots and failures older than a minute, and models that nobody uses."""
    recent = now - WINDOW - MARGIN
    logs = {
        model: replace(log, slots={i: at for i, at in log.slots.items() if at > recent})
        for model, log in rates.logs.items()
        if max(log.used_at, log.blocked_until) > now - RATES_TTL
    }
    failures = {id: time for id, time in rates.failures.items() if time > recent}
    return replace(rates, logs=logs, failures=failures)
