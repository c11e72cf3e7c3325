"""From a thousand images to a million: what `put`, `status` and the backfill take.

    python -m benchmarks.million

Each figure is of a process of its own. Writes the section of `README.md`, and the plot.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import log10
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from benchmarks import machine, measured, page
from benchmarks.million_runs import FILES

SIZES = (1000, 10_000, 100_000, 1_000_000)
PLOT = Path(__file__).parent / "results" / "million.svg"


@dataclass(frozen=True)
class Row:
    """A command, and the function of `million_runs` that is it; `most`: images."""

    what: str
    function: str
    most: int = SIZES[-1]


ROWS = (
    Row("`put`: find the files", "find"),
    Row("`put`: find and plan them", "plan", 100_000),
    Row("`put --no-wait`: find and send them", "send", 100_000),
    Row("`put`: a thousand looks at what is awaited", "follow"),
    Row("`status`", "status"),
    Row("backfill", "backfill"),
)
COLOURS = ("#2a6f97", "#937860", "#c44e52", "#dd8452", "#8172b3", "#55a868")

Figures = Mapping[str, Any]


def main() -> None:
    """Run everything, and write the report."""
    wanted = [(row, size) for row in ROWS for size in SIZES if size <= row.most]
    longest_first = sorted(wanted, key=lambda each: -each[1])
    with (
        TemporaryDirectory(prefix="image-drop-") as folder,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads,
    ):
        for number in range(FILES):
            Image.new("1", (256, 256)).save(Path(folder) / f"{number:04}.png")
        run = partial(_run, folder)
        taken = dict(zip(longest_first, threads.map(run, longest_first), strict=True))
    figures = {key: taken[key] for key in wanted}
    draw(PLOT, figures)
    text = section(figures)
    page.put("million", text)
    print(text)


def section(figures: Mapping[tuple[Row, int], Figures]) -> str:
    """Return the section of `README.md`."""
    head = ("what", "images", "CPU", "memory", "requests to AWS", "CPU grows")
    rows = [
        (
            row.what,
            f"{size:,}",
            _seconds(each["cpu"]),
            f"{each['peak'] / 1e6:.1f} MB",
            f"{each['requests']:,}",
            _growth(figures, row, size),
        )
        for (row, size), each in figures.items()
    ]
    return f"""## A million images

`python -m benchmarks.million` runs the commands' and the function's own code between stand-ins for
AWS that compute what they answer. {machine.described()}. Memory is the peak above what is resident
before, CPU includes that of the stand-ins. The last column is the exponent between this row and the
one before: 1 is linear, 0 constant.

`put` finds real files: {FILES:,} tiny ones, whose folder it reads again for a longer list. It plans
and sends at most 100,000, because each takes the same work. The backfill's bucket has results for
nine in ten images; it goes on, in virtual time, until the others are edited as well, at 20 a
minute. Its memory includes the stand-in for the queue, with up to 28,800 messages.

{page.table(head, rows)}

![Cost against size](results/million.svg)"""


def draw(path: Path, figures: Mapping[tuple[Row, int], Figures]) -> None:
    """Draw CPU, memory and requests against the number of images."""
    import matplotlib as mpl  # of the group `bench`, which the tests do without
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.3), layout="constrained")
    panels = (
        ("CPU, seconds", "cpu", 1.0, "log"),
        ("memory, MB", "peak", 1e-6, "linear"),
        ("requests to AWS", "requests", 1.0, "log"),
    )
    for axes, (title, name, unit, scale) in zip(figure.subplots(1, 3), panels, strict=True):
        for row, colour in zip(ROWS, COLOURS, strict=True):
            points = [
                (size, figures[key][name]) for key in figures for size in (key[1],) if key[0] == row
            ]
            sizes, values = zip(*points, strict=True)
            if any(values):
                axes.plot(
                    sizes,
                    [value * unit for value in values],
                    color=colour,
                    marker="o",
                    label=row.what.replace("`", ""),
                )
        axes.set(title=title, xlabel="images", xscale="log", yscale=scale)
        axes.spines[["top", "right"]].set_visible(False)
    lines, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, names, fontsize=8, loc="outside lower center", ncols=len(ROWS))
    # The same figures make the same file.
    with mpl.rc_context({"svg.hashsalt": "image-drop", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def _run(folder: str, wanted: tuple[Row, int]) -> Figures:
    row, size = wanted
    call = (f"benchmarks.million_runs:{row.function}", str(size), folder)
    taken = measured.run(*call, environment=_environment())
    return taken | ({"cpu": taken["own_cpu"]} if "own_cpu" in taken else {})


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_LOG_LEVEL": "WARNING"}


def _growth(figures: Mapping[tuple[Row, int], Figures], row: Row, size: int) -> str:
    before = figures.get((row, size // 10))
    return f"{log10(figures[row, size]['cpu'] / before['cpu']):.2f}" if before else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


if __name__ == "__main__":
    main()
