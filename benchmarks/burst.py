"""Thousands of photos at once: what becomes of them, in virtual time and for real.

    python -m benchmarks.burst [--quick] [--no-real]

Writes `results/burst.svg`, and the tables between the marks in `README.md`. `--quick` runs the same
scenarios with few photos. With it, or without a real run, nothing is written.
"""

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import burst_report, costs, real_burst
from benchmarks.virtual_stack import DROP, IMAGE_DROP, OTHERS, Deployment, Policy
from image_drop_local.simulator.settings import Settings as VeniceSettings

PLOT = Path(__file__).parent / "results" / "burst.svg"
LIMIT = 20  # edits a minute
EDIT = 12.0  # seconds
POINTS = 200  # of a curve
WINDOWS = ("fixed", "sliding")


@dataclass(frozen=True)
class Scenario:
    """One run. `outage`: from when until when, in seconds after the drop; (0, 0) for none.

    With `outage_shows` the account's page at Venice tells of it.
    """

    policy: Policy
    photos: int
    window: str
    seed: int
    outage: tuple[float, float] = (0.0, 0.0)
    outage_shows: bool = True
    limit: int = LIMIT
    edit: float = EDIT
    unavailable: float = 0.001


def bound(photos: int, limit: int, edit: float) -> float:
    """Return the least seconds for so many photos, if `limit` of them may start in each minute."""
    return (math.ceil(photos / limit) - 1) * 60 + edit


def run(scenario: Scenario) -> dict[str, Any]:
    """Return the figures of one run."""
    began = time.process_time()
    settings = VeniceSettings(
        limit=scenario.limit,
        window_kind=scenario.window,  # type: ignore[arg-type]
        retry_after=True,
        lockout_counts_429=True,
    )
    stack = Deployment(
        scenario.policy,
        settings,
        seed=scenario.seed,
        edit_seconds=scenario.edit,
        outage=scenario.outage,
        outage_shows=scenario.outage_shows,
        unavailable=scenario.unavailable,
    )
    stack.settle()
    stack.drop(scenario.photos)
    stack.run()
    answers, arrivals = stack.venice.answers, sorted(stack.venice.arrivals)
    ends = sorted(at - DROP for at in stack.done.values())
    start, end = scenario.outage
    least = bound(scenario.photos, scenario.limit, scenario.edit) + end - start
    bill = costs.bill(stack.meter, scenario.photos)
    return {
        "policy": scenario.policy.name,
        "window": scenario.window,
        "limit": scenario.limit,
        "edit": scenario.edit,
        "photos": scenario.photos,
        "seed": scenario.seed,
        "done": len(ends),
        "dead_lettered": len(stack.queue.dead_letters),
        "calls": len(arrivals),
        "answers": dict(answers),
        "refused": answers["rate limited"] + answers["locked out"],
        "lock_outs": stack.venice.lock_out.begun,
        "paid_twice": sum(count > 1 for count in stack.venice.paid.values()),
        "queued": stack.queue.sent,
        "most_receives": stack.most_receives,
        "first_call": arrivals[0] - DROP,
        "last_call": arrivals[-1] - DROP,
        "seconds": ends[-1] if ends else None,
        "bound": least,
        "outage": scenario.outage if end else None,
        "outage_shows": scenario.outage_shows,
        "calls_in_outage": sum(start <= at - DROP < end for at in arrivals),
        "pauses": len(stack.stopped),
        "first_done_after_outage": next((at - end for at in ends if at > end), None),
        "metered": dict(stack.meter),
        "bill_per_1000": [asdict(line) for line in bill],
        "aws_dollars_per_1000": costs.total(bill),
        "floor_dollars_per_1000": costs.floor(scenario.edit),
        "curve": curve(ends),
        "took": time.process_time() - began,
    }


def curve(ends: list[float]) -> list[tuple[float, int]]:
    """(seconds, photos done by then), at most `POINTS` of them."""
    step = max(1, len(ends) // POINTS)
    picked = sorted({*range(step - 1, len(ends), step), len(ends) - 1}) if ends else []
    return [(round(ends[index], 1), index + 1) for index in picked]


def scenarios(quick: bool) -> list[Scenario]:
    """Return all runs, the longest first."""
    sizes = (200, 100) if quick else (10_000, 2_000)
    beside, outage = (100, 100) if quick else (2_000, 1_000)
    away = (60.0, 960.0) if quick else (1_500.0, 3_300.0)
    seeds = {"fixed": 1, "sliding": 2}
    return [
        *(Scenario(IMAGE_DROP, size, w, seeds[w]) for size in sizes for w in WINDOWS),
        *(Scenario(policy, beside, w, seeds[w]) for policy in OTHERS for w in WINDOWS),
        *(Scenario(IMAGE_DROP, outage, "fixed", 1, away, shows) for shows in (True, False)),
        Scenario(IMAGE_DROP, 10, "fixed", 1),
    ]


def main() -> None:
    """Run everything and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few photos; writes nothing")
    parser.add_argument("--no-real", action="store_true", help="virtual time only; writes nothing")
    parser.add_argument("--limit", type=int, default=LIMIT, help="calls a minute")
    parser.add_argument("--edit", type=float, default=EDIT, help="seconds of an edit, on average")
    parser.add_argument("--photos", type=int, help="run one drop of so many, and write nothing")
    parser.add_argument("--window", choices=WINDOWS, default="fixed", help="Venice's minutes")
    parser.add_argument("--unavailable", type=float, default=0.0, help="share of calls that fail")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one drop as a JSON object")
    options = parser.parse_args()
    if options.photos or options.json:
        one(options)
    else:
        everything(options)


def one(options: argparse.Namespace) -> None:
    """Run one drop, and print its figures as a line or as one JSON object."""
    figures = run(
        Scenario(
            IMAGE_DROP,
            options.photos or 600,
            options.window,
            options.seed,
            limit=options.limit,
            edit=options.edit,
            unavailable=options.unavailable,
        )
    )
    print(json.dumps(figures) if options.json else burst_report.line(figures))


def everything(options: argparse.Namespace) -> None:
    """Run all scenarios, and write the report if they are complete."""
    with ProcessPoolExecutor() as pool:
        virtual = []
        for figures in pool.map(run, scenarios(options.quick)):
            print(burst_report.line(figures), flush=True)
            virtual.append(figures)
    real = None if options.no_real else real_burst.run(100 if options.quick else real_burst.PHOTOS)
    if real:
        print(burst_report.real_line(real))
    if real and not options.quick:
        burst_report.write(PLOT, virtual, [real])


if __name__ == "__main__":
    main()
