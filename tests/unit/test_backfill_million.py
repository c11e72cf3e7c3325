"""A bucket of a million images is no more than time, for the backfill."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
NEW, LOST = 100_000, 900


def test_million_images_take_few_requests_and_little_memory() -> None:
    # A shell stands between: what pytest itself starts is counted with pytest's memory.
    run = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m tests.unit.million_images; exit $?', sys.executable],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    figures = json.loads(run.stdout.splitlines()[-1])

    assert figures["seen"] == 1_000_000
    assert figures["queued"] == NEW + LOST
    assert figures["requests"] <= 3000
    assert figures["peak_mib"] <= 256
    assert figures["most"] == 28_800  # 24 h × 60 min × 20 a minute
    assert figures["days"] <= 1.01 * (NEW + LOST) / 28_800
