"""Make a failing run small: without every fault, trouble and act that it fails without."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.simulation.run import Run, simulate


@dataclass(frozen=True)
class Left:
    """What a run is made without, by number."""

    faults: frozenset[int] = frozenset()
    trouble: frozenset[int] = frozenset()
    acts: frozenset[int] = frozenset()

    def run(self, seed: int) -> Run:
        """Run what is left of the seed."""
        return simulate(
            seed,
            without_faults=self.faults,
            without_trouble=self.trouble,
            without_acts=self.acts,
        )

    def options(self) -> str:
        """Return what the command takes to make the same run."""
        given = {"faults": self.faults, "trouble": self.trouble, "acts": self.acts}
        return " ".join(
            f"--without-{name} {','.join(map(str, sorted(numbers)))}"
            for name, numbers in given.items()
            if numbers
        )


def shrunk(seed: int, run: Run, fails: Callable[[Run], bool]) -> tuple[Left, Run]:
    """Leave out one thing after the other as long as the run still fails."""
    left, last = Left(), run
    for name, numbers in (
        ("acts", run.act_numbers),
        ("trouble", run.trouble_numbers),
        ("faults", run.fault_numbers),
    ):
        for number in numbers:
            smaller = replace(left, **{name: getattr(left, name) | {number}})
            tried = smaller.run(seed)
            if fails(tried):
                left, last = smaller, tried
    return left, last
