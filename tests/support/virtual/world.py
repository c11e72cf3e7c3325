"""Virtual time: days of waiting pass in seconds, and ordinary blocking code waits in it.

A discrete-event simulation. Its processes are greenlets: whatever a process calls may call
`World.sleep`, however deep in the stack, and the next process runs. So the project's own code runs
unchanged; it gets `World.now` and `World.sleep` where it would get `time.time` and `time.sleep`.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from functools import partial

from greenlet import GreenletExit, getcurrent, greenlet


class World:
    """Processes and callbacks, run in the order of their times. Times are seconds since 1970."""

    def __init__(self, start: float, seed: int) -> None:
        self.time = start
        self.rng = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = itertools.count()
        self._hub: greenlet = getcurrent()
        self._stopped = False

    def now(self) -> float:
        """The time."""
        return self.time

    def call(self, after: float, callback: Callable[[], object]) -> None:
        """Run `callback`, which must not sleep, in so many seconds."""
        heapq.heappush(self._events, (self.time + after, next(self._serial), callback))

    def start(self, after: float, process: Callable[[], object]) -> None:
        """Run `process`, which may sleep, in so many seconds."""
        self.call(after, partial(_begin, process))

    def sleep(self, seconds: float) -> None:
        """Let the calling process wait. Outside of all processes: run until then."""
        if self._stopped:
            raise GreenletExit
        end = self.time + max(0.0, seconds)
        if getcurrent() is self._hub:
            self.run(end)
            self.time = end
        elif self._events and self._events[0][0] <= end:
            heapq.heappush(self._events, (end, next(self._serial), getcurrent().switch))
            self._hub.switch()
        else:  # nothing happens in between
            self.time = end

    def alarm(self) -> Callable[[], object]:
        """What ends the calling process's next `wait` when it is given to `call`."""
        switch: Callable[[], object] = getcurrent().switch
        return switch

    def wait(self) -> None:
        """Let the calling process wait for its alarm."""
        if self._stopped:
            raise GreenletExit
        self._hub.switch()

    def run(self, until: float = math.inf) -> None:
        """Run until nothing is left to do before that time, or somebody stops the world."""
        self._hub = getcurrent()
        while self._events and self._events[0][0] <= until and not self._stopped:
            self.time, _, callback = heapq.heappop(self._events)
            callback()

    def stop(self) -> None:
        """End `run`; processes that still wait end where they are."""
        self._stopped = True

    def about(self, median: float, spread: float) -> float:
        """A log-normal random number; two thirds lie within ÷ and × e^spread of the median."""
        return median * math.exp(self.rng.gauss(0, spread))


def _begin(process: Callable[[], object]) -> None:
    greenlet(process).switch()
