"""Time for tests: it passes when somebody sleeps, or when a test says so."""

from collections.abc import Callable


class FakeClock:
    """Seconds since 1970. Pass `clock.now` and `clock.sleep` where the code takes a clock."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._appointments: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        """Advance, and keep the appointments on the way."""
        end = self._now + seconds
        while due := [each for each in self._appointments if each[0] <= end]:
            first = min(due, key=lambda each: each[0])
            self._appointments.remove(first)
            self._now = max(self._now, first[0])
            first[1]()
        self._now = end

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something when so many seconds have passed, in the middle of somebody's sleep."""
        self._appointments.append((self._now + seconds, action))
