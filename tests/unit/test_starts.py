"""Few functions start at the same time, and what becomes free goes before a start."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from image_drop_local.emulator.starts import Starts
from tests.support.waiting import until

LIMIT, EVENTS = 2, 24


class Pool:
    """Environments that start when the test says so. `most`: started at the same time."""

    def __init__(self) -> None:
        self.may_start = threading.Semaphore(0)
        self.starting = self.most = self.started = 0
        self._free: list[int] = []
        self._lock = threading.Lock()

    def start(self) -> int:
        with self._lock:
            self.starting += 1
            self.most = max(self.most, self.starting)
        self.may_start.acquire()
        with self._lock:
            self.starting -= 1
            self.started += 1
            return self.started

    def take_warm(self) -> int | None:
        with self._lock:
            return self._free.pop() if self._free else None

    def free(self, environment: int) -> None:
        with self._lock:
            self._free.append(environment)


def test_no_more_than_limit_start_at_same_time() -> None:
    starts, pool = Starts(LIMIT), Pool()
    with ThreadPoolExecutor(EVENTS) as events:
        leases = [events.submit(starts.lease, pool.take_warm, pool.start) for _ in range(EVENTS)]
        until(lambda: pool.starting == LIMIT)
        pool.may_start.release(EVENTS)

    assert sorted(lease.result() or 0 for lease in leases) == list(range(1, EVENTS + 1))
    assert pool.most == LIMIT


def test_waiting_event_takes_environment_that_becomes_free() -> None:
    starts, pool = Starts(1), Pool()
    with ThreadPoolExecutor(2) as events:
        slow = events.submit(starts.lease, pool.take_warm, pool.start)
        until(lambda: pool.starting == 1)
        waiting = events.submit(starts.lease, pool.take_warm, pool.start)
        pool.free(7)
        starts.freed()

        assert waiting.result(10) == 7
        assert not slow.done()
        pool.may_start.release()

    assert pool.started == 1


def test_failed_start_lets_next_one_start() -> None:
    starts = Starts(1)

    with pytest.raises(OSError, match="no interpreter"):
        starts.lease(lambda: None, _fail)

    assert starts.lease(lambda: None, lambda: 1) == 1


def test_closing_ends_waits() -> None:
    starts, pool = Starts(1), Pool()
    with ThreadPoolExecutor(2) as events:
        running = events.submit(starts.lease, pool.take_warm, pool.start)
        until(lambda: pool.starting == 1)
        waiting: Future[int | None] = events.submit(starts.lease, pool.take_warm, pool.start)
        starts.close()

        assert waiting.result(10) is None
        pool.may_start.release()
        assert running.result(10) == 1


def _fail() -> int:
    raise OSError("no interpreter")
