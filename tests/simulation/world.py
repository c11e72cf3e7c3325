"""Virtual time: days of waiting pass in seconds, and ordinary blocking code waits in it.

A discrete-event simulation. Its processes are greenlets: whatever a process calls may call
`World.sleep`, however deep in the stack, and the next process runs. So the project's own code runs
unchanged; it gets the world's time and sleep where it would get `time.time` and `time.sleep`.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from greenlet import GreenletExit, getcurrent, greenlet


class World:
    """Processes and callbacks, run in the order of their times. Times are seconds since 1970."""

    def __init__(self, start: float, seed: object) -> None:
        self.time = start
        self.rng = random.Random(f"{seed} world")
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._serial = itertools.count()
        self._hub: greenlet = getcurrent()
        self._stopped = False
        self._processes: list[greenlet] = []

    def now(self) -> float:
        """Return the time."""
        return self.time

    def call(self, after: float, callback: Callable[[], object]) -> None:
        """Run `callback`, which must not sleep, in so many seconds."""
        heapq.heappush(self._events, (self.time + after, next(self._serial), callback))

    def start(self, after: float, process: Callable[[], object]) -> None:
        """Run `process`, which may sleep, in so many seconds."""
        self.call(after, partial(self._begin, process))

    def sleep(self, seconds: float) -> None:
        """Let the calling process wait. Outside of all processes: run until then."""
        if self._stopped:
            raise GreenletExit
        end = self.time + max(0.0, seconds)
        if not self._events or self._events[0][0] > end:  # nothing happens in between
            self.time = end
        elif getcurrent() is self._hub:
            self.run(lambda: self._events[0][0] > end)
            self.time = end
        else:
            heapq.heappush(self._events, (end, next(self._serial), getcurrent().switch))
            self._hub.switch()

    def alarm(self) -> Callable[[], object]:
        """Return what ends the calling process's next `wait` when it is given to `call`."""
        switch: Callable[[], object] = getcurrent().switch
        return switch

    def wait(self) -> None:
        """Let the calling process wait for its alarm."""
        if self._stopped:
            raise GreenletExit
        self._hub.switch()

    def wait_for(self, answer: "Answer", seconds: float) -> bool:
        """Let the calling process wait for an answer; return whether it came in time."""
        if not answer.here:
            awake = _Once(getcurrent().switch)
            answer.alarm = partial(self.call, 0, awake)
            self.call(seconds, awake)
            self.wait()
            awake.used = True
        return answer.here

    def die(self) -> NoReturn:
        """End the calling process here, as a power cut does: not even `finally` runs."""
        self._hub.switch()  # for ever: nobody has its alarm
        raise GreenletExit  # when the world is gone

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Run until nothing is left to do, or `until` holds, or somebody stops the world."""
        self._hub = getcurrent()
        while self._events and not self._stopped and not until():
            self.time, _, callback = heapq.heappop(self._events)
            callback()

    def stop(self) -> None:
        """End `run` for good; processes that still wait end where they are."""
        self._stopped = True

    def _begin(self, process: Callable[[], object]) -> None:
        begun = greenlet(process)
        self._processes.append(begun)
        begun.switch()

    def close(self) -> None:
        """End every process that is left; only then is its memory free."""
        self._stopped = True
        for process in self._processes:
            if not process.dead:
                process.throw(GreenletExit)
        self._processes.clear()
        self._events.clear()

    def about(self, median: float, spread: float) -> float:
        """Return a log-normal number; two thirds lie within ÷ and × e^spread of the median."""
        return median * math.exp(self.rng.gauss(0, spread))


class Answer:
    """Something that one process waits for and another one gives."""

    def __init__(self) -> None:
        self.here = False
        self.value: Any = None
        self.alarm: Callable[[], object] = _nothing

    def give(self, value: Any) -> None:
        """Give it, and wake who waits for it."""
        self.here, self.value = True, value
        self.alarm()


class _Once:
    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake, self.used = wake, False

    def __call__(self) -> None:
        if not self.used:
            self.used = True
            self.wake()


def _nothing() -> None: ...
