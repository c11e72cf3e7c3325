"""Put each break of `mutants.toml` back, and count the seeds until the simulation finds it."""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[2]
LAYER = PROJECT / "layers" / "image_drop"
ENOUGH = 2000  # seeds


@dataclass(frozen=True)
class Mutant:
    """A break. `edit`: what is replaced in which file. `seed`: one that finds it."""

    name: str
    item: str
    edit: list[dict[str, str]]
    seed: int | None = None

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
    """Return the first seed that finds it, and what it finds."""
    with TemporaryDirectory(prefix="image-drop-mutant-") as folder:
        layer = Path(folder) / "layer"
        shutil.copytree(LAYER, layer, ignore=shutil.ignore_patterns("__pycache__"))
        mutant.put_into(layer)
        code = (
            "import sys; from tests.simulation.run import simulate\n"
            "for seed in range(*map(int, sys.argv[1:])):\n"
            "    broken = simulate(seed).broken\n"
            "    if broken: sys.exit(print(seed, broken[0], sep='\\t'))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(seeds.start), str(seeds.stop)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(layer), str(PROJECT)])},
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
        )
        if done.returncode:
            return -1, done.stderr.strip().rpartition("\n")[2]
        seed, _, what = done.stdout.strip().partition("\t")
        return (int(seed), what) if seed else None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=ENOUGH)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    wanted = [m for m in mutants() if not options.names or any(n in m.name for n in options.names)]
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for mutant, found in zip(
            wanted, pool.map(lambda m: hunt(m, range(options.seeds)), wanted), strict=True
        ):
            missed += found is None
            print(f"{mutant.item:3} {mutant.name}: {found or 'not found'}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
