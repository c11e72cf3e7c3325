"""A million images through the backfill, in virtual time; prints what it took, as JSON.

900,000 were edited before, but of every thousandth the result is lost; 100,000 are new. 20 a minute
are edited. Run as a process of its own, so that its memory can be measured.
"""

import json
import random
import resource
import sys
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import override

from image_drop import backfill
from image_drop.services import Services
from tests.support.virtual.dynamodb import DynamoDB
from tests.support.virtual.s3 import S3, Bucket
from tests.support.virtual.service import Meter
from tests.support.virtual.sqs import Queue
from tests.support.virtual.ssm import Parameters
from tests.support.virtual.world import World

NUMBER, OLD, LOST_OF = 1_000_000, 900_000, 1000
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


@dataclass
class Numbered(Bucket):
    """A bucket of a great many keys that are never all in memory.

    `key(number)` grows with the number. `written(number)`: when; None is not there.
    """

    key: Callable[[int], str] = str
    count: int = 0
    written: Callable[[int], datetime | None] = lambda number: None

    @override
    def page(self, prefix: str, start: str, size: int) -> tuple[list[tuple[str, datetime]], bool]:
        number = bisect_right(range(self.count), max(start, prefix), key=self.key)
        found: list[tuple[str, datetime]] = []
        while number < self.count and len(found) < size:
            if (written := self.written(number)) is not None:
                found.append((self.key(number), written))
            number += 1
        return found, number < self.count


def result_of(number: int) -> datetime | None:
    """When an image was edited. What the scan itself has edited lies behind it."""
    return EDITED if number % LOST_OF else None


def work(queue: Queue) -> None:
    """Edit what the limit allows in one tick."""
    for _ in range(min(WORK_PER_TICK, queue.size)):
        if taken := queue.take():
            queue.delete(taken[0])


def main() -> None:
    """One scan, from its beginning until all that it has queued is edited."""
    world, meter = World(START, seed=1), Meter()
    inputs = Numbered(key="photos/{:07}.jpg".format, count=NUMBER, written=lambda _: UPLOADED)
    outputs = Numbered(key="photos/{:07}.jpg.png".format, count=OLD, written=result_of)
    queue = Queue(world, meter, max_receive_count=100, duplicates=0.0)
    clients = {
        "s3": S3(world, meter, buckets={"in": inputs, "out": outputs}),
        "sqs": queue,
        "dynamodb": DynamoDB(world, meter),
        "ssm": Parameters(),
    }
    services = Services.from_env(
        ENV,
        now=world.now,
        sleep=world.sleep,
        rng=random.Random(1),
        client=clients.__getitem__,
    )
    most = 0
    while (done := backfill.run(services, lambda: 240.0)) and (done.running or queue.size):
        most = max(most, queue.size)
        world.sleep(TICK)
        work(queue)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = kilobytes / 1024 / (1024 if sys.platform == "darwin" else 1)  # macOS counts bytes
    figures = {
        "seen": done and done.seen,
        "queued": done and done.queued,
        "days": (world.now() - START) / 86_400,
        "most": most,
        "requests": inputs.requests.total() + outputs.requests.total(),
        "peak_mib": peak,
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
