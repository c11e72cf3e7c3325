"""The rate limit of each model and the lock-out of each key.

Times are seconds since 1970 from the simulator's clock.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from threading import Lock

from image_drop_local.simulator.settings import Settings


@dataclass(frozen=True)
class Quota:
    """The state of a model's limit right after a call."""

    granted: bool
    limit: int
    remaining: int
    reset_at: float


class RateLimit:
    """The rate limit. Refused calls do not count, which is assumed: Venice does not say."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._grants: dict[str, deque[float]] = defaultdict(deque)

    def take(self, model: str, now: float, settings: Settings) -> Quota:
        with self._lock:
            grants = self._grants[model]
            fixed = settings.window_kind == "fixed"
            start = now - now % settings.window if fixed else now - settings.window
            while grants and grants[0] < start:
                grants.popleft()
            granted = len(grants) < settings.limit
            if granted:
                grants.append(now)
            return Quota(
                granted=granted,
                limit=settings.limit,
                remaining=max(0, settings.limit - len(grants)),
                reset_at=(start if fixed else grants[0]) + settings.window,
            )


class LockOut:
    """The lock-out: too many failures of a key in a short time lock it out for as long again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures: dict[str, deque[float]] = defaultdict(deque)
        self._until: dict[str, float] = {}
        self._begun = 0

    @property
    def begun(self) -> int:
        """The number of lock-outs so far."""
        return self._begun

    def ends(self, key: str, now: float) -> float | None:
        """Return the end of the key's lock-out, or None if there is none."""
        with self._lock:
            until = self._until.get(key, 0.0)
            return until if until > now else None

    def left(self, key: str, now: float, settings: Settings) -> int:
        """Return how many failures the key may still have."""
        with self._lock:
            failures = self._recent(key, now, settings)
            return max(0, settings.lockout_failures - len(failures))

    def fail(self, key: str, now: float, settings: Settings) -> None:
        with self._lock:
            failures = self._recent(key, now, settings)
            failures.append(now)
            if len(failures) > settings.lockout_failures:
                failures.clear()
                self._until[key] = now + settings.lockout_seconds
                self._begun += 1

    def _recent(self, key: str, now: float, settings: Settings) -> deque[float]:
        failures = self._failures[key]
        while failures and failures[0] <= now - settings.lockout_seconds:
            failures.popleft()
        return failures
