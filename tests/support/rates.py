"""States of the rate limiter to begin a test with."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from image_drop.state.rates import (
    Rates,
    fail,
    set_limits,
)

NOW = 1_800_000_000.0
MODEL = "firered-image-edit"


def allowed(limit: int, *models: str) -> Rates:
    """Rates of models with a limit."""
    return set_limits(Rates(), dict.fromkeys(models or (MODEL,), limit), NOW)


def failed(rates: Rates, *times: float) -> Rates:
    for number, at in enumerate(times):
        rates = fail(rates, f"failure {number} at {at}", at)
    return rates


@dataclass(frozen=True)
class Grant:
    """A slot. `start`: the true time; `limit` as known when it was granted."""

    start: float
    slot: float
    limit: int


def windows(grants: list[Grant], seconds: float) -> Iterator[tuple[int, Grant]]:
    """How many calls start in each window as Venice sees it, and the one granted last of them.

    Each window begins with a call: a window anywhere else, or between fixed borders, holds no
    more than the one that begins with its first call.
    """
    order = {id(grant): number for number, grant in enumerate(grants)}
    by_start = sorted(grants, key=lambda grant: grant.start)
    starts = [grant.start for grant in by_start]
    for first, start in enumerate(starts):
        inside = by_start[first : bisect_right(starts, start + seconds)]
        yield len(inside), max(inside, key=lambda grant: order[id(grant)])
