"""An execution environment of a Lambda function, and the way from it to AWS.

Everything between the project's code and a service happens here: time, faults, the SDK's own
repetition of a request, and the death of the process.
"""

import json
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import ClientError, ReadTimeoutError

from image_drop import uploads
from image_drop.services import Services
from tests.simulation.aws.errors import client_error
from tests.simulation.faults import Fault
from tests.simulation.words import PRIVATE
from tests.simulation.world import Answer

if TYPE_CHECKING:
    from tests.simulation.deployment import Cloud

# Median seconds of a request, as commonly seen inside a region; log-normal with sigma 0.4.
LATENCY = {"s3": 0.03, "dynamodb": 0.005, "sqs": 0.01, "events": 0.015, "ssm": 0.01, "lambda": 0.03}
SPREAD = 0.4
SKEW = 0.5  # seconds by which an environment's clock may be wrong, either way
JUMP = 3.0
OUT_OF_TIME = "its time was up"
TIMEOUT = 60.0  # seconds until the SDK gives up after its own repetitions
THROTTLING = {"s3": "SlowDown", "dynamodb": "ProvisionedThroughputExceededException"}


@dataclass(eq=False)
class Machine:
    """One environment. Its clock is wrong by `skew`, its memory lives from event to event.

    `keys`: of the images that it works on; `struck`: how many faults it has met. Both are of the
    event in hand.
    """

    cloud: "Cloud"
    function: str
    number: int
    version: int
    deadline: float = 0.0
    died: Answer = field(default_factory=Answer)
    used_at: float = 0.0
    keys: frozenset[str] = frozenset()
    struck: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.cloud.seed} machine {self.number}")
        self.skew = self.rng.uniform(-SKEW, SKEW)
        self.app = self.cloud.apps[self.function](self)

    @property
    def name(self) -> str:
        return f"{self.function}-{self.number}"

    def services(self) -> Services:
        """Return what a cold start makes, with this machine's clock and clients."""
        services = Services.from_env(
            self.cloud.environment,
            now=self.now,
            sleep=self.sleep,
            rng=self.rng,
            new_id=lambda: f"{self.rng.getrandbits(64):016x}",
            client=lambda service: Client(self, service, self.cloud.service(service)),
        )
        return self.cloud.connected(services, self)

    def begin(self, event: Mapping[str, Any], seconds: float) -> None:
        """Take an event in hand, for so many seconds at most."""
        self.deadline = self.cloud.world.time + seconds
        self.keys, self.struck = frozenset(), 0
        for record in event.get("Records", ()):
            self.work_on(record.get("body") or json.dumps(event))

    def work_on(self, message: str) -> None:
        """Note which images a message is about."""
        found = uploads.from_message(message, self.cloud.input_folder)
        self.keys = frozenset(upload.key for upload in found)

    def now(self) -> float:
        return self.cloud.world.time + self.skew

    def sleep(self, seconds: float) -> None:
        """Wait; the process dies when its invocation's time is up."""
        left = self.deadline - self.cloud.world.time
        if seconds >= left:
            self.cloud.world.sleep(left)
            self.die(OUT_OF_TIME)
        self.cloud.world.sleep(seconds)

    def wait_for(self, answer: Answer, seconds: float) -> bool:
        """Wait for an answer, as `World.wait_for` does."""
        left = self.deadline - self.cloud.world.time
        came = self.cloud.world.wait_for(answer, min(seconds, left))
        if not came and left <= seconds:
            self.die(OUT_OF_TIME)
        return came

    def die(self, why: str) -> NoReturn:
        """End the process where it is."""
        self.cloud.died(self, why)
        self.cloud.world.call(0, partial(self.died.give, why))
        self.cloud.world.die()

    def jump(self) -> None:
        """Set the clock, forward or back."""
        self.skew += self.rng.uniform(-JUMP, JUMP)

    def request(self, service: str, operation: str, act: Callable[[], Any]) -> Any:
        """Make a request to AWS: on its way there, at its end, and on its way back."""
        world = self.cloud.world
        fault = self.cloud.strike(f"{service}.{operation}", self)
        way = world.about(LATENCY[service], SPREAD) / 2
        self.sleep(way)
        match fault:
            case Fault.KILLED_BEFORE:
                self.die(f"before {operation}")
            case Fault.KILLED_AFTER:
                with suppress(ClientError):
                    act()
                self.die(f"after {operation}")
            case Fault.REFUSED:
                raise client_error("InternalError", 500, operation)
            case Fault.THROTTLED:
                code = THROTTLING.get(service, "ThrottlingException")
                raise client_error(code, 503 if service == "s3" else 400, operation)
            case Fault.TIMED_OUT:
                self.sleep(TIMEOUT)
                raise ReadTimeoutError(endpoint_url=f"https://{service}")
            case Fault.LOST:
                with suppress(ClientError):
                    act()
                self.sleep(TIMEOUT)
                raise ReadTimeoutError(endpoint_url=f"https://{service}")
            case Fault.REPEATED:
                with suppress(ClientError):
                    act()
                self.sleep(world.rng.uniform(1, 30))
            case Fault.CLOCK_JUMP:
                self.jump()
            case Fault.REDEPLOYED:
                self.cloud.redeploy()
        try:
            return act()
        finally:
            self.sleep(way)


class Client:
    """A boto3 client, as far as the project uses it."""

    def __init__(self, machine: Machine, service: str, state: Any) -> None:
        self._machine, self._service, self._state = machine, service, state

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._state, name)
        if name in ("meta", "exceptions"):
            return found
        return partial(self._request, name, found)

    def _request(self, operation: str, method: Callable[..., Any], **parameters: Any) -> Any:
        if operation == "transact_write_items":  # as boto3 does, once for all repetitions
            parameters.setdefault("ClientRequestToken", f"{self._machine.rng.getrandbits(64):016x}")
        private = parameters.get("Key") == self._machine.cloud.input_folder + PRIVATE
        if private and all("/" in key for key in self._machine.keys):
            self._machine.cloud.journal.broken.append(f"{operation} of {PRIVATE} for a folder")
        act = partial(method, **parameters)
        answer = self._machine.request(self._service, operation, act)
        if operation == "receive_message":
            for message in answer.get("Messages", ()):
                self._machine.work_on(message["Body"])
        return answer
