"""Image Drop, and what people deploy today, in virtual AWS: one drop of photos, timed and billed.

From the handlers' one call downwards everything is the project's: pipeline, limiter, back-off,
circuit breaker, records, billing, account watch, Venice client. What is replaced: boto3's clients
and the HTTP exchange.
"""

import io
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, override

import msgspec
from botocore.exceptions import ClientError
from PIL import Image

from benchmarks.virtual_lambda import Concurrency, Function, Pollers
from benchmarks.virtual_venice import Session, Venice
from functions.account_watch.app import MAX_SLOT_WAIT as WATCH_MAX_SLOT_WAIT
from functions.retry.app import MAX_SLOT_WAIT as RETRY_MAX_SLOT_WAIT
from functions.upload.app import MAX_SLOT_WAIT as UPLOAD_MAX_SLOT_WAIT
from image_drop import account, pipeline, retry
from image_drop.errors import AccountError, RetryableError
from image_drop.events import AccountRestored, AccountUnavailable, LimitChanged
from image_drop.invocation import Invocation
from image_drop.quota import Quota
from image_drop.services import Services
from image_drop.state.rate_limit import RateLimiter, Slot
from image_drop.state.slot_log import SlotLog
from image_drop.telemetry import logger
from image_drop.uploads import Upload
from image_drop_local.simulator.settings import Settings as VeniceSettings
from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.others import EventBus, Parameters, QueueTrigger
from tests.simulation.aws.s3 import S3
from tests.simulation.aws.sqs import RETENTION, Message, Sqs
from tests.simulation.metered import SPREAD, Meter, Metered, MeteredTable
from tests.simulation.world import World

INPUT, OUTPUT, QUEUE, DEAD = "input", "output", "queue", "dead"
ENVIRONMENT = {
    "INPUT_BUCKET": INPUT,
    "OUTPUT_BUCKET": OUTPUT,
    "RETRY_QUEUE_URL": QUEUE,
    "DEAD_LETTER_QUEUE_URL": DEAD,
    "STATE_TABLE": "table",
    "VENICE_API_KEY_PARAMETER": "parameter",
    "DAILY_SPEND_LIMIT_USD": "0",
}
DROP = 1_800_000_017.0  # the time of the drop: 17 s into a minute of Venice's
BEFORE = 120.0  # seconds from the start of the run to the drop
S3_EVENT = 0.8  # median seconds from the upload to the invocation; "typically seconds"
DUPLICATES = 0.001  # of S3's events, and of SQS's deliveries
SKEW = 0.5  # seconds by which an environment's clock may be wrong, either way
WATCH_EVERY = 300.0  # template.yaml: rate(5 minutes)
WATCH_GIGABYTES = 0.25
VISIBILITY_TIMEOUT = 1800.0
MAX_RECEIVES = 100  # template.yaml: maxReceiveCount
NO_CAP = 900  # below the account's 1,000, which the upload function shares


@dataclass(frozen=True)
class Policy:
    """How a queue is drained.

    `limited`: by the project's limiter; else each try calls at once. `bucket`: calls a minute of a
    token bucket that each environment has for itself. `fixed_delay`: seconds between tries; None
    is the project's own back-off with Venice's `Retry-After`.
    `straight_to_queue`: S3 notifies the queue, not the upload function.
    """

    name: str
    maximum_concurrency: int = NO_CAP
    limited: bool = False
    bucket: float | None = None
    fixed_delay: float | None = None
    straight_to_queue: bool = False
    max_receive_count: int = 12


IMAGE_DROP = Policy("Image Drop", 1000, limited=True)  # template.yaml's upper end
OTHERS = (
    Policy("queue on 429, fixed delay of 60 s", fixed_delay=60.0),
    Policy("queue until Retry-After, with jitter; 5 receives", max_receive_count=5),
    Policy("queue until Retry-After, with jitter"),
    Policy("queue on 429, a token bucket in each function", bucket=20.0),
    Policy("5 at a time; 5 receives", 5, straight_to_queue=True, max_receive_count=5),
    Policy("5 at a time", 5, straight_to_queue=True),
    Policy("2 at a time", 2, straight_to_queue=True),
)


@dataclass
class Deployment:
    """One stack, one drop. `drop`, then `run`, then look at its parts.

    `shared`: another stack in the same world, whose account at Venice it uses too.
    """

    policy: Policy
    venice_settings: VeniceSettings
    seed: int = 1
    edit_seconds: float = 12.0
    outage: tuple[float, float] = (0.0, 0.0)  # seconds after the drop
    outage_shows: bool = True
    duplicates: float = DUPLICATES
    unavailable: float = 0.001
    shared: "Deployment | None" = None
    done: dict[str, float] = field(default_factory=dict)  # key → when its result was stored
    stopped: list[float] = field(default_factory=list)  # when processing was
    resumed: list[float] = field(default_factory=list)
    most_receives: int = 0

    def __post_init__(self) -> None:
        self.world: World = self.shared.world if self.shared else World(DROP - BEFORE, self.seed)
        self.meter = Meter()
        self.venice: Venice = self.shared.venice if self.shared else self._venice()
        self.s3 = S3(self.world.now, self._stored)
        self.queue = Sqs(
            self.world,
            QUEUE,
            DEAD,
            MAX_RECEIVES if self.policy.limited else self.policy.max_receive_count,
            VISIBILITY_TIMEOUT,
            self.duplicates,
        )
        self.concurrency = Concurrency(self.world)
        trigger = QueueTrigger(self.world, maximum_concurrency=self.policy.maximum_concurrency)
        self.pollers = Pollers(
            self.world,
            self.meter,
            self.queue,
            trigger,
            self.concurrency,
            self._retry,
        )
        self.table = MeteredTable(
            self.world, self.meter, DynamoDB(self.world.now, random.Random(self.seed))
        )
        states = {
            "s3": self.s3,
            "sqs": self.queue,
            "events": EventBus(self._announced),
            "ssm": Parameters("key"),
            # The account watch lets the concurrency follow the rate for Image Drop alone.
            "lambda": trigger if self.policy.limited else QueueTrigger(self.world),
        }
        self.clients: dict[str, Any] = {
            name: Metered(self.world, self.meter, state) for name, state in states.items()
        } | {"dynamodb": self.table}
        self._upload_function = Function(self.world, self.meter, self._services)
        self._retry_function = Function(self.world, self.meter, self._services)
        self._watch_function = Function(self.world, self.meter, self._services, WATCH_GIGABYTES)
        self._coming = 0

    def _venice(self) -> Venice:
        return Venice(
            self.world,
            self.venice_settings,
            _png(1),
            self.edit_seconds,
            self.unavailable,
            (DROP + self.outage[0], DROP + self.outage[1]),
            self.outage_shows,
        )

    def settle(self) -> None:
        """Let the account watch make a round, as in every stack that is a few minutes old."""
        self.world.start(0, self._watch_regularly)
        with counted_output(self.meter):
            self.world.sleep(DROP - self.world.time)

    def drop(self, number: int) -> None:
        """Upload so many photos at the same moment."""
        photo = _png(256)
        for index in range(number):
            key = f"photo-{index:06}.png"
            self.meter["S3 PUT"] += 1
            self.s3.put(INPUT, key, photo, metadata={"mode": "edit", "prompt": key})
            self._notify(key)
            if self.world.rng.random() < self.duplicates:
                self._notify(key)

    def run(self) -> None:
        """Run until nothing is left to do: every message is deleted or a dead letter."""
        self.pollers.start()
        with counted_output(self.meter):
            self.world.run(lambda: self.is_over)
        self.world.stop()

    # Events

    def _notify(self, key: str) -> None:
        self._coming += 1
        after = self.world.about(S3_EVENT, SPREAD)
        self.world.call(after, partial(self._arrive, Upload(INPUT, key)))

    def _arrive(self, upload: Upload) -> None:
        self._coming -= 1
        if self.policy.straight_to_queue:
            self.meter["SQS request"] += 1
            self.queue.send(msgspec.json.encode(upload).decode())
        else:
            self.concurrency.submit(partial(self._upload, upload))

    def _stored(self, _name: str, bucket: str, key: str) -> None:
        if bucket == OUTPUT and key.endswith(".png.png"):
            self.done.setdefault(key.removesuffix(".png"), self.world.time)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        settled = not self._coming and self.concurrency.is_idle and not self.queue.messages
        return settled or self.world.time >= DROP + RETENTION

    def _announced(self, name: str, _: str) -> None:
        """Start the account watch, as a rule of the event bus does."""
        if name == AccountUnavailable.name:
            self.stopped.append(self.world.time)
        if name in (AccountUnavailable.name, LimitChanged.name):
            self.world.start(0.5, self._watch)
        elif name == AccountRestored.name:
            self.resumed.append(self.world.time)

    # The functions: what their handlers do

    def _upload(self, upload: Upload) -> None:
        self._upload_function.invoke(partial(self._handle_upload, upload))

    def _handle_upload(self, upload: Upload, services: Services, context: Any) -> None:
        invocation = Invocation(context, UPLOAD_MAX_SLOT_WAIT)
        if self.policy.fixed_delay is None:
            retry.edit_or_queue(upload, services, invocation)
            return
        try:
            pipeline.process(upload, services, invocation)
        except (RetryableError, AccountError):
            services.queue.send(upload, self.policy.fixed_delay)

    def _retry(self, handle: str, message: Message) -> bool:
        self.most_receives = max(self.most_receives, message.receives)
        return self._retry_function.invoke(partial(self._handle_retry, handle, message))

    def _handle_retry(
        self, handle: str, message: Message, services: Services, context: Any
    ) -> bool:
        invocation = Invocation(context, RETRY_MAX_SLOT_WAIT, message.id, message.receives)
        try:
            if self.policy.fixed_delay is None:
                retry.edit_or_postpone(message.body, handle, services, invocation)
            else:
                self._edit_or_wait(message.body, handle, services, invocation)
        except (RetryableError, AccountError, ClientError):  # SQS hides no message that is visible
            return False
        return True

    def _edit_or_wait(
        self, body: str, handle: str, services: Services, invocation: Invocation
    ) -> None:
        assert self.policy.fixed_delay is not None
        try:
            pipeline.process(msgspec.json.decode(body, type=Upload), services, invocation)
        except (RetryableError, AccountError):
            services.queue.postpone(handle, self.policy.fixed_delay)
            raise

    def _watch_regularly(self) -> None:
        self.world.sleep(BEFORE / 2 * self.world.rng.random())
        while True:
            self.world.start(0, self._watch)
            self.world.sleep(WATCH_EVERY)

    def _watch(self) -> None:
        """One asynchronous invocation, without retries."""
        with suppress(ClientError):
            self.concurrency.run(partial(self._watch_function.invoke, self._handle_watch))

    def _handle_watch(self, services: Services, context: Any) -> None:
        account.watch(services, Invocation(context, WATCH_MAX_SLOT_WAIT))

    def _services(self) -> Services:
        """Return what a cold start makes. Each environment has a clock of its own."""
        skew = self.world.rng.uniform(-SKEW, SKEW)
        rng = random.Random(self.world.rng.random())

        def now() -> float:
            return self.world.time + skew

        services = Services.from_env(
            ENVIRONMENT | {"MAX_FAILURES": str(self.policy.max_receive_count)},
            now=now,
            sleep=self.world.sleep,
            rng=rng,
            new_id=lambda: f"{rng.getrandbits(128):032x}",
            client=self.clients.__getitem__,
        )
        return replace(
            services,
            limiter=services.limiter if self.policy.limited else self._no_limiter(),
            venice=replace(services.venice, exchange=Session(self.venice).exchange),
        )

    def _no_limiter(self) -> "NoLimiter":
        table, now, sleep = self.clients["dynamodb"], self.world.now, self.world.sleep
        if self.policy.bucket is None:
            return NoLimiter(table, "table", now, sleep)
        return TokenBucket(table, "table", now, sleep, calls_a_minute=self.policy.bucket)


class NoLimiter(RateLimiter):
    """What people deploy today: a try calls at once, and learns nothing for the others."""

    @override
    @contextmanager
    def acquire(self, model: str, max_slot_wait: float, seen: object = None) -> Iterator[Slot]:
        yield Slot("", SlotLog({"": self.now()}))

    @override
    def block(self, model: str, until: float) -> None: ...

    @override
    def refuse(self, model: str, quota: Quota, slot: Slot, until: float) -> None: ...

    @override
    def learn(self, model: str, quota: Quota, slot: Slot, seconds: float) -> None: ...

    @override
    def set_limits(self, limits: Mapping[str, int]) -> None: ...

    @override
    def record_failure(self) -> None: ...


@dataclass(frozen=True)
class TokenBucket(NoLimiter):
    """A bucket in each environment: it holds the account's limit back, but only its own calls."""

    calls_a_minute: float = 20.0
    next_at: list[float] = field(default_factory=lambda: [0.0])  # when the next token is there

    @override
    @contextmanager
    def acquire(self, model: str, max_slot_wait: float, seen: object = None) -> Iterator[Slot]:
        at = max(self.next_at[0], self.now() - 60.0)
        self.next_at[0] = at + 60.0 / self.calls_a_minute
        self.sleep(at - self.now())
        yield Slot("", SlotLog({"": self.now()}))


class _Counted(io.TextIOBase):
    """Standard output of the functions: counted, not kept."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def write(self, text: str) -> int:
        self._meter["log byte"] += len(text)
        return len(text)


@contextmanager
def counted_output(meter: Meter) -> Iterator[None]:
    """Count the bytes that the functions log, and show none of them."""
    counted = _Counted(meter)
    (handler,) = logger.handlers
    assert isinstance(handler, logging.StreamHandler)
    former = handler.setStream(counted)
    with redirect_stdout(counted):
        yield
    handler.setStream(former)


def _png(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()
