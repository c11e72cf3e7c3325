"""`python -m tests.simulation [--seeds N] [--from N]`: run seeds, two side by side."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.run import Run, simulate


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    if options.seed is not None:
        show(simulate(options.seed))
        return 0
    began, failed = time.monotonic(), 0
    with ProcessPoolExecutor(2) as pool:
        seeds = range(options.first, options.first + options.seeds)
        days = 0.0
        for number, run in enumerate(pool.map(simulate, seeds, chunksize=4), 1):
            days += run.seconds / 86_400
            if run.broken:
                failed += 1
                print(f"seed {run.seed}: {run.broken[0]}", flush=True)
            if number % 200 == 0:
                rate = number / (time.monotonic() - began) * 60
                print(f"{number} runs, {failed} failed, {days:.0f} days, {rate:.0f} a minute")
    rate = options.seeds / (time.monotonic() - began) * 60
    print(f"{options.seeds} runs, {failed} failed, {rate:.0f} a minute")
    return int(failed > 0)


def show(run: Run) -> None:
    """Print a run."""
    print(*run.log, sep="\n")
    print(*run.broken, sep="\n")
    print(run)


if __name__ == "__main__":
    sys.exit(main())
