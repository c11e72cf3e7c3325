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

What others use of the same account shows in Venice's answers, and is left to them. All times are
seconds since 1970.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from image_drop.quota import Quota

DEFAULT_LIMIT = 20  # requests a minute, Venice's own default for images
MOST = 1000  # requests a minute; a higher limit counts as this, which bounds the item's size
WINDOW = 60.0
MARGIN = 1.1  # 2 × 0.5 s that two Lambda clocks may differ, and some for the network
LATE = 0.6  # after a whole minute, until it has begun by everybody's clock
WHOLE_MINUTES = 2  # different resets on whole minutes, in a row, that show fixed windows
FAILURE_WINDOW = 30.0
FAILURE_BUDGET = 14  # Venice locks the key out above 20; its own advice is to stay below 15
BURST = 10.0  # seconds in which the calls of a minute may start
AT_ONCE = 20  # calls that may all be refused before anybody knows; one more is a lock-out
FIRST = 4  # as many of them may start at once, or a fifteenth of a minute's
REFUSAL = 0.25  # seconds in which Venice refuses a call and all functions know it; assumed
BEGIN = 2  # calls begin a drop, because others may have used up the minute
UNSURE = 0.4  # seconds until more calls follow; with 1.0, minutes of 600 calls are not filled
PROVEN_AFTER = 1.5  # seconds; a failure after that is not one of the account, the key or the rate
PROVEN_CALLS = 10  # at the full rate; the time that they take proves a call if it is longer
DOUBT = 3  # failures in the last half minute; with more, no call counts as proven
USUAL = 1.5  # times longer or shorter than usual, and what a call takes is estimated anew
OTHERS_FOR = 300.0  # seconds after which what others use must have been seen again
OTHERS_SEEN = 150.0  # seconds for which the most that was seen counts
SPARE = 5  # a fifth of the limit stays unused while others use the account
SLOWLY = 60  # a sixtieth of the limit is taken back from them at a time
OVERTAKING = 1.5  # seconds by which a later call may reach Venice before an earlier one
BACK_OFF = 15.0  # seconds after a refusal by what others use; doubled by each further one
LONGEST_BACK_OFF = 300.0
UNEXPLAINED = 1  # calls; as many may be others' or only seem so, as calls overtake each other
RATES_TTL = 86_400.0  # after the last use; the account watch then sets the limits again
MOST_MODELS = 200  # Venice has about 30 that edit
ALL_MODELS = "all models"  # stands for all models; no model has a space in its name


@dataclass(frozen=True)
class SlotLog:
    """The calls of one model.

    `slots`: those of the last minute, by id. `limit`: calls a minute. `others`: how many of those
    somebody else makes with the same account, as seen at `others_at`. `seconds`: about what a call
    takes, 0 while it is unknown. `reset`: the last one that Venice named. `whole_minutes`: how
    many different ones in a row were on whole minutes. No call starts before `blocked_until`.
    """

    slots: Mapping[str, float] = field(default_factory=dict)
    limit: int = DEFAULT_LIMIT
    others: int = 0
    others_at: float = 0.0
    refusals: int = 0
    seconds: float = 0.0
    reset: float = 0.0
    whole_minutes: int = 0
    blocked_until: float = 0.0
    used_at: float = 0.0

    @property
    def times(self) -> tuple[float, ...]:
        """The slots' times, oldest first."""
        return tuple(sorted(self.slots.values()))

    @property
    def is_fixed(self) -> bool:
        """Whether Venice counts this model's calls in fixed minutes."""
        return self.whole_minutes >= WHOLE_MINUTES


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
        _window_opens(rates.log(model), now),
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
        _room(rates.failures.values(), FAILURE_BUDGET, FAILURE_WINDOW + MARGIN),
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
    slots = {other: at for other, at in log.slots.items() if other != id}
    return _with(rates, model, replace(log, slots=slots)) if id in log.slots else rates


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


def learn(
    rates: Rates, model: str, quota: Quota, at: float, then: SlotLog, seconds: float, now: float
) -> Rates:
    """Return the rates after an answer that took `seconds`.

    `then`: the model's log when the slot of the call was given, at `at`. The rates change only if
    the answer shows something new, which saves a write.
    """
    if quota.limit:
        rates = set_limits(rates, {model: quota.limit}, now)
    log = rates.log(model)
    if not log.seconds / USUAL < seconds < log.seconds * USUAL:
        log = replace(log, seconds=math.sqrt(log.seconds * seconds) or seconds)
    if quota.reset_at and not log.is_fixed and abs(quota.reset_at - log.reset) > 1:
        whole = log.whole_minutes + 1 if quota.reset_at % WINDOW == 0 else 0
        log = replace(log, reset=quota.reset_at, whole_minutes=whole)
    if quota.remaining is not None and now < at + WINDOW:  # else the log has forgotten that time
        others = log.limit - quota.remaining - _seen_by(at, then, log)
        log = _with_others(replace(log, refusals=0) if log.refusals else log, others, now)
    return rates if log == rates.log(model) else _with(rates, model, log)


def refuse(
    rates: Rates, model: str, quota: Quota, at: float, then: SlotLog, until: float, now: float
) -> Rates:
    """Return the rates after Venice answered 429 to a call; `at` and `then` as in `learn`.

    Nothing starts until `until`. If no call remains though the slots are fewer, others use the
    account too.
    """
    if quota.limit:
        rates = set_limits(rates, {model: quota.limit}, now)
    log = rates.log(model)
    if quota.remaining is not None:
        log = _with_others(log, log.limit - quota.remaining - _seen_by(at, then, log), now)
    if log.others and not quota.remaining:
        back_off = min(LONGEST_BACK_OFF, BACK_OFF * 2**log.refusals)
        until = max(until, _reset_from(now + back_off, quota))
    log = replace(log, whole_minutes=0, refusals=log.refusals + (now > log.blocked_until))
    return block(_with(rates, model, log), model, until)


def _reset_from(at: float, quota: Quota) -> float:
    """Return when a minute of Venice begins, at `at` or later: others have not used it up then."""
    return at if quota.reset_at is None else at + (quota.reset_at - at) % WINDOW


def calls_a_minute(log: SlotLog, now: float) -> int:
    """Return the model's limit without what others use of it; at least one call.

    A few calls are left unused, because what others use is never known exactly. And who uses more
    than the others leaves an eighth of the difference for them to take.
    """
    if not shares(log, now):
        return log.limit
    left = log.limit - log.others - max(1, log.limit // SPARE)
    return max(1, left - max(0, left - log.others) // 8)


def shares(log: SlotLog, now: float) -> bool:
    """Return whether others have used the account lately."""
    return log.others > 0 and log.others_at > now - OTHERS_FOR


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


def in_progress(log: SlotLog, now: float) -> int:
    """Return about how many of the model's calls are in progress."""
    return sum(at > now - log.seconds for at in log.slots.values())


def opens_within(log: SlotLog, now: float) -> float:
    """Return the seconds of a minute in which the model's slots become free."""
    return BURST if log.is_fixed and not shares(log, now) else WINDOW


def used_slots(log: SlotLog, now: float) -> int:
    """Return how many of the model's slots Venice may count in the window of a call now."""
    return sum(at > _window_start(log, now) for at in log.slots.values())


def _seen_by(at: float, then: SlotLog, log: SlotLog) -> int:
    """Return how many of our calls Venice may have counted when it counted the one at `at`.

    Those are the ones of its window, and each that got its slot later but may have overtaken it.
    """
    later = (start for id, start in log.slots.items() if id not in then.slots)
    return used_slots(then, at) + sum(start <= at + OVERTAKING for start in later)


def _window_start(log: SlotLog, now: float) -> float:
    if log.is_fixed and not shares(log, now):
        return (now - LATE) // WINDOW * WINDOW - MARGIN
    return now - WINDOW - MARGIN


def _window_opens(log: SlotLog, now: float) -> float:
    """Return when the model's window has room for one more slot; 0 is now."""
    limit = calls_a_minute(log, now)
    if log.is_fixed and not shares(log, now):
        full = used_slots(log, now) >= limit
        return ((now - LATE) // WINDOW + 1) * WINDOW + LATE if full else 0.0
    return _room(log.times, limit, WINDOW + MARGIN)


def _with_others(log: SlotLog, others: int, now: float) -> SlotLog:
    """Return the log with what others use: the most that was seen lately, then slowly less."""
    seen = min(others, log.limit - 1) if others > UNEXPLAINED else 0
    if seen < log.others and now <= log.others_at + OTHERS_SEEN:
        return log
    seen = max(seen, log.others - max(1, log.limit // SLOWLY) if seen else log.others // 2)
    return replace(log, others=seen, others_at=now) if seen or log.others else log


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
    room = min(AT_ONCE - _failed(rates, now), together)
    starts = (at for each in rates.logs.values() for at in each.slots.values())
    return _room(starts, room, REFUSAL) if room > 0 else 0.0


def _first_known_by(log: SlotLog) -> float:
    """Return when a refusal of the first calls would be known, if `BEGIN` have started; 0 is now.

    Later in a drop it is past, because the first calls stay in the log for a minute.
    """
    return min(log.slots.values()) + UNSURE if len(log.slots) >= BEGIN else 0.0


def _room(times: Iterable[float], count: int, seconds: float) -> float:
    """Return when any `seconds` with at most `count` times have room for one more; 0 is now."""
    sequence = sorted(times)
    return sequence[-count] + seconds if len(sequence) >= count else 0.0


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
