"""Several stacks with one account at Venice: do they stay within its limit together?

    python -m benchmarks.sharing

They know of each other only by the headers of Venice's answers. In virtual time, as in `burst`.
Writes the section of `README.md`.
"""

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


@dataclass(frozen=True)
class Sharing:
    """One run. Each stack gets its drop `after` seconds later than the one before."""

    stacks: int
    window: str
    after: float
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
    first = Deployment(IMAGE_DROP, settings, seed=1, unavailable=0.0)
    others = [
        Deployment(IMAGE_DROP, settings, seed=number, shared=first)
        for number in range(2, sharing.stacks + 1)
    ]
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
        "share_refused": refused / calls,
        "lock_outs": first.venice.lock_out.begun,
        "seconds": max(ends),
        "bound": sharing.stacks * sharing.photos / sharing.limit * 60,
        "ends": ends,
    }


def main() -> None:
    """Run everything, and write the report."""
    runs = [
        Sharing(stacks, window, after)
        for stacks in STACKS
        for window in WINDOWS
        for after in (0.0, AFTER)
    ]
    with ProcessPoolExecutor() as pool:
        text = section(list(pool.map(run, runs)))
    page.put("sharing", text)
    print(text)


def section(taken: Sequence[dict[str, Any]]) -> str:
    """Return the section of `README.md`."""
    head = ("stacks", "windows", "drops apart", "calls", "refused", "share", "lock-outs", "time")
    rows = [
        (
            str(each["stacks"]),
            each["window"],
            f"{each['after']:.0f} s",
            f"{each['calls']:,}",
            str(each["refused"]),
            f"{each['share_refused']:.2%}",
            str(each["lock_outs"]),
            f"{each['seconds'] / each['bound']:.2f}",
        )
        for each in taken
    ]
    return f"""## Several stacks with one account at Venice

`python -m benchmarks.sharing`: each stack edits {PHOTOS:,} photos; the account allows {LIMIT} calls
a minute. The stacks know of each other only by the headers of Venice's answers. Time is that of all
photos, as a ratio to what the limit alone requires; the last stack finishes alone. Goal: 0.5 %
refused.

{page.table(head, rows)}"""


if __name__ == "__main__":
    main()
