"""The spend watch: announce parts of the day's limit that are spent, and the end of a day.

What is announced follows from the day's item alone, which moves in the transaction of each call.
So no edit makes a request for it. An announcement is noted after the event bus has taken it, so it
is sent at least once, with the same `event_id` each time.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from image_drop.events import SpendDayEnded, SpendLevelReached
from image_drop.state.billing import Day, date_of, micro
from image_drop.telemetry import logger

if TYPE_CHECKING:
    from image_drop.services import Services
    from image_drop.state.circuit_breaker import Status

LEVELS = (50, 80, 100)  # percent of the day's limit
LOOKS_BACK = 3  # days; the account watch may have failed for as long
SETTLED_AFTER = 900.0  # seconds after midnight; calls that began before it are settled by then

type News = SpendLevelReached | SpendDayEnded


def watch(services: "Services") -> None:
    """Announce what is new about the spend of today and of the last days."""
    now, table = services.now(), services.billing.table
    for day in services.billing.days(_recent_dates(now)):
        full = None
        if _may_be_full(day, now):
            full = _full_limit(day, services.circuit_breaker.status())
        for mark, event in news(day, now, table, full=full):
            logger.info("spend announced", date=day.date, what=mark)
            if services.bus.announce(event):
                services.billing.note_announced(day.date, mark)


def news(day: Day, now: float, table: str, *, full: float | None) -> list[tuple[str, News]]:
    """Return what has to be announced of a day, with the mark of each, see `Day.announced`.

    `full`: the limit into which a call did not fit, in US dollars. `table`: distinguishes the
    events of two stacks.
    """
    if full is not None:
        day = replace(day, limit_usd=full)  # it may have been lowered since the last reservation
    found: list[tuple[str, News]] = [
        _level(day, percent, table)
        for percent in LEVELS
        if day.limit_usd
        and (
            _spent(day) * 100 >= micro(day.limit_usd) * percent
            or (full is not None and percent == LEVELS[-1])
        )
    ]
    if now >= _end_of(day) + SETTLED_AFTER:
        found.append(_end(day, table))
    return [(mark, event) for mark, event in found if mark not in day.announced]


def _level(day: Day, percent: int, table: str) -> tuple[str, News]:
    mark = f"{percent}% of {micro(day.limit_usd)}"  # a limit that is raised has levels of its own
    return mark, SpendLevelReached(
        event_id=_event_id(day, mark, table),
        date=day.date,
        percent=percent,
        limit_usd=day.limit_usd,
        usd=day.usd,
        unconfirmed_usd=day.unconfirmed_usd,
    )


def _end(day: Day, table: str) -> tuple[str, News]:
    mark = "end"
    return mark, SpendDayEnded(
        event_id=_event_id(day, mark, table),
        date=day.date,
        limit_usd=day.limit_usd,
        usd=day.usd,
        unconfirmed_usd=day.unconfirmed_usd,
        calls=sum(day.calls_by_model.values()),
        usd_by_model=dict(day.usd_by_model),
        calls_by_model=dict(day.calls_by_model),
    )


def _event_id(day: Day, mark: str, table: str) -> str:
    return hashlib.sha256(f"{table} {day.date} {mark}".encode()).hexdigest()[:32]


def _spent(day: Day) -> int:
    return micro(day.at_most_usd)


def _may_be_full(day: Day, now: float) -> bool:
    return day.date == date_of(now) and 0 < _spent(day) < micro(day.limit_usd)


def _full_limit(day: Day, status: "Status") -> float | None:
    """Return the limit of the day into which a call did not fit, so that processing is paused."""
    return status.limit_usd if status.stopped and date_of(status.since) == day.date else None


def _end_of(day: Day) -> float:
    return (datetime.fromisoformat(day.date).replace(tzinfo=UTC) + timedelta(days=1)).timestamp()


def _recent_dates(now: float) -> list[str]:
    return [date_of(now - 86_400 * ago) for ago in range(LOOKS_BACK, -1, -1)]
