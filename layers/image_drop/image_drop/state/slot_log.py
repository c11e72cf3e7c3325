"""The calls of one model: those of the last minute, and what others use of the same account.

Others are known only by Venice's answers. What they use is left to them, and some more, because it
is never known exactly. Decisions, without I/O. All times are seconds since 1970.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from image_drop.quota import Quota

DEFAULT_LIMIT = 20  # requests a minute, Venice's own default for images
WINDOW = 60.0
MARGIN = 1.1  # 2 × 0.5 s that two Lambda clocks may differ, and some for the network
LATE = 0.6  # after a whole minute, until it has begun by everybody's clock
WHOLE_MINUTES = 2  # different resets on whole minutes, in a row, that show fixed windows
USUAL = 1.5  # times longer or shorter than usual, and what a call takes is estimated anew
TRIFLE = 0.5  # seconds; so small a difference is usual, too
BURST = 10.0  # seconds in which the calls of a minute may start
OTHERS_FOR = 300.0  # seconds after which what others use must have been seen again
OTHERS_SEEN = 100.0  # seconds for which the most that was seen counts
GONE = 65.0  # seconds; who was not seen in a minute since then has probably left
UNEXPLAINED = 1  # calls; as many may be others' or only seem so, as calls overtake each other
NOTICED = 8  # others use an eighth of the limit or more if nothing else explains a refusal
SPARE = 5  # a fifth of the limit stays unused while others use the account
PACE = 0.75  # of an even distance between calls, which is kept while others use the account
SLOWLY = 30  # a thirtieth of the limit is taken back from them at a time
STARVED = 4  # a quarter of what others use is taken back if one call a minute is left
END_OF_MINUTE = 40.0  # seconds; a call then shows whether others use a fixed minute
OVERTAKING = 1.5  # seconds by which a later call may reach Venice before an earlier one
BACK_OFF = 15.0  # seconds after a second refusal by what others use; doubled by each further one
LONGEST_BACK_OFF = 300.0


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


def in_progress(log: SlotLog, now: float) -> int:
    """Return about how many of the model's calls are in progress."""
    return sum(at > now - log.seconds for at in log.slots.values())


def opens_within(log: SlotLog, now: float) -> float:
    """Return the seconds of a minute in which the model's slots become free."""
    return BURST if _goes_by_minutes(log, now) else WINDOW


def used_slots(log: SlotLog, now: float) -> int:
    """Return how many of the model's slots Venice may count in the window of a call now."""
    return sum(at > _window_start(log, now) for at in log.slots.values())


def window_opens(log: SlotLog, now: float) -> float:
    """Return when the model's window has room for one more slot; 0 is now."""
    limit = calls_a_minute(log, now)
    if _goes_by_minutes(log, now):
        full = used_slots(log, now) >= limit
        return ((now - LATE) // WINDOW + 1) * WINDOW + LATE if full else 0.0
    opens = room(log.times, limit, WINDOW + MARGIN)
    if not shares(log, now):
        return opens
    return max(opens, room(log.times, 1, PACE * WINDOW / limit))


def learned(
    log: SlotLog, quota: Quota, at: float, then: SlotLog, seconds: float, now: float
) -> SlotLog:
    """Return the log after an answer to a call that started `at` and took `seconds`.

    `then`: the log when the slot of the call was given.
    """
    shortest = min(log.seconds / USUAL, log.seconds - TRIFLE)
    longest = max(log.seconds * USUAL, log.seconds + TRIFLE)
    if not log.seconds or not shortest < seconds < longest:
        log = replace(log, seconds=math.sqrt(log.seconds * seconds) or seconds)
    if quota.reset_at and not log.is_fixed and abs(quota.reset_at - log.reset) > 1:
        whole = log.whole_minutes + 1 if _is_whole(quota.reset_at) else 0
        if whole or log.whole_minutes:
            log = replace(log, reset=quota.reset_at, whole_minutes=whole)
    if quota.remaining is not None and now < at + WINDOW:  # else the log has forgotten that time
        others = log.limit - quota.remaining - _seen_by(at, then, log)
        log = replace(log, refusals=0) if log.refusals else log
        log = _with_others(log, others, now, sure=_is_telling(at, quota))
    return log


def refused(
    log: SlotLog, quota: Quota, id: str, then: SlotLog, until: float, now: float
) -> SlotLog:
    """Return the log after Venice answered 429 to the call of slot `id`; `then` as in `learned`.

    If no call remains though the slots are fewer, others use the account too. Then the slot is
    given back, and the next call starts when Venice may accept one.
    """
    is_first = now > log.blocked_until  # of those that are refused together
    if quota.remaining is not None:
        seen = _seen_by(then.slots[id], then, log)
        others = log.limit - quota.remaining - seen
        if not quota.remaining and seen <= log.limit:
            others = max(others, log.limit // NOTICED, UNEXPLAINED + 1)
        log = _with_others(log, others, now, sure=False)
    if log.others and not quota.remaining:
        log = without(log, id)
        if is_first:
            until = max(until, _free_from(now + _back_off(log.refusals), quota))
    return blocked(replace(log, whole_minutes=0, refusals=log.refusals + is_first), until)


def without(log: SlotLog, id: str) -> SlotLog:
    """Return the log without a slot."""
    return replace(log, slots={other: at for other, at in log.slots.items() if other != id})


def blocked(log: SlotLog, until: float) -> SlotLog:
    """Return the log with a block until `until`, or its own if that is later."""
    return replace(log, blocked_until=max(log.blocked_until, until))


def room(times: Iterable[float], count: int, seconds: float) -> float:
    """Return when any `seconds` with at most `count` times have room for one more; 0 is now."""
    sequence = sorted(times)
    return sequence[-count] + seconds if len(sequence) >= count else 0.0


def _seen_by(at: float, then: SlotLog, log: SlotLog) -> int:
    """Return how many of our calls Venice may have counted when it counted the one at `at`.

    Those are the ones of its window, and each that got its slot later but may have overtaken it.
    """
    later = (start for id, start in log.slots.items() if id not in then.slots)
    return used_slots(then, at) + sum(start <= at + OVERTAKING for start in later)


def _goes_by_minutes(log: SlotLog, now: float) -> bool:
    """Return whether Venice's minutes count; what others use needs a sliding window."""
    return log.is_fixed and not shares(log, now)


def _window_start(log: SlotLog, now: float) -> float:
    if _goes_by_minutes(log, now):
        return (now - LATE) // WINDOW * WINDOW - MARGIN
    return now - WINDOW - MARGIN


def _with_others(log: SlotLog, others: int, now: float, *, sure: bool) -> SlotLog:
    """Return the log with what others use: the most that was seen lately, then slowly less.

    `sure`: nobody is left if nobody was seen.
    """
    seen = min(others, log.limit - 1) if others > UNEXPLAINED else 0
    is_gone = sure and not seen
    if seen < log.others and now <= log.others_at + (GONE if is_gone else OTHERS_SEEN):
        return log
    less = log.others // 2 if is_gone else log.others - _taken_back(log, now)
    seen = max(seen, less, 0)
    return replace(log, others=seen, others_at=now) if seen or log.others else log


def _taken_back(log: SlotLog, now: float) -> int:
    """Return how many calls are taken back from others at a time."""
    starved = log.others // STARVED if calls_a_minute(log, now) == 1 else 0
    return max(1, log.limit // SLOWLY, starved)


def _is_telling(at: float, quota: Quota) -> bool:
    """Return whether Venice had counted enough of a minute when it counted a call."""
    reset = quota.reset_at
    return reset is None or not _is_whole(reset) or reset - at < END_OF_MINUTE


def _is_whole(reset: float) -> bool:
    return reset % WINDOW == 0


def _back_off(refusals: int) -> float:
    """Return the seconds to wait after one more refusal by what others use."""
    return min(LONGEST_BACK_OFF, BACK_OFF * 2.0 ** min(refusals - 1, 20)) if refusals else 0.0


def _free_from(at: float, quota: Quota) -> float:
    """Return when Venice may accept a call again, at `at` or later.

    That is when one of its minutes begins, or when in a sliding one the oldest call no longer
    counts; other stacks use its place again after the same time as this one.
    """
    if quota.reset_at is None:
        return at
    period = WINDOW if _is_whole(quota.reset_at) else WINDOW + MARGIN
    return at + (quota.reset_at - at) % period + LATE
