"""What a person has ordered with the command line: edits that are cancelled, today's spend limit.

All functions read it together with the image's record, so an order counts from the next edit on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from image_drop.state.atomic_item import AtomicItem

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEM = "orders"
CANCELLED_FOR = 15 * 86_400  # seconds; SQS forgets a message after 14 days
MAX_CANCELLATIONS = 100  # so that the item stays small: every edit reads it


class TooManyCancellationsError(Exception):
    """Raised when a hundred prefixes have been cancelled within 15 days."""


@dataclass(frozen=True)
class Cancellation:
    """Edits below `prefix` that were asked for before `at`, in seconds since 1970, are dropped."""

    prefix: str
    at: float


@dataclass(frozen=True)
class Orders:
    """The orders. `limit_usd`: the spend limit of the day `limit_date` alone, of UTC."""

    cancellations: tuple[Cancellation, ...] = ()
    limit_date: str = ""
    limit_usd: float = 0.0

    def cancelled(self, key: str, asked_at: float) -> Cancellation | None:
        """Return the order by which an edit of `key` is dropped, or None."""
        return next(
            (
                each
                for each in self.cancellations
                if key.startswith(each.prefix) and asked_at < each.at
            ),
            None,
        )

    def limit_on(self, date: str) -> float | None:
        """Return the spend limit that was set for a day of UTC, in US dollars, or None."""
        return self.limit_usd if self.limit_date == date else None


@dataclass(frozen=True)
class OrderStore:
    """The orders in the state table, in one item."""

    dynamodb: "DynamoDBClient"
    table: str

    @property
    def item(self) -> AtomicItem[Orders]:
        """The item of the state table."""
        return AtomicItem(self.dynamodb, self.table, ITEM, Orders())

    def current(self) -> Orders:
        """Return the orders as they are now."""
        return self.item.read()[0]

    def cancel(self, prefix: str, now: float) -> None:
        """Drop every edit below `prefix` that was asked for before now, and is not paid yet.

        Raise `TooManyCancellationsError`.
        """
        self._change(partial(_with_cancellation, new=Cancellation(prefix, now)))

    def limit_today(self, usd: float, now: float) -> None:
        """Let the calls of today, a day of UTC, cost at most `usd`."""
        date = datetime.fromtimestamp(now, UTC).date().isoformat()
        self._change(partial(replace, limit_date=date, limit_usd=usd))

    def _change(self, change: Callable[[Orders], Orders]) -> None:
        self.item.change(change)


def _with_cancellation(old: Orders, new: Cancellation) -> Orders:
    kept = [
        each
        for each in old.cancellations
        if each.at > new.at - CANCELLED_FOR and not each.prefix.startswith(new.prefix)
    ]
    if len(kept) >= MAX_CANCELLATIONS:
        raise TooManyCancellationsError
    return replace(old, cancellations=(*kept, new))
