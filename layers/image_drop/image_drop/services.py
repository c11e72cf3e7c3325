"""What a function works with, made once and passed in."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config

from image_drop.api_key import ApiKey
from image_drop.backfill import Passes
from image_drop.catalogue_store import CatalogueStore
from image_drop.events import EventBus
from image_drop.ledger import Ledger
from image_drop.line import Line
from image_drop.lock import EditLock
from image_drop.originals import Originals
from image_drop.rate_limit import RateLimiter
from image_drop.results import Results
from image_drop.retry_queue import RetryQueue
from image_drop.settings import Settings
from image_drop.spend import Spend
from image_drop.venice import Venice

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# After a paid call the result has to be stored: AWS's own errors get more tries than by default.
CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 8}, connect_timeout=5, read_timeout=30
)


@dataclass(frozen=True)
class Invocation:
    """The Lambda invocation that a try happens in.

    `patience`: seconds to wait for a slot. `attempt` counts from 1 over all invocations.
    `trial`: this is the one edit that tries a stopped line.
    """

    context: "LambdaContext"
    patience: float
    attempt: int = 1
    trial: bool = False


@dataclass(frozen=True)
class Services:
    """Buckets, queue, the parts of the table, Venice; the clock in seconds since 1970; chance."""

    settings: Settings
    originals: Originals
    results: Results
    queue: RetryQueue
    limiter: RateLimiter
    ledger: Ledger
    line: Line
    lock: EditLock
    passes: Passes
    catalogue: CatalogueStore
    spend: Spend
    api_key: ApiKey
    venice: Venice
    bus: EventBus
    now: Callable[[], float]
    chance: random.Random

    @classmethod
    def from_env(
        cls,
        env: Mapping[str, str],
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        chance: random.Random | None = None,
        client: Callable[[str], Any] | None = None,
    ) -> Self:
        """Everything that the environment names. `client` makes a boto3 client by its name.

        Those that some invocations do without are made when they are first used: an upload that
        is edited needs no queue, one that is queued neither the key nor the bus.
        Raises `SettingsError`.
        """
        settings = Settings.from_env(env)
        client = client or _client
        chance = chance or random.Random()  # noqa: S311  # spreads retries; no secret depends on it
        dynamodb, table = client("dynamodb"), settings.state_table
        api_key = ApiKey.of(_later(client, "ssm"), settings.venice_api_key_parameter)
        s3 = client("s3")
        return cls(
            settings=settings,
            originals=Originals(s3),
            results=Results(s3, settings.output_bucket),
            queue=RetryQueue(_later(client, "sqs"), settings.retry_queue_url),
            limiter=RateLimiter(dynamodb, table, now, sleep, chance),
            ledger=Ledger(dynamodb, table),
            line=Line(dynamodb, table),
            lock=EditLock(dynamodb, table, now),
            passes=Passes(dynamodb, table),
            catalogue=CatalogueStore(dynamodb, table, now),
            spend=Spend(dynamodb, table, settings.daily_spend_limit_usd),
            api_key=api_key,
            venice=Venice(settings.venice_base_url, api_key, now),
            bus=EventBus(_later(client, "events")),
            now=now,
            chance=chance,
        )


class _Later:
    """A boto3 client that is made at its first use: making one takes 5 to 25 ms of CPU."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._client = cache(make)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client(), name)


def _later(client: Callable[[str], Any], service: str) -> Any:
    return _Later(partial(client, service))


def _client(service: str) -> Any:
    return boto3.client(service, config=CONFIG)  # type: ignore[call-overload]
