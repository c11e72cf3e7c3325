"""Money: each call is reserved before it is made, and settled when its charge is known.

Every call has an id. `begin` writes it into the record of its image and reserves its price for the
day, in one transaction. `settle` turns the reservation into spend, or releases it, if the call is
still open. So whatever is repeated, lost or killed, spend and unconfirmed together are at least
what Venice charged, and no call counts twice.

A call that is never settled stays unconfirmed: Venice has no idempotency key, so a call that was
sent and never answered may have been charged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from image_drop.errors import EditTooDearError, OutcomeUnknownError, SpendLimitError
from image_drop.state.circuit_breaker import RECHECK_AFTER
from image_drop.state.edit_record import Call, CallState, Record
from image_drop.state.orders import Orders, OrderStore
from image_drop.state.records import Hold, Records, RefusedMoveError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_UNANSWERED = 2  # calls for the same edit that may have been charged; there is no third
SPEND_TTL = 400 * 86_400  # seconds: a year, and some more to compare years
MICRO = 1_000_000  # in a dollar, so that sums are exact


@dataclass(frozen=True)
class Day:
    """The spend of one day of UTC, in US dollars.

    `unconfirmed_usd`: calls in flight, and calls without an answer, which may have been charged.
    `limit_usd`: the limit at the last reservation; 0 is none. `announced`: see `note_announced`.
    `saved_usd`: what the calls had cost whose answers were `reused` for the same pictures.
    """

    date: str
    usd: float = 0.0
    unconfirmed_usd: float = 0.0
    usd_by_model: Mapping[str, float] = field(default_factory=dict)
    calls_by_model: Mapping[str, int] = field(default_factory=dict)
    limit_usd: float = 0.0
    announced: frozenset[str] = frozenset()
    saved_usd: float = 0.0
    reused: int = 0

    @property
    def at_most_usd(self) -> float:
        """The spend if every unconfirmed call was charged."""
        return round(self.usd + self.unconfirmed_usd, 6)


@dataclass(frozen=True)
class Billing:
    """The ledger of all calls. `limit_usd`: for a day of UTC; 0 is no limit."""

    dynamodb: "DynamoDBClient"
    table: str
    records: Records
    limit_usd: float = 0.0

    def day(self, now: float) -> Day:
        """Return the spend of the day of `now`, in seconds since 1970."""
        item = self.dynamodb.get_item(
            TableName=self.table, Key={"id": {"S": _day_id(date_of(now))}}, ConsistentRead=True
        ).get("Item", {})
        return _day(date_of(now), item)

    def limit_on(self, now: float, orders: Orders | None = None) -> float:
        """Return the limit of the day of `now`: its own, if one was set, else every day's.

        `orders`: if they were just read, which saves a read.
        """
        orders = orders or OrderStore(self.dynamodb, self.table).current()
        own = orders.limit_on(date_of(now))
        return self.limit_usd if own is None else own

    def days(self, dates: Sequence[str]) -> list[Day]:
        """Return the spend of up to 100 days of UTC, in one request; days without any left out."""
        items = self.records.read_with(*(_day_id(date) for date in dates))
        return [_day(date, items[id]) for date in dates if (id := _day_id(date)) in items]

    def note_announced(self, date: str, mark: str) -> None:
        """Note what has been announced of a day, by a mark; repeating it changes nothing."""
        self.dynamodb.update_item(
            TableName=self.table,
            Key={"id": {"S": _day_id(date)}},
            UpdateExpression="ADD announced :mark",
            ExpressionAttributeValues={":mark": {"SS": [mark]}},
        )

    def spent_error(self, now: float) -> SpendLimitError | None:
        """Return the error when nothing is left of the day's limit, else None."""
        day, limit = self.day(now), self.limit_on(now)
        if not limit or day.at_most_usd < limit:
            return None
        return spend_limit_error(day, limit, now)

    def begin(self, hold: Hold, call: Call, orders: Orders | None = None) -> None:
        """Reserve a call's price and note that the call is about to be made.

        `orders`: if they were just read, which saves a read.
        Raise `OutcomeUnknownError` when two calls for the same edit got no answer,
        `EditTooDearError` when the call alone costs more than the day's limit, and
        `SpendLimitError` when it does not fit into what is left of the day.
        """
        if hold.record.unanswered(call.digest, call.drop) >= MAX_UNANSWERED:
            raise OutcomeUnknownError(
                f"Venice did not answer {MAX_UNANSWERED} calls for this edit."
            )
        limit_usd = self.limit_on(call.at, orders)
        limit, usual = round(limit_usd * MICRO), round(self.limit_usd * MICRO)
        if usual and call.micro_usd > max(limit, usual):
            raise EditTooDearError(
                f"The edit would cost ${call.micro_usd / MICRO:,.2f} at Venice. The limit for a "
                f"whole day is ${self.limit_usd:,.2f} (DailySpendLimitUSD)."
            )
        if limit and call.micro_usd > limit:  # of today alone, so it is no fault of the edit
            raise spend_limit_error(self.day(call.at), limit_usd, call.at)
        reserve = _move(call.date, call.at, unconfirmed=call.micro_usd, committed=call.micro_usd)
        reserve["UpdateExpression"] += ", day_limit = :limit"
        reserve["ExpressionAttributeValues"][":limit"] = {"N": str(limit)}
        if limit:
            reserve["ConditionExpression"] = "attribute_not_exists(committed) OR committed <= :room"
            reserve["ExpressionAttributeValues"][":room"] = {"N": str(limit - call.micro_usd)}
        try:
            hold.update(lambda record: record.begun(call), lambda _: reserve)
        except RefusedMoveError as error:
            raise spend_limit_error(self.day(call.at), limit_usd, call.at) from error

    def settle(self, id: str, settlement: "Settlement") -> None:
        """Settle a call, whoever holds the record by now; repeating it changes nothing."""
        self.records.change_record(id, settlement.change, settlement.move)


@dataclass(frozen=True)
class Settlement:
    """The cost of a call: a change of its record, and the move of money that goes with it.

    `state`: `PAID` or `FREE`. If the call is no longer open, nothing changes.
    """

    call_id: str
    state: CallState
    micro_usd: int
    at: float

    @property
    def usd(self) -> float:
        """The cost in US dollars."""
        return self.micro_usd / MICRO

    def is_open(self, record: Record) -> bool:
        """Return whether the call is not settled yet."""
        return self._open_call(record) is not None

    def change(self, record: Record) -> Record:
        """Return the record with the call settled."""
        if not self.is_open(record):
            return record
        return record.settled(self.call_id, self.state, self.micro_usd)

    def move(self, record: Record) -> Mapping[str, Any] | None:
        """Return the change of the call's day, as an update for `Records`."""
        call = self._open_call(record)
        if call is None:
            return None
        reserved = call.micro_usd
        if self.state is CallState.FREE:
            return _move(call.date, self.at, unconfirmed=-reserved, committed=-reserved)
        return _move(
            call.date,
            self.at,
            model=call.model,
            usd=self.micro_usd,
            unconfirmed=-reserved,
            committed=self.micro_usd - reserved,
        )

    def _open_call(self, record: Record) -> Call | None:
        call = record.call(self.call_id)
        return call if call and call.state is CallState.OPEN else None


@dataclass(frozen=True)
class Saving:
    """What a result did not cost, because answers were reused instead of paid for again.

    `etag`: of the result, by which it is counted once. `micro_usd`: what the answers had cost.
    """

    etag: str
    micro_usd: int
    at: float

    def change(self, record: Record) -> Record:
        """Return the record that knows that the result is counted."""
        return record.counted(self.etag)

    def move(self, _: Record) -> Mapping[str, Any]:
        """Return the change of its day, as an update for `Records`."""
        return _move(date_of(self.at), self.at, saved=self.micro_usd, reused=1)


def spend_limit_error(day: Day, limit_usd: float, now: float) -> SpendLimitError:
    """Return the error that no more calls fit into the day's limit."""
    return SpendLimitError(
        f"${day.at_most_usd:,.2f} of the ${limit_usd:,.2f} for {day.date} is spent or reserved. "
        f"Calls resume at {_midnight(now):%Y-%m-%d %H:%M} UTC.",
        retry_at=now + RECHECK_AFTER,
        limit_usd=limit_usd,
    )


def date_of(now: float) -> str:
    """Return the day of UTC, such as 2026-11-24."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def micro(usd: float) -> int:
    """Return dollars as a whole number of millionths, so that sums are exact."""
    return round(usd * MICRO)


def _move(date: str, now: float, *, model: str = "", **sums: int) -> dict[str, Any]:
    """Return an update that adds to the sums of a day, and to the calls and dollars of a model."""
    if model:
        sums |= {f"calls#{model}": 1, f"usd#{model}": sums["usd"]}
    names = {f"#a{number}": name for number, name in enumerate(sums)}
    values = {f":a{number}": {"N": str(value)} for number, value in enumerate(sums.values())}
    added = ", ".join(f"#a{number} :a{number}" for number in range(len(sums)))
    return {
        "Key": {"id": {"S": _day_id(date)}},
        "UpdateExpression": f"ADD {added} SET expiration = :expiration",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values | {":expiration": {"N": str(int(now) + SPEND_TTL)}},
    }


def _day(date: str, item: Mapping[str, Any]) -> Day:
    sums = {name: int(value["N"]) for name, value in item.items() if "N" in value}
    dollars = {name: count / MICRO for name, count in _by_model(sums, "usd#").items()}
    return Day(
        date=date,
        usd=sums.get("usd", 0) / MICRO,
        unconfirmed_usd=sums.get("unconfirmed", 0) / MICRO,
        usd_by_model=dollars,
        calls_by_model=_by_model(sums, "calls#"),
        limit_usd=sums.get("day_limit", 0) / MICRO,
        announced=frozenset(item.get("announced", {}).get("SS", ())),
        saved_usd=sums.get("saved", 0) / MICRO,
        reused=sums.get("reused", 0),
    )


def _by_model(sums: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): number
        for name, number in sorted(sums.items())
        if name.startswith(prefix)
    }


def _day_id(date: str) -> str:
    return f"spend#{date}"


def _midnight(now: float) -> datetime:
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=1)
