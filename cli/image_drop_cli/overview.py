"""The state of a stack, gathered from its queues, its table and its metrics.

That takes as many requests for a million images as for one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from image_drop.events import Place
from image_drop.instructions.schema import Mode
from image_drop.state.rates import calls_at_once, opens_at
from image_drop.state.slot_log import WINDOW
from image_drop.storage.retry_queue import Depth
from image_drop.telemetry import NAMESPACE
from image_drop.venice.known_models import DEFAULT_EDIT_MODEL
from image_drop_cli.dead_letters import DeadLetters
from image_drop_cli.wording import how_it_resumes

if TYPE_CHECKING:
    from image_drop.state.rates import Rates
    from image_drop.state.scans import Scan
    from image_drop.storage.queue_trigger import QueueTrigger
    from image_drop_cli.deployment import Deployment

MODELS = (DEFAULT_EDIT_MODEL, Mode.BACKGROUND_REMOVE.value)
MAX_LETTERS = 100  # whose reports are read
COUNTED = {"Edited": "results", "Failed": "reports"}  # metrics, by what they count
PERIOD = 300  # seconds between two data points


@dataclass(frozen=True)
class Rate:
    """The rate limit of a model. `used`: calls in the last minute; `free_in`: seconds."""

    model: str
    limit: int
    used: int
    free_in: float


@dataclass(frozen=True)
class Functions:
    """How many functions for queued edits may run at once, by the account watch's last look.

    `needed`: for the rate limit and what a call takes. `cause`: `need`, `account` (half of what the
    AWS account runs at once) or `parameter` (`MaximumConcurrency`).
    """

    allowed: int
    needed: int
    cause: str


@dataclass(frozen=True)
class Processing:
    """Whether calls are made. `reason` is an error code, `since` in seconds since 1970."""

    paused: bool
    reason: str
    detail: str
    since: float
    how_it_resumes: str = ""


@dataclass(frozen=True)
class Hour:
    """What the functions stored in the last hour, by their metrics, which are a minute late."""

    results: int
    reports: int


@dataclass(frozen=True)
class Today:
    """What the day of UTC has cost so far, in US dollars.

    `unconfirmed_usd`: calls in progress, and calls without an answer, which may have been charged.
    `limit_usd`: 0 is none; `usual_limit_usd`: of every other day. The model is the one that Venice
    charges for. `saved_usd`: what `reused` results would have cost again.
    """

    usd: float
    unconfirmed_usd: float
    limit_usd: float
    usd_by_model: Mapping[str, float]
    calls_by_model: Mapping[str, int]
    usual_limit_usd: float = 0.0
    saved_usd: float = 0.0
    reused: int = 0


@dataclass(frozen=True)
class Overview:
    """A stack at one moment. `input`, `output`: where images are dropped and results appear.

    `seconds_left`: until the queue is empty, if all of it counted against the lower limit; None
    while processing is paused. `dead_codes`: of up to a hundred dead letters. `balance` in US
    dollars and diem together; None if it was not published lately. `folders`: the scan of folders
    whose files have changed.
    """

    stack: str
    input: str
    output: str
    queue: Depth
    rates: tuple[Rate, ...]
    functions: Functions
    seconds_left: float | None
    processing: Processing
    balance: float | None
    today: Today
    dead: int
    dead_codes: dict[str, int]
    last_hour: Hour
    backfill: "Scan | None"
    folders: "Scan | None"

    @property
    def needs_you(self) -> bool:
        """Whether a person should do something."""
        return self.processing.paused or self.dead > 0


def gather(
    deployment: "Deployment", last_hour: Hour | None = None, before: Overview | None = None
) -> Overview:
    """Return the state of a stack.

    `last_hour`: a count of a moment ago, to save its requests. `before`: the state of a moment ago;
    its dead letters are not looked at again if there are as many, because a look hides them.
    """
    services = deployment.services
    queue = services.queue.depth()
    now, slots = services.now(), services.limiter.rates()
    rates = tuple(_rate(slots, model, now) for model in MODELS)
    status = services.circuit_breaker.status()
    slowest = min(rate.limit for rate in rates)
    dead = DeadLetters(deployment)
    count = dead.count()
    return Overview(
        stack=deployment.name,
        input=_shown(deployment.input_place("")),
        output=_shown(Place(services.settings.output_bucket, services.settings.output_prefix)),
        queue=queue,
        rates=rates,
        functions=_functions(calls_at_once(slots, now), services.queue_trigger),
        seconds_left=None if status.stopped else queue.total / slowest * WINDOW,
        processing=Processing(
            status.stopped,
            status.reason,
            status.detail,
            status.since,
            how_it_resumes(status) if status.stopped else "",
        ),
        balance=balance(deployment),
        today=_today(deployment),
        dead=count,
        dead_codes=_codes(dead, count, before),
        last_hour=last_hour or count_last_hour(deployment),
        backfill=services.scans.current(),
        folders=services.folder_scans.current(),
    )


def count_last_hour(deployment: "Deployment") -> Hour:
    """Add up the metrics of the last hour: one for each mode, and one for each error code."""
    cloudwatch, now = deployment.client("cloudwatch"), datetime.now(UTC)
    service = {"Name": "service", "Value": deployment.name}
    found = [
        metric
        for name in COUNTED
        for page in cloudwatch.get_paginator("list_metrics").paginate(
            Namespace=NAMESPACE, MetricName=name, Dimensions=[service]
        )
        for metric in page["Metrics"]
    ]
    if not found:
        return Hour(0, 0)
    queries = [
        {"Id": f"m{number}", "MetricStat": {"Metric": each, "Period": PERIOD, "Stat": "Sum"}}
        for number, each in enumerate(found)
    ]
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(hours=1), EndTime=now
    )
    counts = Counter(results=0, reports=0)
    for result in answer["MetricDataResults"]:
        metric = found[int(result["Id"][1:])]
        counts[COUNTED[metric["MetricName"]]] += round(sum(result["Values"]))
    return Hour(**counts)


def balance(deployment: "Deployment") -> float | None:
    """Return what the account watch last published, if that was within half an hour."""
    now = datetime.now(UTC)
    points = deployment.client("cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="Balance",
        Dimensions=[{"Name": "service", "Value": deployment.name}],
        StartTime=now - timedelta(minutes=30),
        EndTime=now,
        Period=300,  # seconds, as often as the account watch looks
        Statistics=["Minimum"],
    )["Datapoints"]
    latest = max(points, key=lambda point: point["Timestamp"], default=None)
    return float(latest["Minimum"]) if latest else None


def _shown(place: Place) -> str:
    return f"s3://{place.bucket}/{place.key}"


def _rate(rates: "Rates", model: str, now: float) -> Rate:
    log = rates.log(model)
    used = sum(now - WINDOW < time <= now for time in log.times)
    return Rate(model, log.limit, used, max(0.0, opens_at(rates, model, now) - now))


def _functions(needed: int, trigger: "QueueTrigger") -> Functions:
    found = trigger.concurrency(needed)
    return Functions(found.allowed, found.needed, found.cause)


def _today(deployment: "Deployment") -> Today:
    billing = deployment.services.billing
    now = deployment.services.now()
    day, limit = billing.day(now), billing.limit_on(now)
    return Today(
        day.usd,
        day.unconfirmed_usd,
        limit,
        day.usd_by_model,
        day.calls_by_model,
        billing.limit_usd,
        day.saved_usd,
        day.reused,
    )


def _codes(dead: DeadLetters, count: int, before: Overview | None) -> dict[str, int]:
    if not count:
        return {}
    if before and before.dead == count:
        return before.dead_codes
    with dead.held(MAX_LETTERS) as letters:
        reports = [dead.report_on(letter) for letter in letters]
    return dict(Counter(report.code if report else "unknown" for report in reports))
