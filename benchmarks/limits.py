"""One drop for each of Venice's classes and for slower edits: time and cost against the least.

    python -m benchmarks.limits

In virtual time, as in `burst`. Writes the section of `README.md`.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks import burst, page
from benchmarks.virtual_stack import IMAGE_DROP

SEEDS = (1, 2)


@dataclass(frozen=True)
class Row:
    """A rate limit in calls a minute, the seconds of an edit, and how many photos are dropped."""

    limit: int
    edit: float
    photos: int


ROWS = (
    Row(20, 5, 600),
    Row(20, 12, 600),
    Row(20, 30, 600),
    Row(60, 12, 1200),
    Row(120, 12, 1200),
    Row(120, 30, 1200),
    Row(600, 12, 3000),
)


def main() -> None:
    """Run every row with several seeds, and write the report."""
    scenarios = [_scenario(row, window, seed) for row, window, seed in _all()]
    with ProcessPoolExecutor() as pool:
        taken = list(pool.map(burst.run, scenarios))
    rows = [_line(row, window, taken) for row in ROWS for window in burst.WINDOWS]
    text = section(rows)
    page.put("limits", text)
    print(text)


def section(rows: Sequence[Sequence[str]]) -> str:
    """Return the section of `README.md`."""
    head = (
        *("calls a minute", "edit", "photos", "windows", "of the bound", "last call, after its"),
        *("refused", "lock-outs", "paid twice", "AWS for 1,000", "Lambda only while Venice works"),
    )
    return f"""## Every class of Venice

`python -m benchmarks.limits`: one drop of all photos at the same moment, with the template's
default parameters, {len(SEEDS)} seeds for each row; the least and the most of them. Goals, for
fixed windows: at most 1.04 of the bound, nothing refused, and AWS for at most 1.5 × the last
column + $0.03. The bound lets the last call begin when the full minutes before it are over, and
take as long as the average. But the slowest of the last minute's edits ends last: of 120 log-normal
ones it takes about 1.8 times as long as the average, of 600 twice. The sixth column says how much
later than in the bound the last call began.

{page.table(head, rows)}"""


def _all() -> list[tuple[Row, str, int]]:
    return [(row, window, seed) for row in ROWS for window in burst.WINDOWS for seed in SEEDS]


def _scenario(row: Row, window: str, seed: int) -> burst.Scenario:
    return burst.Scenario(
        IMAGE_DROP,
        row.photos,
        window,
        seed,
        limit=row.limit,
        edit=row.edit,
        unavailable=0.0,
    )


def _line(row: Row, window: str, taken: Sequence[dict[str, Any]]) -> list[str]:
    found = [
        each
        for each in taken
        if (each["limit"], each["edit"], each["window"]) == (row.limit, row.edit, window)
    ]
    ratios = sorted(each["seconds"] / each["bound"] for each in found)
    least = burst.bound(row.photos, row.limit, 0.0)  # the last call of the bound begins then
    late = sorted(each["last_call"] - least for each in found)
    dollars = sorted(each["aws_dollars_per_1000"] for each in found)
    sums = [str(sum(each[name] for each in found)) for name in ("refused", "lock_outs")]
    return [
        *(str(row.limit), f"{row.edit:g} s", f"{row.photos:,}", window),
        f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
        f"{late[0]:.1f} to {late[-1]:.1f} s",
        *sums,
        str(sum(each["paid_twice"] for each in found)),
        f"${dollars[0]:.3f} to ${dollars[-1]:.3f}",
        f"${found[0]['floor_dollars_per_1000']:.3f}",
    ]


if __name__ == "__main__":
    main()
