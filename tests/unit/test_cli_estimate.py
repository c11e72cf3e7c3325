"""How long an upload will take, as its progress bar says."""

from collections.abc import Callable
from typing import Any

import pytest

from image_drop.services import Services
from image_drop.uploads import Upload
from image_drop_cli.upload.estimate import Progress, estimate
from tests.support.account import INPUT_BUCKET
from tests.support.quiet_stack import quiet_stack


@pytest.fixture
def services(
    input_bucket: str, output_bucket: str, table: str, boto_client: Callable[[str], Any]
) -> Services:
    return quiet_stack(boto_client).deployment.services


def test_calls_beyond_free_ones_take_minute_for_each_twenty(services: Services) -> None:
    assert estimate({}, services) == Progress()
    assert estimate({"a": 20}, services) == Progress(pending=20, limit=20, seconds_left=0)
    assert estimate({"a": 21}, services).seconds_left == 60
    assert estimate({"a": 61}, services).seconds_left == 180


def test_slowest_model_counts(services: Services) -> None:
    services.limiter.set_limits({"fast": 600})
    progress = estimate({"fast": 600, "slow": 41}, services)
    assert progress == Progress(pending=641, limit=20, seconds_left=120)


def test_work_of_others_in_queue_comes_first(services: Services) -> None:
    for number in range(3):
        services.queue.send(Upload(INPUT_BUCKET, f"{number}.jpg"))
    assert estimate({"a": 2}, services).queued == 3
    assert estimate({"a": 2}, services).seconds_left == 0
    services.limiter.set_limits({"a": 2})
    assert estimate({"a": 2}, services).seconds_left == 60


def test_nobody_knows_how_long_processing_is_paused(services: Services) -> None:
    services.circuit_breaker.stop("account_unavailable", "Venice answered 402.", services.now())
    progress = estimate({"a": 1}, services)
    assert (progress.pending, progress.limit, progress.seconds_left) == (1, 20, None)
    assert progress.paused.startswith("Venice answered 402. It resumes by itself")
