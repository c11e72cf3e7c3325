"""What Image Drop costs compared with the script in Venice's guide.

    python -m benchmarks.overhead [--runs N]

Both edit the same photos through the same simulator of Venice, which runs in another process, in
turns; a figure is the median of the runs, a ratio the median of the ratios of two neighbours.
Writes the section of `README.md`.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import boto3

from benchmarks import machine, measured, page, photos, versions
from image_drop_local.emulator.stack import ACCESS_KEY, REGION, SECRET_KEY, STACK_NAME

RUNS = 5
LARGE_RUNS = 3

Figures = dict[str, float]


def main() -> None:
    """Run everything and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="image-drop-")))
        # In a process of its own, whose memory is given back.
        subprocess.run([sys.executable, "-m", "benchmarks.photos", folder], check=True)
        (unpacked := folder / "first").mkdir()
        ours = {"function": versions.THIS, "first": versions.first(unpacked)}
        # Each has an account of its own: what others use of a limit costs requests to learn.
        deployed = {
            name: stack.enter_context(Deployed.running(stack.enter_context(simulator()), version))
            for name, version in ours.items()
        }
        venice = stack.enter_context(simulator())
        figures = {
            "machine": machine.described(),
            "runs": runs,
            "photos": [beside(size, folder, venice, deployed, runs) for size in photos.SIZES],
            "large": large(folder),
        }
    page.put("overhead", section(figures))
    print(section(figures))


def beside(
    size: photos.Size,
    folder: Path,
    venice: Mapping[str, str],
    deployed: Mapping[str, "Deployed"],
    runs: int,
) -> dict[str, Any]:
    """Return the figures of each way to edit one photo; each run does all of them once."""
    photo, edited = str(folder / f"{size.name}.jpg"), str(folder / "edited.png")
    here = Path(__file__).parent
    taken: dict[str, list[Figures]] = {}
    for number in range(runs):
        for name in ("guide", "layer"):
            call = (f"benchmarks.{name}_script:edit", photo, edited)
            taken.setdefault(name, []).append(measured.run(*call, environment=venice))
            command = ("--whole", sys.executable, str(here / f"{name}_script.py"), photo, edited)
            taken.setdefault(f"{name} process", []).append(
                measured.run(*command, environment=venice)
            )
        for name, version in deployed.items():
            figures = version.edit(folder, size.name, number)
            figures["own_cpu"] = figures["cpu"] - figures["aws_cpu"]
            taken.setdefault(name, []).append(figures)
    return {
        "name": size.name,
        "pixels": size.width * size.height,
        "bytes": Path(photo).stat().st_size,
        "median": {name: _medians(figures) for name, figures in taken.items()},
        "ratio": {
            "layer": _ratios(taken["layer"], taken["guide"]),
            "layer process": _ratios(taken["layer process"], taken["guide process"]),
            "function": _ratios(taken["function"], taken["guide"]),
            "first": _ratios(taken["first"], taken["guide"]),
        },
    }


def large(folder: Path) -> dict[str, float]:
    """Return the worst figures of preparing a photo that Venice would refuse for its size."""
    photo = folder / f"{photos.LARGE.name}.jpg"
    call = ("benchmarks.layer_script:prepare", str(photo), str(folder / "prepared.jpg"))
    taken = [measured.run(*call, environment=_base(), one_core=True) for _ in range(LARGE_RUNS)]
    return {
        "pixels": photos.LARGE.width * photos.LARGE.height,
        "bytes": photo.stat().st_size,
        "cpu": max(run["cpu"] for run in taken),
        "wall": max(run["wall"] for run in taken),
        # Of the function and of its conversion process: both are there at the same time.
        "peak": max(run["whole_peak"] + run["children_peak"] for run in taken),
    }


# --- what they run against -----------------------------------------------------------------


@contextmanager
def simulator() -> Iterator[dict[str, str]]:
    """Run Venice's simulator in another process, and yield the environment for it."""
    command = ("-m", "image_drop_local.simulator", "--port", "0", "--set", "limit=100000")
    with _serving(versions.THIS, *command) as answer:
        url = answer(r"(http\S+)")
        yield _base() | {"VENICE_BASE_URL": url, "VENICE_API_KEY": "local"}


class Deployed:
    """The deployed template in another process, whose upload function is called here instead."""

    def __init__(
        self, version: versions.Version, endpoint_url: str, bucket: str, venice: Mapping[str, str]
    ) -> None:
        self._version = version
        session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
        self._s3: Any = session.client("s3", endpoint_url=endpoint_url)
        self._bucket = bucket
        # Nothing but this benchmark is to work on what is dropped.
        self._s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
        stack = session.client("cloudformation", endpoint_url=endpoint_url)
        found = stack.describe_stack_resource(
            StackName=STACK_NAME, LogicalResourceId="UploadFunction"
        )
        upload = session.client("lambda", endpoint_url=endpoint_url).get_function_configuration(
            FunctionName=found["StackResourceDetail"]["PhysicalResourceId"]
        )
        self._environment = {
            **venice,
            **upload["Environment"]["Variables"],
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    @classmethod
    @contextmanager
    def running(cls, venice: Mapping[str, str], version: versions.Version) -> Iterator["Deployed"]:
        """Run until the context ends."""
        environment = {**venice, "PORT": "0"}
        with _serving(version, "-m", version.emulator, **environment) as answer:
            aws, bucket = answer(r"AWS +(http\S+)"), answer(r"InputBucketName +(\S+)")
            yield cls(version, aws, bucket, venice)

    def edit(self, folder: Path, name: str, number: int) -> Figures:
        """Return the upload function's figures for a photo, after a small one as a warm-up."""
        keys = []
        for photo, use in ((photos.SIZES[0].name, "warm up"), (name, "measure")):
            keys.append(f"{name} {number} {use}.jpg")
            prompt = f"Remove the cup: {keys[-1]}"  # the same again would be reused, unpaid
            metadata = {"mode": "edit", "prompt": prompt}
            with (folder / f"{photo}.jpg").open("rb") as file:
                self._s3.put_object(Bucket=self._bucket, Key=keys[-1], Body=file, Metadata=metadata)
        call = ("benchmarks.handler_script:edit", self._bucket, *keys)
        return measured.run(
            *call,
            environment=self._environment,
            python=str(self._version.python),
            project=self._version.folder,
        )


@contextmanager
def _serving(version: versions.Version, *arguments: str, **environment: str) -> Iterator[Any]:
    """Run a version's interpreter with these arguments until the context ends.

    Yield a function that reads lines until one matches, and returns its first group.
    """
    with subprocess.Popen(
        [version.python, *arguments],
        cwd=version.folder,
        env=_base() | environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def answer(pattern: str) -> str:
            assert process.stdout
            for line in process.stdout:
                if found := re.search(pattern, line):
                    return found[1]
            raise RuntimeError(f"{' '.join(arguments)} ended before it said {pattern}")

        try:
            yield answer
        finally:
            process.terminate()
            process.communicate()  # it says goodbye


def _base() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


# --- figures -------------------------------------------------------------------------------


def _medians(taken: Sequence[Figures]) -> Figures:
    return {name: median(figures[name] for figures in taken) for name in taken[0]}


def _ratios(ours: Sequence[Figures], theirs: Sequence[Figures]) -> Figures:
    pairs = list(zip(ours, theirs, strict=True))
    ratios = {name: median(a[name] / b[name] for a, b in pairs) for name in ("cpu", "peak")}
    if "own_cpu" in ours[0]:
        ratios["own_cpu"] = median(a["own_cpu"] / b["cpu"] for a, b in pairs)
    return ratios


def section(figures: Mapping[str, Any]) -> str:
    """Return the section of `README.md`."""
    large, taken = figures["large"], figures["photos"]
    return f"""## Overhead: compared with the script of Venice's guide

`python -m benchmarks.overhead` edits the same photos with the script that Venice's guide shows
(`guide_script.py`: read the file, base64 into JSON, `requests.post`, write the answer) and with
Image Drop, through a simulator in another process, which answers about 1 MB.
{figures["machine"]}; {figures["runs"]} runs in turns, medians; a ratio is the median of the ratios
of neighbours, Image Drop's figure by the script's. CPU is user and system time, because the machine
may be busy with other things.

**The edit**, from file to file, above what is resident after the imports (`layer_script.py`).
Goal for photos over 1 MB: a ratio of 1.0. Image Drop reads the header and checks the answer, but
makes no base64.

{_compared(taken, "guide", "layer")}

**The process** around it, with interpreter and imports, measured from outside.

{_compared(taken, "guide process", "layer process")}

**The upload function** on its event, when it is warm, compared with the script's edit. It also
finds the instructions, takes a slot, notes the call, fetches the photo from S3 and stores the
result there; each of these requests costs boto3 a few ms. They go to the emulator, in another
process. "Own" is the CPU time outside of boto3's calls. Beside it, in the same run, the first
version of Image Drop (commit {versions.FIRST[:7]}). Goals: 16 requests, a ratio of 2.2 for 0.3 MB
and of 0.8 for 4.8 MB.

{_function(taken)}

**A JPEG of {large["pixels"] / 1e6:.1f} megapixels** ({large["bytes"] / 1e6:.1f} MB), more than
Venice accepts, is shrunk in {large["cpu"]:.2f} s of CPU on one core ({large["wall"]:.2f} s by the
clock) and {large["peak"] / 1e6:.0f} MB, function and conversion process together; the worst of
{LARGE_RUNS} runs. Goal: 4 s and 700 MB."""


def _compared(taken: Sequence[Mapping[str, Any]], theirs: str, ours: str) -> str:
    head = ("photo", "CPU: guide", "Image Drop", "ratio", "memory: guide", "Image Drop", "ratio")
    rows = []
    for photo in taken:
        guide, drop, ratio = photo["median"][theirs], photo["median"][ours], photo["ratio"][ours]
        cpu = (_ms(guide["cpu"]), _ms(drop["cpu"]), f"{ratio['cpu']:.2f}")
        memory = (_mb(guide["peak"]), _mb(drop["peak"]), f"{ratio['peak']:.2f}")
        rows.append((_name(photo), *cpu, *memory))
    return page.table(head, rows)


def _function(taken: Sequence[Mapping[str, Any]]) -> str:
    head = (
        *("photo", "version", "requests to AWS", "time", "CPU", "ratio"),
        *("own CPU", "ratio", "memory", "ratio"),
    )
    rows = []
    for photo in taken:
        for version, name in (("this", "function"), ("first", "first")):
            drop, ratio = photo["median"][name], photo["ratio"][name]
            cpu = (_ms(drop["wall"]), _ms(drop["cpu"]), f"{ratio['cpu']:.2f}")
            own = (_ms(drop["own_cpu"]), f"{ratio['own_cpu']:.2f}")
            memory = (_mb(drop["peak"]), f"{ratio['peak']:.2f}")
            requests = f"{drop['aws_requests']:.0f}"
            rows.append((_name(photo), version, requests, *cpu, *own, *memory))
    return page.table(head, rows)


def _name(photo: Mapping[str, Any]) -> str:
    return f"{photo['bytes'] / 1e6:.1f} MB, {photo['pixels'] / 1e6:.1f} MP"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _mb(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
