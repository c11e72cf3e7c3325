"""Image Drop deployed into virtual AWS, as template.yaml says, with Venice at the other end."""

import json
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from image_drop.services import Services
from image_drop.state.billing import MICRO, date_of
from image_drop.state.circuit_breaker import CircuitBreaker, Status
from image_drop_local.simulator.settings import Settings
from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.folders import Folders
from tests.simulation.aws.others import EventBus, Parameters, QueueTrigger
from tests.simulation.aws.s3 import S3
from tests.simulation.aws.sqs import Sqs
from tests.simulation.faults import Fault, Faults
from tests.simulation.journal import ROUND, Journal
from tests.simulation.lambda_ import Function, Poller, app
from tests.simulation.machine import OUT_OF_TIME, Machine
from tests.simulation.venice import EDIT, Venice
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_800_000_000.0
INPUT, OUTPUT, QUEUE, DEAD = "input", "output", "https://queue", "https://dead"
BUSY = 0.4  # of the requests that a busy S3 refuses
DUPLICATES = 0.05  # of S3's events and SQS's deliveries: far more than in reality


@dataclass(frozen=True)
class Announcement:
    """An event on the bus."""

    at: float
    name: str
    detail: Any


class Cloud:
    """One account with the stack in it. `timeline`: what happened, in plain words."""

    def __init__(
        self, seed: object, faults: Faults, settings: Settings, plan: Any, **environment: str
    ) -> None:
        self.seed, self.faults, self.version = seed, faults, 1
        self.world = World(START, seed)
        self.rng = random.Random(f"{seed} cloud")
        self.timeline: list[str] = []
        self.announcements: list[Announcement] = []
        self.journal = Journal()
        self.environment = {
            "INPUT_BUCKET": INPUT,
            "OUTPUT_BUCKET": OUTPUT,
            "RETRY_QUEUE_URL": QUEUE,
            "DEAD_LETTER_QUEUE_URL": DEAD,
            "STATE_TABLE": "state",
            "VENICE_API_KEY_PARAMETER": "/key",
            "VENICE_BASE_URL": "http://localhost/api/v1",
            "RETRY_EVENT_SOURCE_MAPPING": "uuid",
            "MAX_FAILURES": "4",
        } | environment
        self.journal.limit_is(START, float(environment.get("DAILY_SPEND_LIMIT_USD", "50")))
        self.s3 = S3(self.world.now, self._changed)
        prefixes = {INPUT: "INPUT_PREFIX", OUTPUT: "OUTPUT_PREFIX"}
        folders = {bucket: environment.get(name, "") for bucket, name in prefixes.items()}
        self.folders = Folders(self.s3, folders, self.journal.broken.append)
        self.dynamodb = DynamoDB(self.world.now, random.Random(f"{seed} dynamodb"), self._written)
        self.sqs = Sqs(self.world, QUEUE, DEAD, 100, 1800.0, DUPLICATES)
        self.bus = EventBus(self._announced, self.world.now)
        self.parameters = Parameters("key-1")
        self.trigger = QueueTrigger(self.world)
        self.venice = Venice(self.world, replace_latency(settings), plan, self.note, self.journal)
        self.machines = 0
        self.apps: dict[str, Callable[[Machine], Any]] = {
            name: partial(app, name) for name in ("upload", "retry", "account_watch", "backfill")
        }
        self.events_on_their_way = 0
        self.s3_is_busy_until, self.s3_is_busy_with = 0.0, ("s3.",)
        make = self._machine
        self.upload = Function(self.world, "upload", make, 300.0, 2, self._failed_for_good)
        self.retry = Function(self.world, "retry", make, 300.0)
        self.watch = Function(self.world, "account_watch", make, 300.0)
        self.backfill = Function(self.world, "backfill", make, 240.0)
        self.poller = Poller(self.world, self.sqs, self.trigger, self.retry, 10)
        self.poller.start()
        for function in (self.watch, self.backfill):
            self.world.call(self.rng.uniform(0, ROUND), partial(self._scheduled, function))

    # for machines

    def service(self, name: str) -> Any:
        """Return the state behind a boto3 client."""
        return {
            "s3": self.folders,
            "dynamodb": self.dynamodb,
            "sqs": self.sqs,
            "events": self.bus,
            "ssm": self.parameters,
            "lambda": self.trigger,
        }[name]

    def connected(self, services: Services, machine: Machine) -> Services:
        """Return services that call the virtual Venice."""
        exchange = partial(self.venice.exchange, machine)
        return replace(services, venice=replace(services.venice, exchange=exchange))

    def note(self, what: str) -> None:
        """Write into the timeline."""
        self.timeline.append(f"{self.world.time - START:9.1f} s  {what}")

    def strike(self, what: str, who: Machine) -> Fault | None:
        """Return the fault of a request that is about to be made, and note it."""
        struck = self.faults.next(what)
        if struck:
            number, fault = struck
            self.note(f"fault {number}: {who.name} {what}: {fault}")
        elif self._is_busy(what):
            fault = Fault.THROTTLED
        else:
            return None
        who.struck += 1
        if who.struck > 1 or what.startswith("venice"):  # one alone loses no answer at AWS
            self.journal.may_be_unknown(self.world.time, who.keys)
        self.journal.met(self.world.time, who.function, who.keys)
        # A claim whose answer is lost fails this try, and makes another one find it crashed.
        for _ in range(2 if fault is Fault.LOST else 1):
            self.journal.failed(who.keys)
        return fault

    def _is_busy(self, what: str) -> bool:
        if self.world.time >= self.s3_is_busy_until or not what.startswith(self.s3_is_busy_with):
            return False
        return self.rng.random() < BUSY

    def died(self, machine: Machine, why: str) -> None:
        """Note that a process has died, and whether that is our own doing."""
        self.note(f"{machine.name} died: {why}")
        self.journal.may_be_unknown(self.world.time, machine.keys)
        if why == OUT_OF_TIME:
            self.journal.failed(machine.keys)
            if not machine.struck:
                self.journal.broken.append(f"{machine.function} ran out of its time by itself")

    def raised(self, machine: Machine, error: Exception) -> None:
        """Note that a handler has raised an error, and whether a fault explains it."""
        self.note(f"{machine.name} raised {type(error).__name__}: {error}")
        if not machine.struck:
            what = f"{type(error).__name__}: {error}"
            self.journal.broken.append(f"{machine.function} raised {what}, and nothing explains it")

    def redeploy(self) -> None:
        """Deploy a new version: the next event of each function meets a new process."""
        self.version += 1
        self.note("a new version is deployed")

    @property
    def input_folder(self) -> str:
        """The stack's folder of the input bucket."""
        return self.folders.folders[INPUT]

    @property
    def is_settled(self) -> bool:
        """Whether nothing runs, waits, or is on its way."""
        functions = (self.upload, self.retry, self.watch, self.backfill)
        return not (
            self.sqs.messages
            or self.events_on_their_way
            or any(each.running or each.waiting for each in functions)
        )

    @property
    def is_paused(self) -> bool:
        """Whether processing is paused."""
        return self._status.stopped

    @property
    def is_announced(self) -> bool:
        """Whether the bus has the last pause or resumption."""
        return self._status.announced

    @property
    def _status(self) -> Status:
        return CircuitBreaker(self.dynamodb, "state").status()  # type: ignore[arg-type]

    def onlooker(self) -> Services:
        """Return services without faults and time, to look at what there is."""
        states = {name: self.service(name) for name in ("s3", "dynamodb", "sqs", "events", "ssm")}
        return Services.from_env(
            self.environment,
            now=self.world.now,
            sleep=lambda _: None,
            rng=random.Random(0),
            client=lambda name: states.get(name),
        )

    def change_daily_limit(self, usd: str) -> None:
        """Deploy another daily limit."""
        self.environment["DAILY_SPEND_LIMIT_USD"] = usd
        self.journal.limit_is(self.world.time, float(usd))
        self.redeploy()

    def limit_today(self, usd: float) -> None:
        """Order another limit for this day, as `image-drop limit` does."""
        services, now = self.onlooker(), self.world.now()
        services.orders.limit_today(usd, now)
        self.journal.limit_today_is(now, usd)
        if (status := services.circuit_breaker.status()).limit_usd is not None:
            services.circuit_breaker.resume(now, stop=status.id)

    # what AWS does by itself

    def _written(self, id: str) -> None:
        if id == "circuit-breaker":
            day = self.dynamodb.items.get(f"spend#{date_of(self.world.time)}", {})
            committed = int(day.get("committed", {"N": "0"})["N"]) / MICRO
            paid_at = max((call.at for call in self.venice.book), default=0.0)
            self.journal.switched(self.world.time, self._status, committed, paid_at)

    def _machine(self, function: str) -> Machine:
        self.machines += 1
        return Machine(self, function, self.machines, self.version)

    def _changed(self, name: str, bucket: str, key: str) -> None:
        if bucket != INPUT:
            return
        whole = self.folders.whole_key(bucket, key)
        event = {
            "Records": [
                {
                    "eventName": name,
                    "eventTime": datetime.fromtimestamp(self.world.time, UTC).isoformat(),
                    "s3": {"bucket": {"name": bucket}, "object": {"key": quote_plus(whole)}},
                }
            ]
        }
        for _ in range(1 + (self.rng.random() < DUPLICATES)):
            late = self.rng.random() < 0.1
            self.events_on_their_way += 1
            after = self.rng.uniform(0, 120) if late else self.world.about(0.8, 0.5)
            self.world.call(after, partial(self._delivered, event))

    def _delivered(self, event: Any) -> None:
        self.events_on_their_way -= 1
        self.upload.call_later(event)

    def _failed_for_good(self, event: Any) -> None:
        self.note("an upload event failed three times and goes to the queue")
        self.sqs.send(json.dumps({"requestContext": {}, "requestPayload": event}))

    def _scheduled(self, function: Function) -> None:
        function.call_later({})
        self.world.call(ROUND, partial(self._scheduled, function))

    def _announced(self, name: str, detail: str) -> None:
        told = json.loads(detail)
        for side in ("input", "output"):
            if place := told.get(side):
                place["key"] = self.folders.key_within("an event", place["bucket"], place["key"])
        self.announcements.append(Announcement(self.world.time, name, told))
        if name in ("Venice Account Unavailable", "Venice Limit Changed"):
            self.world.call(1.0, partial(self.watch.call_later, {}))


def replace_latency(settings: Settings) -> Settings:
    """Return the account's settings with the time that an edit takes."""
    return settings.changed({"latency": EDIT, "pictures": "fast"})
