"""Several stacks with one account at Venice: do they stay within its limit together?

    python -m benchmarks.sharing

They know of each other only by the headers of Venice's answers. In virtual time, as in `burst`.
Writes the section of `README.md`.
"""

import itertools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import page
from benchmarks.burst import WINDOWS
from benchmarks.virtual_stack import IMAGE_DROP, Deployment, counted_output
from image_drop_local.simulator.settings import Settings as VeniceSettings

STACKS = (2, 5)
LIMIT = 60  # calls a minute, of all stacks
PHOTOS = 1200  # of each stack
AFTER = 300.0  # seconds between the drops of two stacks
SEEDS = (1, 2)


@dataclass(frozen=True)
class Sharing:
    """One run. Each stack gets its drop `after` seconds later than the one before."""

    stacks: int
    window: str
    after: float
    seed: int = 1
    limit: int = LIMIT
    photos: int = PHOTOS


def run(sharing: Sharing) -> dict[str, Any]:
    """Return the figures of one run."""
    settings = VeniceSettings(
        limit=sharing.limit,
        window_kind=sharing.window,  # type: ignore[arg-type]
        retry_after=True,
        lockout_counts_429=True,
    )
    seeds = [100 * sharing.seed + number for number in range(sharing.stacks)]
    first = Deployment(IMAGE_DROP, settings, seed=seeds[0], unavailable=0.0)
    others = [Deployment(IMAGE_DROP, settings, seed=seed, shared=first) for seed in seeds[1:]]
    stacks = [first, *others]
    for stack in stacks:
        stack.settle()
    began = first.world.time
    for number, stack in enumerate(stacks):
        first.world.call(number * sharing.after, partial(stack.drop, sharing.photos))
        stack.pollers.start()
    first.world.call(len(stacks) * sharing.after, lambda: None)
    last = began + (len(stacks) - 1) * sharing.after
    with counted_output(first.meter):
        first.world.run(lambda: first.world.time > last and all(s.is_over for s in stacks))
    first.world.stop()
    answers = first.venice.answers
    calls = len(first.venice.arrivals)
    refused = answers["rate limited"] + answers["locked out"]
    ends = [max(stack.done.values()) - began for stack in stacks]
    return {
        "stacks": sharing.stacks,
        "window": sharing.window,
        "after": sharing.after,
        "photos": sharing.photos,
        "done": sum(len(stack.done) for stack in stacks),
        "calls": calls,
        "refused": refused,
        "lock_outs": first.venice.lock_out.begun,
        "seconds": max(ends),
        "bound": sharing.stacks * sharing.photos / sharing.limit * 60,
        "ends": ends,
    }


def main() -> None:
    """Run everything, and write the report."""
    runs = [
        Sharing(stacks, window, after, seed)
        for stacks in sorted(STACKS, reverse=True)  # the longest first
        for window in WINDOWS
        for after in (0.0, AFTER)
        for seed in SEEDS
    ]
    with ProcessPoolExecutor() as pool:
        text = section(list(pool.map(run, runs)))
    page.put("sharing", text)
    print(text)


def section(taken: Sequence[dict[str, Any]]) -> str:
    """Return the section of `README.md`."""
    head = ("stacks", "windows", "drops apart", "calls", "refused", "share", "lock-outs", "time")
    rows = [
        _row([each for each in taken if (each["stacks"], each["window"], each["after"]) == kind])
        for kind in itertools.product(STACKS, WINDOWS, (0.0, AFTER))
    ]
    return f"""## Several stacks with one account at Venice

`python -m benchmarks.sharing`: each stack edits {PHOTOS:,} photos; the account allows {LIMIT} calls
a minute. The stacks know of each other only by the headers of Venice's answers. {len(SEEDS)} seeds
for each row: their calls, refusals and lock-outs together, and the longer time. Time is that of all
photos, as a ratio to what the limit alone requires; the last stack finishes alone. Goal: 0.5 %
refused.

{page.table(head, rows)}"""


def _row(seeds: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    first = seeds[0]
    calls, refused, lock_outs = (
        sum(each[name] for each in seeds) for name in ("calls", "refused", "lock_outs")
    )
    return (
        *(str(first["stacks"]), first["window"], f"{first['after']:.0f} s"),
        *(f"{calls:,}", str(refused), f"{refused / calls:.2%}", str(lock_outs)),
        f"{max(each['seconds'] / each['bound'] for each in seeds):.2f}",
    )


if __name__ == "__main__":
    main()
