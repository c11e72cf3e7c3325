"""A million images through the backfill, in virtual time; prints what it took, as JSON.

900,000 were edited before, but of every thousandth the result is lost; 100,000 are new. 20 a minute
are edited. Run as a process of its own, so that its memory can be measured.
"""

import json
import random
import resource
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, override

from image_drop import backfill
from image_drop.services import Services
from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.others import Parameters
from tests.simulation.aws.s3 import S3
from tests.simulation.aws.sqs import Sqs
from tests.simulation.metered import Meter, Metered, MeteredTable
from tests.simulation.world import World

NUMBER, LOST_OF = 1_000_000, 1000
TICK = 300.0  # seconds; template.yaml: rate(5 minutes)
WORK_PER_TICK = 5 * 20  # edits
START = 1_800_000_000.0
UPLOADED = datetime.fromtimestamp(START, UTC)
EDITED = datetime.fromtimestamp(START + 60, UTC)
ENV = {
    "INPUT_BUCKET": "in",
    "OUTPUT_BUCKET": "out",
    "RETRY_QUEUE_URL": "retry",
    "DEAD_LETTER_QUEUE_URL": "dead",
    "STATE_TABLE": "state",
    "VENICE_API_KEY_PARAMETER": "/key",
}


@dataclass(frozen=True)
class Numbered:
    """A great many keys that are never all in memory.

    `key(number)` grows with the number. `written(number)`: when; None is not there.
    """

    key: Callable[[int], str]
    count: int
    written: Callable[[int], datetime | None]


@dataclass
class Computed(S3):
    """S3 of buckets whose keys are computed; the scan only lists them."""

    buckets: Mapping[str, Numbered] = field(default_factory=dict)

    @override
    def list_objects_v2(
        self, *, Bucket: str, Prefix: str = "", MaxKeys: int = 1000, StartAfter: str = ""
    ) -> dict[str, Any]:
        keys = self.buckets[Bucket]
        number = bisect_right(range(keys.count), max(StartAfter, Prefix), key=keys.key)
        found: list[dict[str, Any]] = []
        while number < keys.count and len(found) < MaxKeys:
            if (written := keys.written(number)) is not None:
                found.append({"Key": keys.key(number), "LastModified": written})
            number += 1
        return {"Contents": found, "IsTruncated": number < keys.count}


def work(queue: Sqs) -> None:
    """Edit what the limit allows in one tick."""
    for _ in range(WORK_PER_TICK):
        if taken := queue.take():
            queue.delete_message(QueueUrl=queue.url, ReceiptHandle=taken[0])


def scan(number: int, counted: Callable[[Any], Any] = lambda client: client) -> dict[str, Any]:
    """Return the figures of one scan of so many images, until all that it has queued is edited.

    Nine in ten were edited before. What the scan itself has edited lies behind it. `counted` puts
    something in front of each client.
    """
    world, meter = World(START, seed=1), Meter()
    s3 = Computed(
        world.now,
        lambda name, bucket, key: None,
        buckets={
            "in": Numbered("photos/{:07}.jpg".format, number, lambda _: UPLOADED),
            "out": Numbered(
                "photos/{:07}.jpg.png".format,
                number * 9 // 10,
                lambda number: EDITED if number % LOST_OF else None,
            ),
        },
    )
    queue = Sqs(world, "retry", "dead", 100, 1800.0)
    clients: dict[str, Any] = {
        "s3": Metered(world, meter, s3),
        "sqs": Metered(world, meter, queue),
        "dynamodb": MeteredTable(world, meter, DynamoDB(world.now, random.Random(1))),
        "ssm": Parameters("key"),
    }
    services = Services.from_env(
        ENV,
        now=world.now,
        sleep=world.sleep,
        rng=random.Random(1),
        client=lambda name: counted(clients[name]),
    )
    most = 0
    while (done := backfill.run(services, lambda: 240.0)) and (done.running or queue.messages):
        most = max(most, len(queue.messages))
        world.sleep(TICK)
        work(queue)
    return {
        "seen": done and done.seen,
        "queued": done and done.queued,
        "days": (world.now() - START) / 86_400,
        "most": most,
        "requests": meter["S3 PUT"] + meter["S3 GET"],
    }


def main() -> None:
    """Scan a million, and print what it took."""
    figures = scan(NUMBER)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = kilobytes / 1024 / (1024 if sys.platform == "darwin" else 1)  # macOS counts bytes
    sys.stdout.write(json.dumps(figures | {"peak_mib": peak}))


if __name__ == "__main__":
    main()
