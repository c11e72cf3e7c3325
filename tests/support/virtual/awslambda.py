"""Lambda: environments, cold starts, the account's concurrency, the event source mapping."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, override

from botocore.exceptions import ClientError

from tests.support.lambda_context import FakeContext
from tests.support.virtual.service import SPREAD, Meter, failure
from tests.support.virtual.sqs import Message, Queue
from tests.support.virtual.world import World

WARM_START = 0.005  # seconds, medians
COLD_START = 1.5  # billed like the rest, since August 2025
OWN_WORK = 0.030  # CPU time of a try: parse, hash, read the image's header
API_CALL = 0.015

ACCOUNT_CONCURRENCY = 1000  # Lambda's default; a function may also start 1,000 in any 10 s
ENVIRONMENT_LIFE = 600.0  # seconds that an idle environment is kept; not documented
FIRST_POLLERS, MORE_POLLERS = 5, 5.0  # at first; a second (300 a minute)
MAPPING_UPDATE = 45.0  # seconds until a paused mapping stops; AWS says "a minute or so"
LOG_BYTES = 400  # Lambda's own START, END and REPORT lines


class ResourceInUseError(ClientError):
    """An update of an event source mapping that has not finished the last one."""

    def __init__(self) -> None:
        super().__init__(failure("ResourceInUseException", 400), "Lambda")


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
        """The one that was used last, which lets the others die, as Lambda does; or a new one."""
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
    on_idle: Callable[[], object]
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
        if self.is_idle:
            self.on_idle()


@dataclass
class EventSourceMapping:
    """An event source mapping with BatchSize 1 and ReportBatchItemFailures.

    `handler(handle, message)` answers whether the message is done. A paused mapping finishes what
    it has received. While it changes its state, every update is refused.
    """

    world: World
    queue: Queue
    concurrency: Concurrency
    handler: Callable[[str, Message], bool]
    pollers: int
    enabled: bool = True
    changing: bool = False
    _paused: list[Callable[[], object]] = field(default_factory=list)

    def start(self) -> None:
        """Start polling: five pollers at first, then five more a second."""
        for number in range(self.pollers):
            self.world.start(max(0, number - FIRST_POLLERS + 1) / MORE_POLLERS, self._poll)

    def update_event_source_mapping(self, *, UUID: str, Enabled: bool) -> None:  # noqa: N803
        self.world.sleep(self.world.about(API_CALL, SPREAD))
        if self.changing:
            raise ResourceInUseError
        if Enabled != self.enabled:
            self.changing = True
            self.world.call(self.world.about(MAPPING_UPDATE, 0.3), partial(self._set, Enabled))

    def _set(self, enabled: bool) -> None:
        self.enabled, self.changing = enabled, False
        while enabled and self._paused:
            self.world.call(0, self._paused.pop())

    def _poll(self) -> None:
        while True:
            self.queue.wait()
            if not self.enabled:
                self._paused.append(self.world.alarm())
                self.world.wait()
            elif taken := self.queue.take():
                self.concurrency.run(partial(self._work, *taken))

    def _work(self, handle: str, message: Message) -> None:
        if self.handler(handle, message):
            self.queue.delete(handle)
