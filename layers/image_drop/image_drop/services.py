"""Everything that a function works with, made once and passed in."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Self
from uuid import uuid4

import botocore
from botocore.config import Config
from botocore.session import get_session

from image_drop.errors import SettingsError
from image_drop.settings import Settings
from image_drop.state.billing import Billing
from image_drop.state.catalogue_store import CatalogueStore
from image_drop.state.circuit_breaker import CircuitBreaker
from image_drop.state.failures import Failures
from image_drop.state.orders import OrderStore
from image_drop.state.rate_limit import RateLimiter
from image_drop.state.records import Records
from image_drop.state.scans import FOLDERS_ITEM, ScanStore
from image_drop.storage.event_bus import EventBus
from image_drop.storage.input_bucket import InputBucket
from image_drop.storage.output_bucket import OutputBucket
from image_drop.storage.queue_trigger import QueueTrigger
from image_drop.storage.retry_queue import RetryQueue
from image_drop.venice.api_key import ApiKey
from image_drop.venice.client import Venice

# After a paid call the result has to be stored, so AWS requests get more tries than by default.
# A quarter of a request's CPU would go into a user agent that botocore puts together twice for each
# request, and into checking parameters, whose types mypy knows. TLS already proves every byte of an
# answer; computing S3's checksum of a photo again takes 2 ms for 5 MB.
CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 8},
    connect_timeout=5,
    read_timeout=30,
    user_agent="image-drop",
    parameter_validation=False,
    response_checksum_validation="when_required",
)


@dataclass(frozen=True)
class Services:
    """Buckets, queue, the parts of the table and Venice. `now`: the clock, seconds since 1970."""

    settings: Settings
    input_bucket: InputBucket
    output_bucket: OutputBucket
    queue: RetryQueue
    limiter: RateLimiter
    records: Records
    billing: Billing
    failures: Failures
    circuit_breaker: CircuitBreaker
    orders: OrderStore
    scans: ScanStore
    folder_scans: ScanStore
    queue_trigger: QueueTrigger
    catalogue: CatalogueStore
    api_key: ApiKey
    venice: Venice
    bus: EventBus
    now: Callable[[], float]
    rng: random.Random
    new_id: Callable[[], str]

    @classmethod
    def from_env(
        cls,
        env: Mapping[str, str],
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        new_id: Callable[[], str] = lambda: uuid4().hex,
        client: Callable[[str], Any] | None = None,
    ) -> Self:
        """Return the services that the environment names. `client` makes a boto3 client by name.

        Clients that some invocations do not need are made at their first use: an upload that is
        edited needs no queue, one that is queued needs neither the key nor the bus.
        Raise `SettingsError`.
        """
        settings = Settings.from_env(env)
        client = client or _clients()
        rng = rng or random.Random()  # noqa: S311  # spreads retries; no secret depends on it
        dynamodb, table = client("dynamodb"), settings.state_table
        records = Records(dynamodb, table, now, sleep, rng)
        api_key = ApiKey(_lazy(client, "ssm"), settings.venice_api_key_parameter, now)
        s3 = client("s3")
        require_conditional_writes(s3)
        return cls(
            settings=settings,
            input_bucket=InputBucket(s3, settings.untrusted_prefixes, settings.input_prefix),
            output_bucket=OutputBucket(s3, settings.output_bucket, settings.output_prefix),
            queue=RetryQueue(
                _lazy(client, "sqs"), settings.retry_queue_url, settings.dead_letter_queue_url
            ),
            limiter=RateLimiter(dynamodb, table, now, sleep, rng, new_id),
            records=records,
            billing=Billing(dynamodb, table, records, settings.daily_spend_limit_usd),
            failures=Failures(dynamodb, table),
            circuit_breaker=CircuitBreaker(dynamodb, table, new_id),
            orders=OrderStore(dynamodb, table),
            scans=ScanStore(dynamodb, table),
            folder_scans=ScanStore(dynamodb, table, FOLDERS_ITEM),
            queue_trigger=QueueTrigger(
                _lazy(client, "lambda"),
                settings.retry_event_source_mapping,
                settings.maximum_concurrency,
            ),
            catalogue=CatalogueStore(dynamodb, table, now),
            api_key=api_key,
            venice=Venice(settings.venice_base_url, api_key, now),
            bus=EventBus(_lazy(client, "events")),
            now=now,
            rng=rng,
            new_id=new_id,
        )


def require_conditional_writes(s3: Any) -> None:
    """Raise `SettingsError` if a boto3 client of S3 does not support conditional writes.

    With such a client a paid result could not be stored, and would be paid again. PutObject has
    both conditions since botocore 1.35.69. The check takes 0.3 ms.
    """
    known = s3.meta.service_model.operation_model("PutObject").input_shape.members
    if missing := [name for name in ("IfMatch", "IfNoneMatch") if name not in known]:
        raise SettingsError(
            f"botocore {botocore.__version__} does not support {' and '.join(missing)} of S3's "
            "PutObject. Deploy the runtime layer of template.yaml, which has a newer version."
        )


class _LazyClient:
    """A boto3 client that is made at its first use, because that takes 5 to 25 ms of CPU."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._client = cache(make)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client(), name)


def _lazy(client: Callable[[str], Any], service: str) -> Any:
    return _LazyClient(partial(client, service))


def _clients() -> Callable[[str], Any]:
    """Return what makes a client of a service, without boto3's additions, which take 20 ms."""
    session = get_session()
    return lambda service: session.create_client(service, config=CONFIG)
