"""`python -m tests.simulation`: run seeds side by side; the first failures are made small and told.

--seeds N --from N      these seeds (1,000 from 0)
--seed N                this one, with its timeline; --without-… leaves out faults, troubles
                        and acts by their numbers
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.run import Run
from tests.simulation.shrink import Left, shrunk

TOLD = 3  # failures that are made small; each takes a few dozen runs
EVERY = 10.0  # seconds between two lines of progress


def main() -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--seed", type=int)
    for name in ("faults", "trouble", "acts"):
        parser.add_argument(f"--without-{name}", type=_numbers, default=frozenset())
    options = parser.parse_args()
    if options.seed is not None:
        left = Left(options.without_faults, options.without_trouble, options.without_acts)
        run = left.run(options.seed)
        print(*run.timeline, sep="\n")
        print(*(run.broken or ["Every promise was kept."]), sep="\n")
        return int(bool(run.broken))
    failed = [run for run in _runs(options.first, options.seeds) if run.broken]
    for run in failed[:TOLD]:
        tell(run)
    if failed:
        print(f"{len(failed)} of {options.seeds} seeds fail: {[run.seed for run in failed[:50]]}")
    return int(bool(failed))


def tell(run: Run) -> None:
    """Make a failing run small, and print its timeline and how to repeat it."""
    left, small = shrunk(run.seed, run, lambda tried: bool(tried.broken))
    print(f"\nSeed {run.seed}, with as little as it takes:\n")
    print(*small.timeline, sep="\n")
    print(*(f"  broken: {each}" for each in small.broken), sep="\n")
    print(f"\n  python -m tests.simulation --seed {run.seed} {left.options()}\n", flush=True)


def _runs(first: int, count: int) -> Iterator[Run]:
    """Run the seeds, and say how far it is."""
    began = told = time.monotonic()
    days, faults, failed = 0.0, 0, 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(_plain, range(first, first + count), chunksize=5)
        for number, run in enumerate(runs, 1):
            days += run.seconds / 86_400
            faults += run.faults + run.trouble
            failed += bool(run.broken)
            if run.broken:
                print(f"Seed {run.seed}: {run.broken[0]}", flush=True)
            if time.monotonic() - told > EVERY or number == count:
                told = time.monotonic()
                rate = number / (told - began) * 60
                print(
                    f"{number:,} runs ({rate:,.0f} a minute), {days:,.0f} days, {faults:,} faults, "
                    f"{failed} failed",
                    flush=True,
                )
            yield run


def _plain(seed: int) -> Run:
    return Left().run(seed)


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
