"""Waiting for what happens elsewhere, with a deadline."""

import time
from collections.abc import Callable


def until[T](probe: Callable[[], T], timeout: float = 30.0) -> T:
    """The first true answer of `probe`; fails after `timeout` seconds, with the last answer."""
    deadline = time.monotonic() + timeout
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r} after {timeout:g} s")
        time.sleep(0.1)
    return answer
