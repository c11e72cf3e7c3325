"""What was paid for: dollars and calls by day of UTC and model, counted in the state table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from image_drop.errors import SpendLimitError
from image_drop.line import LOOK_AGAIN

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_FOR = 400 * 86_400  # seconds: a year, and some to compare


@dataclass(frozen=True)
class Day:
    """What one day of UTC came to, in US dollars.

    `possibly_usd`: calls that stayed without an answer and may have been charged. `unpriced`: paid
    calls whose model's price is not known; they are in no sum.
    """

    date: str
    usd: float = 0.0
    possibly_usd: float = 0.0
    unpriced: int = 0
    usd_by_model: Mapping[str, float] = field(default_factory=dict)
    calls_by_model: Mapping[str, int] = field(default_factory=dict)

    @property
    def at_most_usd(self) -> float:
        """What it cost if all that was possibly charged was charged."""
        return round(self.usd + self.possibly_usd, 6)


@dataclass(frozen=True)
class Spend:
    """The days, one item each, for `KEPT_FOR`. `limit_usd` a day; 0 is none."""

    dynamodb: "DynamoDBClient"
    table: str
    limit_usd: float = 0.0

    def day(self, now: float) -> Day:
        """The day that `now`, in seconds since 1970, lies in."""
        item = self.dynamodb.get_item(
            TableName=self.table, Key={"id": {"S": _id(now)}}, ConsistentRead=True
        ).get("Item", {})
        return _day(now, item)

    def add(self, model: str, usd: float | None, now: float) -> Day:
        """Count a paid call; None is an unknown price. What the day comes to with it."""
        added = {f"calls#{model}": "1"}
        if usd is None:
            added["unpriced"] = "1"
        else:
            added |= {"usd": f"{usd:.6f}", f"usd#{model}": f"{usd:.6f}"}
        return self._add(added, now)

    def add_possibly(self, usd: float, now: float) -> Day:
        """Count a call that may have been charged."""
        return self._add({"possibly_usd": f"{usd:.6f}"}, now)

    def check(self, day: Day, now: float) -> None:
        """Nothing, while the day's limit is not reached. Raises `SpendLimitError`.

        Calls in flight are not counted yet, so a day may cost as much more as they do.
        """
        if self.limit_usd and day.at_most_usd >= self.limit_usd:
            raise SpendLimitError(
                f"${day.at_most_usd:,.2f} are spent on {day.date}, and the limit of a day is "
                f"${self.limit_usd:,.2f}. Calls go on at {_midnight(now):%Y-%m-%d %H:%M} UTC.",
                retry_at=now + LOOK_AGAIN,
            )

    def _add(self, added: Mapping[str, str], now: float) -> Day:
        names = {f"#a{number}": name for number, name in enumerate(added)}
        values = {f":a{number}": {"N": text} for number, text in enumerate(added.values())}
        sums = ", ".join(f"#a{number} :a{number}" for number in range(len(added)))
        answer = self.dynamodb.update_item(
            TableName=self.table,
            Key={"id": {"S": _id(now)}},
            UpdateExpression=f"ADD {sums} SET expiration = :expiration",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values | {":expiration": {"N": f"{now + KEPT_FOR:.0f}"}},
            ReturnValues="ALL_NEW",
        )
        return _day(now, answer["Attributes"])


def _day(now: float, item: Mapping[str, Any]) -> Day:
    numbers = {name: float(value["N"]) for name, value in item.items() if "N" in value}
    return Day(
        date=_date(now),
        usd=numbers.get("usd", 0.0),
        possibly_usd=numbers.get("possibly_usd", 0.0),
        unpriced=int(numbers.get("unpriced", 0)),
        usd_by_model=_by_model(numbers, "usd#"),
        calls_by_model={name: int(count) for name, count in _by_model(numbers, "calls#").items()},
    )


def _by_model(numbers: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): number
        for name, number in sorted(numbers.items())
        if name.startswith(prefix)
    }


def _id(now: float) -> str:
    return f"spend#{_date(now)}"


def _date(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _midnight(now: float) -> datetime:
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=1)
