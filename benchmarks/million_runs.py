"""What `million` measures, one function for each row: the commands' own code, AWS computed.

Each takes the number of images, and returns how many requests it made. A process of its own calls
it (`measured`). Nothing of the stand-ins grows with the number of images, so memory is the code's.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import batched, repeat
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, override

import boto3

from image_drop_cli.aws import Aws
from image_drop_cli.deployment import PARAMETERS, Deployment
from image_drop_cli.overview import gather
from image_drop_cli.upload.folders import LocalFile, local_files
from image_drop_cli.upload.run import CHECKS, UploadRun
from image_drop_cli.upload.waiting_list import PendingResult, WaitingList
from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.errors import client_error
from tests.simulation.aws.s3 import S3
from tests.unit.million_images import scan

THOUSAND = 1000
FILES = 10_000  # real files; a longer listing reads their folder again
LOOKS = 1000
OUTPUTS = {
    "InputBucketName": "in",
    "OutputBucketName": "out",
    "RetryQueueUrl": "retry",
    "DeadLetterQueueUrl": "dead",
    "StateTableName": "state",
}
INSTRUCTIONS = {"mode": "background-remove"}

Figures = dict[str, float]


def plan(number: str) -> Figures:
    """Read so many directory entries, and settle the key and the sidecar of each."""
    with _folder(int(number)) as files:
        found = sum(1 for _ in files)
    assert found == int(number)
    return {"images": found, "requests": 0}


def send(number: str) -> Figures:
    """Send so many files, each with a sidecar, as `put --no-wait` does."""
    requests: Counter[str] = Counter()
    deployment = _deployment(requests, int(number))
    with _folder(int(number)) as files:
        run = UploadRun(deployment, None, follow=False)
        sent = sum(1 for event in run.events(files) if event)
    return {"images": sent, "requests": requests.total()}


def follow(number: str) -> Figures:
    """Look a thousand times at which of so many results are due, after all of them were sent."""
    waiting = WaitingList()
    numbers = range(int(number))
    for some in batched(numbers, THOUSAND, strict=False):
        waiting.add(PendingResult(f"photos/{each:07}.jpg", None, 0.0) for each in some)
    began = time.process_time()
    for moment in range(LOOKS):
        waiting.due(moment, 10.0, CHECKS)
        assert waiting.counts()
    taken = time.process_time() - began
    waiting.close()
    return {"images": int(number), "requests": 0, "own_cpu": taken}


def status(number: str) -> Figures:
    """Gather what `status` shows of a stack with so many results and queued images."""
    requests: Counter[str] = Counter()
    overview = gather(_deployment(requests, int(number)))
    assert overview.queue.total == int(number)
    assert overview.last_hour.results == int(number)
    return {"images": int(number), "requests": requests.total()}


def backfill(number: str) -> Figures:
    """Go through a bucket of which nine in ten images were edited before, until all are."""
    requests: Counter[str] = Counter()
    figures = scan(int(number), partial(Counting, requests))
    assert figures["seen"] == int(number)
    return {"images": figures["seen"], "requests": requests.total()}


@dataclass(frozen=True)
class Counting:
    """A client in front of another; `requests` counts its operations."""

    requests: Counter[str]
    client: Any

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        if name in ("meta", "exceptions", "get_paginator"):
            return found
        return partial(self._request, name, found)

    def _request(self, name: str, act: Any, **given: Any) -> Any:
        self.requests[name] += 1
        return act(**given)


class EmptyBucket(S3):
    """S3 that takes everything and has nothing."""

    @override
    def head_object(self, **_: object) -> Any:
        raise client_error("404", 404, "HeadObject")

    @override
    def put_object(self, **_: object) -> dict[str, Any]:
        return {"ETag": '"etag"'}


@dataclass
class Queues:
    """SQS with so many messages in the retry queue, and none that is dead."""

    number: int

    def get_queue_attributes(self, *, QueueUrl: str, **_: object) -> dict[str, Any]:
        names = ("", "NotVisible", "Delayed")
        here = self.number if QueueUrl == "retry" else 0
        counts = zip(names, (here, 0, 0), strict=True)
        return {"Attributes": {f"ApproximateNumberOfMessages{name}": str(n) for name, n in counts}}


@dataclass
class Metrics:
    """CloudWatch with a metric of each mode; one has so many results. Counts its own pages."""

    requests: Counter[str]
    number: int

    def get_paginator(self, _: str) -> "Metrics":
        return self

    def paginate(self, *, MetricName: str, Dimensions: Any, **_: object) -> Iterator[Any]:
        self.requests["list_metrics"] += 1
        mode = {"Name": "mode", "Value": "edit"}
        yield {"Metrics": [{"MetricName": MetricName, "Dimensions": [mode, *Dimensions]}]}

    def get_metric_data(self, *, MetricDataQueries: Any, **_: object) -> dict[str, Any]:
        edited, failed = MetricDataQueries
        values = ((edited, [float(self.number)]), (failed, [0.0]))
        return {
            "MetricDataResults": [{"Id": each["Id"], "Values": found} for each, found in values]
        }

    def get_metric_statistics(self, **_: object) -> dict[str, Any]:
        return {"Datapoints": [{"Timestamp": datetime.now(UTC), "Minimum": 12.0}]}


class Account:
    """Lambda's limits of a new account."""

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": 10}}


def _deployment(requests: Counter[str], number: int) -> Deployment:
    clients = {
        "s3": EmptyBucket(time.time, lambda *_: None),
        "sqs": Queues(number),
        "dynamodb": DynamoDB(time.time, Random(1)),
        "cloudwatch": Metrics(requests, number),
        "lambda": Account(),
    }
    counting = {name: Counting(requests, client) for name, client in clients.items()}
    given = dict.fromkeys(PARAMETERS.values(), "") | {"VeniceApiKeyParameter": "/key"}
    return Deployment("image-drop", Aws(boto3.Session(), None, counting), OUTPUTS, given)


@contextmanager
def _folder(number: int) -> Iterator[Iterator[LocalFile]]:
    """Yield the listing of a folder with tiny files, as often as it takes for so many."""
    real = min(number, FILES)
    with TemporaryDirectory(prefix="image-drop-") as name:
        for each in range(real):
            (Path(name) / f"{each:07}.jpg").write_bytes(b"a photo")
        found = local_files(repeat(Path(name), number // real), instructions=INSTRUCTIONS)
        yield (each for each in found if isinstance(each, LocalFile))
