"""What `million` measures, one function for each row: the commands' own code, AWS computed.

Each takes the number of images and a folder of `FILES` tiny files, and returns how many requests it
made. A process of its own calls it (`measured`). Of the stand-ins, only the retry queue holds what
was sent to it, which is a day of work at most. So the rest of the memory is the code's.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import batched
from pathlib import Path
from random import Random
from typing import Any, override

import boto3

from image_drop_cli.aws import Aws
from image_drop_cli.deployment import PARAMETERS, Deployment
from image_drop_cli.overview import gather
from image_drop_cli.upload.events import LeftAtHome, NotSent
from image_drop_cli.upload.folders import LocalFile, local_files, only_images
from image_drop_cli.upload.plan import plan_upload
from image_drop_cli.upload.run import CHECKS, UploadRun
from image_drop_cli.upload.waiting_list import PendingResult, WaitingList
from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.errors import client_error
from tests.simulation.aws.s3 import S3
from tests.unit.million_images import scan

FILES = 1000  # real ones; a longer listing reads their folder again
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


def find(number: str, folder: str) -> Figures:
    """Read so many directory entries, and settle the key and the sidecar of each."""
    found = sum(1 for _ in _listing(int(number), folder))
    assert found == int(number)
    return {"images": found, "requests": 0}


def plan(number: str, folder: str) -> Figures:
    """Plan so many files, as `put` does before it sends them."""
    requests: Counter[str] = Counter()
    planned = plan_upload(_listing(int(number), folder), _deployment(requests, int(number)))
    assert planned.calls == int(number)
    return {"images": planned.images, "requests": requests.total()}


def send(number: str, folder: str) -> Figures:
    """Send so many files, each with a sidecar, as `put --no-wait` does."""
    requests: Counter[str] = Counter()
    deployment = _deployment(requests, int(number))
    run = UploadRun(deployment, None, follow=False)
    sent = sum(1 for event in run.events(_listing(int(number), folder)) if event)
    return {"images": sent, "requests": requests.total()}


def follow(number: str, _: str) -> Figures:
    """Look a thousand times at which of so many results are due, after all of them were sent."""
    waiting = WaitingList()
    numbers = range(int(number))
    for some in batched(numbers, 1000, strict=False):
        waiting.add(PendingResult(f"photos/{each:07}.jpg", None, 0.0) for each in some)
    began = time.process_time()
    for moment in range(LOOKS):
        waiting.due(moment, 10.0, CHECKS)
        assert waiting.counts()
    taken = time.process_time() - began
    waiting.close()
    return {"images": int(number), "requests": 0, "own_cpu": taken}


def status(number: str, _: str) -> Figures:
    """Gather what `status` shows of a stack with so many results and queued images."""
    requests: Counter[str] = Counter()
    overview = gather(_deployment(requests, int(number)))
    assert overview.queue.total == int(number)
    assert overview.last_hour.results == int(number)
    return {"images": int(number), "requests": requests.total()}


def backfill(number: str, _: str) -> Figures:
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


@dataclass
class EmptyBucket(S3):
    """S3 that takes everything and has nothing. Counts its own pages."""

    requests: Counter[str] = field(default_factory=Counter)

    @override
    def head_object(self, **_: object) -> Any:
        raise client_error("404", 404, "HeadObject")

    def get_paginator(self, _: str) -> "EmptyBucket":
        return self

    def paginate(self, **_: object) -> Iterator[Any]:
        self.requests["list_objects_v2"] += 1
        yield {}

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
        "s3": EmptyBucket(time.time, lambda *_: None, requests=requests),
        "sqs": Queues(number),
        "dynamodb": DynamoDB(time.time, Random(1)),
        "cloudwatch": Metrics(requests, number),
        "lambda": Account(),
    }
    counting = {name: Counting(requests, client) for name, client in clients.items()}
    given = dict.fromkeys(PARAMETERS.values(), "") | {"VeniceApiKeyParameter": "/key"}
    return Deployment("image-drop", Aws(boto3.Session(), None, counting), OUTPUTS, given)


def _listing(number: int, folder: str) -> Iterator[LocalFile | LeftAtHome | NotSent]:
    """Yield the files of a folder with `FILES` files, as often as it takes, in as many folders."""
    for each in range(number // FILES):
        yield from only_images(local_files([Path(folder)], f"{each:04}", INSTRUCTIONS))
