"""What the first event of a fresh upload function waits for: its imports and its services.

    python -m benchmarks.cold_start [--rounds N]

It is compared with importing only boto3, requests and Pillow and making an S3 client, which every
such function needs. Fresh processes in turns; a figure is the least of the rounds. Writes
`results/cold_start.json` and the section of `README.md`.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import machine, measured, page

ROUNDS = 25
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
}
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(measured.PROJECT / "functions" / "upload"),  # as Lambda finds `app`
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
    started()  # the first time, Python compiles what it imports, which it does not on Lambda
    taken = [started() for _ in range(rounds)]
    figures = {
        "machine": machine.described(),
        "rounds": rounds,
        "least": {name: least(taken, name) for name in PROGRAMS},
    }
    page.put("cold start", section(figures))
    print(section(figures))


def started() -> dict[str, dict[str, float]]:
    """Return each program once."""
    return {
        name: measured.run(
            "--whole", sys.executable, "-c", f"{program}\n{STOP}", environment=ENVIRONMENT
        )
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
    }
    rows = [
        (
            text,
            f"{figures['least'][name]['cpu'] * 1000:.0f} ms",
            f"{figures['least'][name]['wall'] * 1000:.0f} ms",
            f"{figures['least'][name]['peak'] / 1e6:.0f} MB",
            "" if name == "interpreter" else f"{ratio(figures, name):.2f}",
        )
        for name, text in words.items()
    ]
    return f"""## Cold start

What the first event of a fresh upload function waits for, compared with the least that such a
function could do: import boto3, requests and Pillow, and make an S3 client (`python -m
benchmarks.cold_start`). {figures["machine"]}; {figures["rounds"]} rounds of fresh processes in
turns, and the least of each figure, because other programs can only add to it. The ratio does not
include the bare interpreter. Goal: 1.3.

{page.table(("what is started", "CPU", "clock", "memory", "ratio of CPU"), rows)}

The services make their clients of SSM, SQS and EventBridge at their first use: a photo that is
edited at once needs no queue, and one that goes to the queue needs neither the key nor the bus.
The last row makes all of them."""


if __name__ == "__main__":
    main()
