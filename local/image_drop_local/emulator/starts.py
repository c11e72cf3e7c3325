"""How many functions may start at the same time, when they share the cores of one machine.

Lambda starts each on a machine of its own. Here a start needs a third of a second of a core. If 24
start together on two cores, the first one is ready when the last one is.
"""

import threading
from collections.abc import Callable


class Starts:
    """At most `limit` starts at a time. Who waits for one takes what becomes free before."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._closed = False
        self._changed = threading.Condition()

    def lease[T](self, take_warm: Callable[[], T | None], start: Callable[[], T]) -> T | None:
        """Return what `take_warm` has, else what `start` returns; None after `close`.

        `take_warm` returns at once, None if nothing is free. `start` returns when it has started.
        """
        with self._changed:
            while not self._closed:
                if (warm := take_warm()) is not None:
                    return warm
                if self._left:
                    break
                self._changed.wait()
            else:
                return None
            self._left -= 1
        try:
            return start()
        finally:
            with self._changed:
                self._left += 1
                self._changed.notify_all()

    def freed(self) -> None:
        """Let those who wait look again, because something became free."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End every wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
