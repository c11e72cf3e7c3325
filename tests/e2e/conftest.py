"""The embedded stack and the simulated Venice, for one module of tests at a time."""

import os
from collections.abc import Iterator

import pytest

from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator
from tests.support.iam_requests import Requests


@pytest.fixture(scope="module", autouse=True)
def iam() -> Iterator[Requests]:
    """What this module's functions ask IAM for; our own reading has to agree with the emulator."""
    with pytest.MonkeyPatch.context() as patch:
        requests = Requests.recorded(patch)
        yield requests
    assert requests.otherwise() == []


@pytest.fixture(scope="module")
def venice() -> Iterator[Simulator]:
    with Simulator(limit=1000, pictures="fast") as simulator:
        yield simulator


@pytest.fixture(scope="module")
def stack(venice: Simulator) -> Iterator[Stack]:
    # Few processes: the tests share the machine, and each takes half a second of CPU to start.
    concurrency = (os.cpu_count() or 1) + 1
    with Stack(venice_url=venice.url, concurrency=concurrency) as stack:
        yield stack
