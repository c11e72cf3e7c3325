"""What the last days have cost, by day, model or folder."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import batched
from typing import TYPE_CHECKING

from image_drop.state.billing import MICRO, Day, micro
from image_drop.state.edit_record import CallState
from image_drop_cli.image_records import READ_TOGETHER, scan_records

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

MAX_DAYS = 400  # the state table forgets older ones
# US dollars for a call: of an edit of 12 s out of a large drop, as the README has it from
# benchmarks/. Storage, traffic and AWS's free tier are not counted in.
AWS_USD = 0.21 / 1000
TOP = "(no folder)"
FORGOTTEN = "(calls that records no longer hold)"


class By(StrEnum):
    """What the spend is divided by."""

    DAY = "day"
    MODEL = "model"
    PREFIX = "prefix"


@dataclass(frozen=True)
class Part:
    """The spend of one day, model or folder, in US dollars. `calls`: those that were charged.

    `unconfirmed_usd`: calls in progress or without an answer; None where the ledger does not tell,
    which has it by day only.
    """

    name: str
    usd: float
    unconfirmed_usd: float | None
    calls: int


@dataclass(frozen=True)
class Spending:
    """The spend of the days of UTC from `first` to `last`, in US dollars.

    The sums are those of the ledger, whatever the parts. `aws_usd`: estimated, see `AWS_USD`.
    `saved_usd`: what `reused` results would have cost again.
    """

    first: str
    last: str
    by: By
    parts: tuple[Part, ...]
    usd: float
    unconfirmed_usd: float
    calls: int
    aws_usd: float
    saved_usd: float = 0.0
    reused: int = 0


def spending(deployment: "Deployment", days: int = 30, by: By = By.DAY) -> Spending:
    """Return what the last days have cost, today among them.

    Days and models come from the ledger, in one request for each 100 days. Folders come from the
    calls in the images' records, for which the whole table is read.
    """
    billing, now = deployment.services.billing, deployment.services.now()
    today = datetime.fromtimestamp(now, UTC).date()
    dates = [(today - timedelta(days=ago)).isoformat() for ago in range(days - 1, -1, -1)]
    ledger = [
        day for some in batched(dates, READ_TOGETHER, strict=False) for day in billing.days(some)
    ]
    usd = round(sum(day.usd for day in ledger), 6)
    calls = sum(_calls(day) for day in ledger)
    match by:
        case By.DAY:
            parts = [_of_day(day) for day in ledger]
        case By.MODEL:
            parts = _by_model(ledger)
        case By.PREFIX:
            parts = _by_folder(deployment, frozenset(dates), usd, calls)
    return Spending(
        first=dates[0],
        last=dates[-1],
        by=by,
        parts=tuple(parts),
        usd=usd,
        unconfirmed_usd=round(sum(day.unconfirmed_usd for day in ledger), 6),
        calls=calls,
        aws_usd=round(calls * AWS_USD, 2),
        saved_usd=round(sum(day.saved_usd for day in ledger), 6),
        reused=sum(day.reused for day in ledger),
    )


def _of_day(day: Day) -> Part:
    return Part(day.date, day.usd, day.unconfirmed_usd, _calls(day))


def _calls(day: Day) -> int:
    return sum(day.calls_by_model.values())


def _by_model(ledger: Iterable[Day]) -> list[Part]:
    usd: defaultdict[str, float] = defaultdict(float)
    calls: defaultdict[str, int] = defaultdict(int)
    for day in ledger:
        for model, dollars in day.usd_by_model.items():
            usd[model] += dollars
            calls[model] += day.calls_by_model.get(model, 0)
    return _dearest_first(Part(name, round(usd[name], 6), None, calls[name]) for name in usd)


def _by_folder(
    deployment: "Deployment", dates: frozenset[str], usd: float, calls: int
) -> list[Part]:
    """Return the parts of the folders at the top of the input bucket.

    A record holds the last 50 settled calls of its image. If some are missing, they are a part of
    their own, so that the parts sum up to what the days have cost.
    """
    paid: defaultdict[str, int] = defaultdict(int)  # millionths of a dollar
    unconfirmed: defaultdict[str, int] = defaultdict(int)
    counts: defaultdict[str, int] = defaultdict(int)
    for image in scan_records(deployment):
        folder, slash, _ = image.key.partition("/")
        name = folder + slash if slash else TOP
        for call in image.record.calls:
            if call.date not in dates or call.state is CallState.FREE:
                continue
            if call.state is CallState.PAID:
                paid[name] += call.micro_usd
                counts[name] += 1
            else:
                unconfirmed[name] += call.micro_usd
    parts = _dearest_first(
        Part(name, paid[name] / MICRO, unconfirmed[name] / MICRO, counts[name])
        for name in paid.keys() | unconfirmed.keys()
    )
    forgotten = micro(usd) - sum(paid.values())
    if forgotten > 0:
        parts.append(Part(FORGOTTEN, forgotten / MICRO, None, calls - _sum(counts)))
    return parts


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.values())


def _dearest_first(parts: Iterable[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: (-part.usd, part.name))
