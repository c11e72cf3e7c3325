"""Bursts wait for a free function process, as they do on AWS.

Lambda keeps asynchronous events in an internal queue until there is room to run them, for up to
six hours. ministack has no such queue: with every process busy, an event counts as a failed try,
and a drop of a few hundred images ends in the dead-letter queue. `Bursts` replaces the functions
through which every execution passes. Everything it uses is private to ministack, hence the exact
version in pyproject.toml. Only `stack` may import it, which sets the environment first.
"""

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from image_drop_local.emulator.starts import Starts

LONGEST_START = 30.0  # seconds in which a busy machine starts a process; the end waits for that

_acquire = lambda_svc._acquire_execution_slot
_release = lambda_svc._release_execution_slot
_mapping_limit = lambda_svc._sqs_esm_concurrency
_collect = lambda_runtime._collect
_acquire_worker = lambda_runtime.acquire_worker
_release_worker = lambda_runtime.release_worker


class Bursts:
    """At most `limit` executions at a time, for all functions together; the others wait.

    An execution takes a warm process, or starts one when fewer than `starts` are starting.
    ministack's own limit has to be off (`LAMBDA_ACCOUNT_CONCURRENCY=0`).
    """

    def __init__(self, limit: int, starts: int) -> None:
        self._room = threading.Semaphore(limit)
        self._starts = Starts(starts)
        self._closed = False
        self._since = ""

    def install(self) -> None:
        self._since = lambda_svc._now_iso()
        lambda_svc._acquire_execution_slot = self._wait_for_room
        lambda_svc._release_execution_slot = self._leave
        lambda_svc.acquire_worker = self._lease_worker
        lambda_svc.release_worker = self._free_worker
        lambda_svc._sqs_esm_concurrency = _numeric_mapping_limit
        lambda_runtime._collect = _collect_and_close
        lambda_runtime._worker_class_for = lambda _config: self._worker
        lambda_svc.logger.setLevel(logging.NOTSET)

    def close(self) -> None:
        """End running executions, and refuse those that wait or try again."""
        lambda_svc.logger.setLevel(logging.CRITICAL)  # it would log each one as an error
        self._closed = True
        self._starts.close()
        self._room.release()
        deadline = time.monotonic() + LONGEST_START
        while lambda_svc.executions_in_flight()[0] and time.monotonic() < deadline:
            for workers in list(lambda_runtime._workers.values()):
                for worker in list(workers):
                    lambda_runtime._signal(worker._proc)
            time.sleep(0.02)

    def _worker(self, *args: Any) -> lambda_runtime.Worker:
        return _Worker(lambda: self._closed, *args)

    def _wait_for_room(
        self, function: dict[str, Any], config: dict[str, Any]
    ) -> tuple[str | None, str | None]:
        """Return ministack's answer: a key to release later, or None and the limit reached."""
        if config.get("LastModified", self._since) < self._since:
            # A later try of an event of a stack that was closed. Its thread never goes on: it would
            # send the failure to this stack's queue of the same name.
            threading.Event().wait()
        self._room.acquire()
        key = None if self._closed else _acquire(function, config)[0]
        if key is None:
            self._room.release()  # when closed, this wakes the next one, which leaves too
            return None, "account"
        return key, None

    def _leave(self, key: str) -> None:
        _release(key)
        self._room.release()

    def _lease_worker(
        self, function: str, config: dict[str, Any], code: bytes, qualifier: str = "$LATEST"
    ) -> tuple[Any, str]:
        """Return ministack's answer: a worker that runs, or None and the limit reached."""

        def start() -> Any:
            worker, _ = _acquire_worker(function, config, code, qualifier)
            with suppress(Exception):  # the invocation tries again, and reports what is wrong
                lambda_runtime.ensure_spawned(worker)
            return worker

        key = lambda_runtime._worker_key(function, config, qualifier)
        worker = self._starts.lease(lambda: _take_warm(key), start)
        return worker, "func_cap" if worker is None else ""

    def _free_worker(self, worker: Any) -> None:
        _release_worker(worker)
        self._starts.freed()


def _take_warm(key: str) -> Any:
    """Lease a running worker that has nothing to do; return None if there is none."""
    with lambda_runtime._lock:
        for worker in lambda_runtime._workers.get(key, ()):
            if not worker.in_use and worker._proc and worker._proc.poll() is None:
                worker.in_use, worker.last_used = True, time.time()
                return worker
    return None


class _Worker(lambda_runtime.Worker):  # type: ignore[misc]  # ministack has no types
    """A function's process, of which nothing is left when it ends, whenever that is.

    ministack replaces a process that died without closing its pipes, and lets one start while the
    stack is closed, of which it then knows nothing.
    """

    def __init__(self, closed: Callable[[], bool], *args: Any) -> None:
        super().__init__(*args)
        self._closed = closed

    def _spawn(self) -> None:
        self.kill()
        if self._closed():
            raise RuntimeError("the stack was closed")
        try:
            super()._spawn()
        except BaseException:
            self.kill()
            raise
        if self._closed():
            self.kill()
            raise RuntimeError("the stack was closed")


def _numeric_mapping_limit(mapping: dict[str, Any], *rest: Any) -> int:
    """Convert a Number parameter, which ministack keeps as text and then fails to compare."""
    if scaling := mapping.get("ScalingConfig"):
        scaling["MaximumConcurrency"] = int(scaling["MaximumConcurrency"])
    return int(_mapping_limit(mapping, *rest))


def _collect_and_close(process: subprocess.Popen[str] | None, deadline: float) -> None:
    """Close a dead process's pipes; ministack leaves them to the garbage collector, which warns."""
    _collect(process, deadline)
    for pipe in (process.stdin, process.stdout, process.stderr) if process else ():
        with suppress(OSError):  # nobody reads them any more
            if pipe:
                pipe.close()
