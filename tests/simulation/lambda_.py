"""Lambda: environments, concurrency, asynchronous retries, and pollers of a queue."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.simulation.aws.others import QueueTrigger
from tests.simulation.aws.sqs import Message, Sqs
from tests.simulation.machine import Machine
from tests.simulation.world import Answer, World

FUNCTIONS = Path(__file__).parents[2] / "functions"
ENVIRONMENT_LIFE = 600.0  # seconds that an idle environment is kept; not documented
COLD_START = 1.5
ASYNC_RETRIES = (60.0, 120.0)  # seconds until Lambda's second and third try
MAX_EVENT_AGE = 6 * 3600.0


@dataclass(frozen=True)
class Context:
    """The part of Lambda's context that the project uses."""

    machine: Machine
    function_name: str = "function"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:image-drop"
    memory_limit_in_mb: int = 1024
    aws_request_id: str = "11111111-2222-3333-4444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        left = self.machine.deadline - self.machine.cloud.world.time
        return max(0, round(left * 1000))


@cache
def _code(function: str) -> CodeType:
    path = FUNCTIONS / function / "app.py"
    return compile(path.read_text(), str(path), "exec")


def app(function: str, machine: Machine) -> Callable[[Any, Any], Any]:
    """Return the handler of a new process of a function, with services of its machine."""
    module = ModuleType(f"app_{machine.number}")
    exec(_code(function), module.__dict__)
    module.__dict__["services"] = cache(machine.services)
    handler: Callable[[Any, Any], Any] = module.__dict__["handler"]
    return handler


@dataclass
class Function:
    """A function's environments. `retries`: of an asynchronous event."""

    world: World
    name: str
    make: Callable[[str], Machine]
    timeout: float
    retries: int = 0
    on_failure: Callable[[Any], object] | None = None
    running: int = 0
    waiting: int = 0  # for their next try
    idle: list[Machine] = field(default_factory=list)

    def call(self, event: Any, done: Callable[[bool, Any], object]) -> None:
        """Run the handler; tell `done` whether it returned, and what."""
        self.running += 1
        self.world.start(0, partial(self._run, event, done))

    def call_later(self, event: Any, tries: int = 0, since: float | None = None) -> None:
        """Invoke asynchronously, as S3, EventBridge and schedules do."""
        since = self.world.time if since is None else since

        def done(returned: bool, _: Any) -> None:
            if returned:
                return
            if tries < self.retries and self.world.time - since < MAX_EVENT_AGE:
                later = partial(self.call_later, event, tries + 1, since)
                self.waiting += 1
                self.world.call(ASYNC_RETRIES[tries], partial(self._again, later))
            elif self.on_failure:
                self.on_failure(event)

        self.call(event, done)

    def _again(self, later: Callable[[], object]) -> None:
        self.waiting -= 1
        later()

    def _run(self, event: Any, done: Callable[[bool, Any], object]) -> None:
        machine = self._environment()
        machine.died = Answer()
        machine.died.alarm = lambda: self._ended(False, None, done)
        machine.begin(event, self.timeout)
        try:
            answer = machine.app(json.loads(json.dumps(event)), Context(machine))
        except Exception as error:
            machine.cloud.raised(machine, error)
            self._ended(False, None, done)
        else:
            self._ended(True, answer, done)
        machine.used_at = self.world.time
        if machine.version == machine.cloud.version:
            self.idle.append(machine)

    def _ended(self, returned: bool, answer: Any, done: Callable[[bool, Any], object]) -> None:
        self.running -= 1
        done(returned, answer)

    def _environment(self) -> Machine:
        while self.idle:
            machine = self.idle.pop()
            fresh = machine.used_at > self.world.time - ENVIRONMENT_LIFE
            if fresh and machine.version == machine.cloud.version:
                return machine
        self.world.sleep(self.world.about(COLD_START, 0.2))
        return self.make(self.name)


@dataclass
class Poller:
    """The event source mapping's work: BatchSize 1, ReportBatchItemFailures, a few at a time."""

    world: World
    queue: Sqs
    trigger: QueueTrigger
    function: Function
    concurrency: int

    def start(self) -> None:
        """Start polling."""
        for _ in range(self.concurrency):
            self.world.start(0, self._poll)

    def _poll(self) -> None:
        while True:
            self.queue.wait()
            self.world.sleep(self.world.about(0.03, 0.4))
            if not self.trigger.enabled:
                self.trigger.wait()
                continue
            taken = self.queue.take()
            if taken is None:
                continue
            ended = Answer()
            event = _event(*taken)
            self.function.call(event, lambda *result, ended=ended: ended.give(result))
            self.world.wait_for(ended, 86_400)
            returned, answer = ended.value
            if returned and not answer["batchItemFailures"]:
                self.queue.delete_message(QueueUrl=self.queue.url, ReceiptHandle=taken[0])


def _event(handle: str, message: Message) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": message.id,
                "receiptHandle": handle,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": str(message.receives),
                    "SentTimestamp": str(round(message.sent_at * 1000)),
                    "SenderId": "AROAEXAMPLE:image-drop-upload",
                    "ApproximateFirstReceiveTimestamp": str(round(message.sent_at * 1000)),
                },
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:retry",
                "awsRegion": "us-east-1",
            }
        ]
    }
