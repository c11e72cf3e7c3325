"""The rate limit of each model and the lock-out of each key.

Times are seconds since 1970 from the simulator's clock.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from threading import Lock

from image_drop_local.simulator.settings import Settings


@dataclass(frozen=True)
class Quota:
    """Where a model stands right after one call asked for a place."""

    granted: bool
    limit: int
    remaining: int
    reset_at: float


class RateLimit:
    """Counts granted calls only: a refused call takes no place (assumed; Venice does not say)."""

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
    """Too many failures of one key in a short time shut that key out for as long again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures: dict[str, deque[float]] = defaultdict(deque)
        self._until: dict[str, float] = {}
        self._begun = 0

    @property
    def begun(self) -> int:
        """How many lock-outs there have been."""
        return self._begun

    def ends(self, key: str, now: float) -> float | None:
        """When the key is let in again, or None if it is not shut out."""
        with self._lock:
            until = self._until.get(key, 0.0)
            return until if until > now else None

    def left(self, key: str, now: float, settings: Settings) -> int:
        """How many failures the key may still have."""
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
