"""What happened in a run, as far as buckets, queue and table do not show it at the end."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from image_drop.state.circuit_breaker import Status

ROUND = 300.0  # seconds; both schedules
HIDDEN = 1900.0  # seconds for which a fault may hide a message
DAY = 86_400.0
OLD_VERSION = 600.0  # seconds for which functions of an old deployment may still work


@dataclass(frozen=True)
class Pause:
    """A time in which processing was paused: for the daily limit, by a person, or else."""

    begin: float
    spent: bool
    by_hand: bool = False
    end: float = math.inf


@dataclass
class Journal:
    """Notes for the auditor. Times are seconds since 1970, keys are of images.

    `failures`: tries that failed at AWS or Venice, at most. `trouble`: times of all faults and of
    all planned trouble at Venice, with the images that they may have delayed, or "" for all.
    `doubts`: times at which a charge may have become unknown, with the images whose calls they
    are. `broken`: promises that were broken on the way.
    """

    failures: Counter[str] = field(default_factory=Counter)
    trouble: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    doubts: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    daily_limits: list[tuple[float, float]] = field(default_factory=list)
    limits_today: list[tuple[float, float]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    switched_at: float = 0.0

    def failed(self, keys: frozenset[str]) -> None:
        """Note that a try of these images may have failed."""
        self.failures.update(keys)

    def met(self, at: float, function: str, keys: frozenset[str]) -> None:
        """Note a fault or trouble. One of the account watch costs a round, and so delays all."""
        self.trouble.append((at, keys | {""} if function == "account_watch" else keys))

    def may_be_unknown(self, at: float, keys: frozenset[str]) -> None:
        """Note that the charge of a call for these images may be unknown from now on."""
        self.doubts.append((at, keys))

    def is_doubtful(self, key: str, since: float, until: float) -> bool:
        """Return whether the charge of an image's call may have become unknown in a time."""
        return any(since <= at <= until and key in keys for at, keys in self.doubts)

    def delay(self, key: str, since: float, until: float) -> float:
        """Return the seconds by which trouble in a time may delay an image, at most."""
        met = [keys for at, keys in self.trouble if since <= at <= until]
        return HIDDEN * sum(key in keys for keys in met) + ROUND * sum("" in keys for keys in met)

    def limit_is(self, at: float, usd: float) -> None:
        """Note the daily limit of a deployment; 0 is none."""
        self.daily_limits.append((at, usd or math.inf))

    def limit_today_is(self, at: float, usd: float) -> None:
        """Note the limit that somebody ordered for the day of UTC; 0 is none."""
        self.limits_today.append((at, usd or math.inf))

    def daily_limit(self, at: float) -> float:
        """Return the highest daily limit that a function may have at a time."""
        midnight = at - at % DAY
        ordered = [(since, usd) for since, usd in self.limits_today if midnight <= since <= at]
        usual = _lately(self.daily_limits, at)
        if not ordered:
            return max(usual)
        known = ordered[0][0] <= at - OLD_VERSION  # to every function
        return max(_lately(ordered, at) + ([] if known else usual))

    def switched(self, at: float, status: Status, committed_usd: float, paid_at: float) -> None:
        """Note whether processing is paused now.

        `committed_usd`: of the day. `paid_at`: when the last paid call began.
        """
        self.switched_at = at
        last = self.pauses[-1] if self.pauses and self.pauses[-1].end == math.inf else None
        why = status.stopped and status.limit_usd is not None, status.by_hand
        others = last is None or (last.spent, last.by_hand) != why
        if last and (not status.stopped or others):
            self.pauses[-1] = replace(last, end=at)
            tried = not (status.stopped or last.spent or last.by_hand) and paid_at > last.begin
            if tried and committed_usd >= self.daily_limit(at):
                self.broken.append(
                    f"processing resumed although ${committed_usd:.2f} of the day are spent"
                )
        if status.stopped and others:
            self.pauses.append(Pause(at, *why))


def _lately(limits: Sequence[tuple[float, float]], at: float) -> list[float]:
    """Return those of the limits, each from a time on, that held within the last minutes."""
    ends = [since for since, _ in limits[1:]] + [math.inf]
    return [
        usd
        for (since, usd), end in zip(limits, ends, strict=True)
        if since <= at and end > at - OLD_VERSION
    ]
