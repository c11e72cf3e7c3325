"""Put each break of `mutants.toml` back, and let the simulation find it.

A break's recorded seed has to find it. With `--hunt`, or without a recorded seed, the seeds are
tried from 0 on, and the first one that finds it is printed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[2]
LAYER = PROJECT / "layers" / "image_drop"
ENOUGH = 2000  # seeds
HUNT = """
import sys
from tests.simulation.run import simulate

says, *seeds = sys.argv[1:]
for seed in range(*map(int, seeds)):
    for broken in simulate(seed).broken:
        if says in broken:
            sys.exit(print(seed, broken, sep="\\t"))
"""


@dataclass(frozen=True)
class Mutant:
    """A break. `edit`: what is replaced in which file. `seed`: one that finds it.

    `says`: a part of the words in which the broken promise is told.
    """

    name: str
    item: str
    says: str
    edit: list[dict[str, str]]
    seed: int | None = None

    @property
    def proof(self) -> range:
        """The seeds that have to find it."""
        return range(ENOUGH) if self.seed is None else range(self.seed, self.seed + 1)

    def fits(self) -> bool:
        """Whether the code has the places that it changes."""
        return all(
            (LAYER / "image_drop" / edit["file"]).read_text().count(edit["old"]) == 1
            for edit in self.edit
        )

    def put_into(self, layer: Path) -> None:
        """Change a copy of the layer. Raise `ValueError` where the code is not what it was."""
        for edit in self.edit:
            path = layer / "image_drop" / edit["file"]
            code = path.read_text()
            if (found := code.count(edit["old"])) != 1:
                raise ValueError(f"{self.name}: {edit['file']} has {found} places for it.")
            path.write_text(code.replace(edit["old"], edit["new"]))


def mutants() -> list[Mutant]:
    """Return all of them."""
    listed = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())
    return [Mutant(**each) for each in listed["mutant"]]


def hunt(mutant: Mutant, seeds: range) -> tuple[int, str] | None:
    """Return the first seed that finds it, and what it finds. Raise `RuntimeError`."""
    with TemporaryDirectory(prefix="image-drop-mutant-") as folder:
        layer = Path(folder) / "layer"
        shutil.copytree(LAYER, layer, ignore=shutil.ignore_patterns("__pycache__"))
        mutant.put_into(layer)
        done = subprocess.run(
            [sys.executable, "-c", HUNT, mutant.says, str(seeds.start), str(seeds.stop)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(layer), str(PROJECT)])},
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
        )
    if done.returncode:
        raise RuntimeError(f"{mutant.name}: {done.stderr.strip().rpartition('\n')[2]}")
    seed, _, what = done.stdout.strip().partition("\t")
    return (int(seed), what) if seed else None


def main() -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hunt", action="store_true", help="Try the seeds from 0 on.")
    parser.add_argument("--seeds", type=int, default=ENOUGH, help="How many seeds to try.")
    parser.add_argument("names", nargs="*", help="Parts of names; all breaks if there is none.")
    options = parser.parse_args()
    chosen = [m for m in mutants() if not options.names or any(n in m.name for n in options.names)]
    began, missed = time.monotonic(), 0

    def proved(mutant: Mutant) -> tuple[int, str] | None:
        return hunt(mutant, range(options.seeds) if options.hunt else mutant.proof)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, found in zip(chosen, pool.map(proved, chosen), strict=True):
            missed += found is None
            seed, what = found or ("–", "not found")
            print(f"{mutant.item:3} {mutant.name:60} {seed:>5}  {what[:90]}", flush=True)
    print(
        f"{len(chosen) - missed} of {len(chosen)} breaks found in {time.monotonic() - began:.0f} s"
    )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
