"""What the first event of a fresh upload function waits for: its imports and its services.

    python -m benchmarks.cold_start [--rounds N]

It is compared with importing only boto3, requests and Pillow and making an S3 client, which every
such function needs. Both come from the layers as they are uploaded. Fresh processes in turns;
a figure is the least of the rounds. Also measures the start of the conversion process. Writes the
section of `README.md`.
"""

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import machine, measured, page
from image_drop_cli.deploying import layer_build

ROUNDS = 15
STOP = (
    "import os; os._exit(0)"  # Lambda keeps the process: what its end takes is no part of a start
)
PROGRAMS = {
    "interpreter": "",
    "alone": "import boto3, requests, PIL.Image; boto3.client('s3')",
    "function": "import app; app.services()",
    "all clients": (
        "import app; s = app.services(); s.queue.sqs.meta, s.bus.events.meta, s.api_key.ssm.meta"
    ),
    "conversion": (  # what `conversion_process` starts, until it begins with a JPEG
        "from image_drop.imaging import conversion; "
        "conversion._import_all_for(bytes.fromhex('ffd8ff'))"
    ),
}
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "INPUT_BUCKET": "in",
    "OUTPUT_BUCKET": "out",
    "RETRY_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/retry",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
    "STATE_TABLE": "state",
    "VENICE_API_KEY_PARAMETER": "/image-drop/venice-api-key",
    "POWERTOOLS_SERVICE_NAME": "image-drop",
}


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with TemporaryDirectory(prefix="image-drop-") as folder:
        environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(built(Path(folder)))}
        started(environment)  # the first time, the files are read from the disk
        taken = [started(environment) for _ in range(rounds)]
    figures = {
        "machine": machine.described(),
        "rounds": rounds,
        "least": {name: least(taken, name) for name in PROGRAMS},
    }
    page.put("cold start", section(figures))
    print(section(figures))


def built(folder: Path) -> list[str]:
    """Build the layers; return where Python finds a function and its packages, as on Lambda."""
    layers = measured.PROJECT / "layers"
    names = {machine: architecture for architecture, machine in layer_build.MACHINES.items()}
    architecture = names[platform.machine()]
    layer_build.build_runtime(layers / "runtime/requirements.txt", architecture, folder / "runtime")
    layer_build.build_code(layers / "image_drop/image_drop", folder / "code")
    packages = [str(folder / name / "python") for name in ("runtime", "code")]
    return [str(measured.PROJECT / "functions" / "upload"), *packages]


def started(environment: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Run each program once, with Python's own packages and those of the layers only."""
    command = ("--whole", sys.executable, "-S", "-P", "-c")
    return {
        name: measured.run(*command, f"{program}\n{STOP}", environment=environment)
        for name, program in PROGRAMS.items()
    }


def least(taken: Sequence[Mapping[str, Mapping[str, float]]], name: str) -> dict[str, float]:
    """Return the least of each figure, because other programs can only add to the same work."""
    return {kind: min(one[name][kind] for one in taken) for kind in ("cpu", "wall", "peak")}


def ratio(figures: Mapping[str, Any], name: str) -> float:
    """Return the ratio of CPU time to that of the libraries alone, without the interpreter."""
    cpu = {program: least["cpu"] for program, least in figures["least"].items()}
    return float((cpu[name] - cpu["interpreter"]) / (cpu["alone"] - cpu["interpreter"]))


def section(figures: Mapping[str, Any]) -> str:
    """Return the section of `README.md`."""
    words = {
        "interpreter": "the interpreter alone",
        "alone": "boto3, requests and Pillow, an S3 client",
        "function": "the upload function and its services",
        "all clients": "and all of its five clients",
        "conversion": "the conversion process, for a JPEG",
    }
    rows = [
        (
            text,
            f"{figures['least'][name]['cpu'] * 1000:.0f} ms",
            f"{figures['least'][name]['wall'] * 1000:.0f} ms",
            f"{figures['least'][name]['peak'] / 1e6:.0f} MB",
            "" if name in ("interpreter", "conversion") else f"{ratio(figures, name):.2f}",
        )
        for name, text in words.items()
    ]
    return f"""## Cold start

What the first event of a fresh upload function waits for, compared with the least that such a
function could do: import boto3, requests and Pillow, and make an S3 client (`python -m
benchmarks.cold_start`). All of it comes from the layers as they are uploaded, with their
bytecode. {figures["machine"]}; {figures["rounds"]} rounds of fresh processes in turns, and the
least of each figure, because other programs can only add to it. The ratio does not include the bare
interpreter. Goals: a ratio of 1.15, and 100 ms of CPU for the conversion process.

{page.table(("what is started", "CPU", "clock", "memory", "ratio of CPU"), rows)}

Of botocore's 400 services, the runtime layer holds those that are used, because botocore lists all
of them at each start; every row has that advantage. The services make their clients of SSM, SQS and
EventBridge at their first use: a photo that is edited at once needs no queue, and one that goes to
the queue needs neither the key nor the bus. The fourth row makes all of them."""


if __name__ == "__main__":
    main()
