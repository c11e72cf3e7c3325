"""Lambda as the burst needs it: billed environments, the account's concurrency, the pollers.

It runs the project's functions below their handlers, with policies that have no handler.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, override

from tests.simulation.aws.others import QueueTrigger
from tests.simulation.aws.sqs import Message, Sqs
from tests.simulation.metered import SPREAD, Meter
from tests.simulation.world import World
from tests.support.lambda_context import FakeContext

WARM_START = 0.005  # seconds, medians
COLD_START = 1.0  # billed like the rest, since August 2025
OWN_WORK = 0.030  # CPU time of a try: parse, hash, read the image's header
ACCOUNT_CONCURRENCY = 1000  # Lambda's default; a function may also start 1,000 in any 10 s
ENVIRONMENT_LIFE = 600.0  # seconds that an idle environment is kept; not documented
FIRST_POLLERS, MORE_POLLERS = 5, 5.0  # at first; a second (300 a minute)
POLL = 0.030  # median seconds from a visible message to the invocation
LONG_POLL = 20.0
LOG_BYTES = 400  # Lambda's own START, END and REPORT lines


class Context(FakeContext):
    """An invocation whose time runs out in the world's time."""

    def __init__(self, world: World, deadline: float) -> None:
        super().__init__()
        self.world, self.deadline = world, deadline

    @override
    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # static there
        return round((self.deadline - self.world.time) * 1000)


@dataclass(eq=False)
class _Environment:
    services: Any
    used_at: float


class TimedOutError(RuntimeError):
    """When an invocation runs longer than the function's timeout."""


@dataclass
class Function:
    """A function's environments. `make_services` is what a cold start makes."""

    world: World
    meter: Meter
    make_services: Callable[[], Any]
    gigabytes: float = 1.0
    timeout: float = 300.0
    _idle: list[_Environment] = field(default_factory=list)

    def invoke[T](self, handler: Callable[[Any, Context], T]) -> T:
        """Run `handler(services, context)` in an environment, and bill it."""
        start = self.world.time
        environment = self._environment()
        begun = self.world.time
        try:
            self.world.sleep(OWN_WORK)
            return handler(environment.services, Context(self.world, begun + self.timeout))
        finally:
            if self.world.time - begun > self.timeout:
                raise TimedOutError(f"{self.world.time - begun:.0f} s")
            environment.used_at = self.world.time
            self._idle.append(environment)
            self.meter["Lambda request"] += 1
            self.meter["Lambda GB-second"] += (self.world.time - start) * self.gigabytes
            self.meter["log byte"] += LOG_BYTES

    def _environment(self) -> _Environment:
        """Return the one that was used last, so that others die, as with Lambda; or a new one."""
        if self._idle and self._idle[-1].used_at > self.world.time - ENVIRONMENT_LIFE:
            warm = self._idle.pop()
            self.world.sleep(self.world.about(WARM_START, SPREAD))
            return warm
        self._idle.clear()
        self.world.sleep(self.world.about(COLD_START, 0.2))
        return _Environment(self.make_services(), self.world.time)


@dataclass
class Concurrency:
    """The account's concurrent executions, and the queue in which asynchronous events wait."""

    world: World
    free: int = ACCOUNT_CONCURRENCY
    running: int = 0
    _events: deque[Callable[[], object]] = field(default_factory=deque)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self.running and not self._events

    def submit(self, work: Callable[[], object]) -> None:
        """Run `work` as soon as there is room."""
        self._events.append(work)
        self._dispatch()

    def run(self, work: Callable[[], object]) -> None:
        """Run `work` in the calling process, after throttled tries if there is no room."""
        while not self.free:
            self.world.sleep(self.world.rng.uniform(0.5, 1.5))
        self._enter()
        try:
            work()
        finally:
            self._leave()

    def _dispatch(self) -> None:
        while self._events and self.free:
            self._enter()
            self.world.start(0, partial(self._run, self._events.popleft()))

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            self._leave()

    def _enter(self) -> None:
        self.free -= 1
        self.running += 1

    def _leave(self) -> None:
        self.free += 1
        self.running -= 1
        self._dispatch()


@dataclass
class Pollers:
    """An event source mapping's pollers: BatchSize 1, ReportBatchItemFailures.

    `handler(handle, message)` answers whether the message is done. While they are paused, they
    finish what they have received. So do those above the mapping's maximum concurrency.
    """

    world: World
    meter: Meter
    queue: Sqs
    trigger: QueueTrigger
    concurrency: Concurrency
    handler: Callable[[str, Message], bool]

    def start(self) -> None:
        """Start polling: five pollers at first, then five more a second."""
        for number in range(ACCOUNT_CONCURRENCY):
            after = max(0, number - FIRST_POLLERS + 1) / MORE_POLLERS
            self.world.start(after, partial(self._poll, number))

    def _poll(self, number: int) -> None:
        while True:
            while not self.trigger.enabled or number >= self.trigger.maximum_concurrency:
                self.trigger.wait()
            since = self.world.time
            self.queue.wait()
            self.meter["SQS request"] += 1 + int((self.world.time - since) / LONG_POLL)
            self.world.sleep(self.world.about(POLL, SPREAD))
            if self.trigger.enabled and (taken := self.queue.take()):
                self.concurrency.run(partial(self._work, *taken))

    def _work(self, handle: str, message: Message) -> None:
        if self.handler(handle, message):
            self.meter["SQS request"] += 1
            self.queue.delete_message(QueueUrl=self.queue.url, ReceiptHandle=handle)
