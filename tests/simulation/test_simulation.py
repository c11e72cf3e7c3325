"""Every promise, under faults drawn from seeds: always the same ones, and new ones each time.

`make simulate SEEDS=1000` runs more. A failure here prints the command that repeats it.
"""

import secrets

import pytest

from tests.simulation.mutants import ENOUGH, Mutant, hunt, mutants
from tests.simulation.run import Run, simulate
from tests.simulation.shrink import shrunk

FIXED = [range(first, first + 15) for first in range(0, 90, 15)]
FRESH = [
    range(first, first + 15) for first in (10_000 + secrets.randbelow(10**9) for _ in range(4))
]
SAMPLE = secrets.SystemRandom().sample(mutants(), 4)


def failed(seeds: range) -> list[str]:
    """Return what is broken, with the command that shows it."""
    return [
        f"{run.broken[0]}: python -m tests.simulation --seed {run.seed}"
        for run in map(simulate, seeds)
        if run.broken
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", FIXED, ids=lambda seeds: f"from {seeds.start}")
def test_every_promise_holds_under_known_faults(seeds: range) -> None:
    assert failed(seeds) == []


@pytest.mark.slow
@pytest.mark.parametrize("seeds", FRESH, ids=[f"fresh {number}" for number in range(len(FRESH))])
def test_every_promise_holds_under_new_faults(seeds: range) -> None:
    assert failed(seeds) == []


def test_same_seed_is_same_run() -> None:
    assert simulate(17) == simulate(17)


def test_failing_run_is_made_small() -> None:
    run = simulate(97)

    def fails(tried: Run) -> bool:
        return any("422 charged" in line for line in tried.timeline)

    left, small = shrunk(97, run, fails)

    assert fails(small)
    assert len(small.act_numbers) < len(run.act_numbers) / 2
    assert not small.fault_numbers
    assert left.run(97) == small


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_break_can_be_put_back(mutant: Mutant) -> None:
    assert mutant.fits()
    assert mutant.says
    assert mutant.seed in range(ENOUGH)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", SAMPLE, ids=range(len(SAMPLE)))
def test_break_that_is_put_back_is_found(mutant: Mutant) -> None:
    assert hunt(mutant, mutant.proof), mutant.name
