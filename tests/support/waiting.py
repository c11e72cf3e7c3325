"""Waiting for what happens elsewhere, with a deadline."""

import time
from collections.abc import Callable

LONGEST_PAUSE = 0.5  # seconds from one look to the next; each takes CPU that others wait for


def until[T](probe: Callable[[], T], timeout: float = 30.0) -> T:
    """The first true answer of `probe`; fails after `timeout` seconds, with the last answer."""
    deadline, pause = time.monotonic() + timeout, 0.05
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r} after {timeout:g} s")
        time.sleep(pause)
        pause = min(1.3 * pause, LONGEST_PAUSE)
    return answer
