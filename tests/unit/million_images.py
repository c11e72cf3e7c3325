"""A million images through the backfill, in virtual time; prints what it took, as JSON.

900,000 were edited before, but of every thousandth the result is lost; 100,000 are new. 20 a minute
are edited. Run as a process of its own, so that its memory can be measured.
"""

import json
import random
import resource
import sys
from dataclasses import replace
from datetime import datetime
from typing import Any

from image_drop import backfill
from image_drop.services import Services
from image_drop.state.rate_limit import RateLimiter
from image_drop.state.records import Records
from image_drop.state.scans import ScanStore
from image_drop.storage.input_bucket import InputBucket
from image_drop.storage.output_bucket import OutputBucket
from image_drop.storage.retry_queue import RetryQueue
from tests.support.clock import FakeClock
from tests.unit.virtual_aws import S3, Numbered, Sqs, Table, time

NUMBER, OLD, LOST_OF = 1_000_000, 900_000, 1000
TICK = 300.0  # seconds; template.yaml: rate(5 minutes)
A_TICKS_WORK = 5 * 20  # edits
UPLOADED, EDITED = time(0), time(1)
ENV = {
    "INPUT_BUCKET": "in",
    "OUTPUT_BUCKET": "out",
    "RETRY_QUEUE_URL": "retry",
    "DEAD_LETTER_QUEUE_URL": "dead",
    "STATE_TABLE": "state",
    "VENICE_API_KEY_PARAMETER": "/key",
}


def result_of(number: int) -> datetime | None:
    """When an image was edited. What the pass itself has edited lies behind it."""
    return EDITED if number % LOST_OF else None


def main() -> None:
    """One pass, from its beginning until all that it has queued is edited."""
    clock, sqs, table = FakeClock(), Sqs(), Table()
    inputs = Numbered("photos/{:07}.jpg".format, NUMBER, lambda _: UPLOADED)
    outputs = Numbered("photos/{:07}.jpg.png".format, OLD, result_of)
    aws: Any = {"s3": S3({"in": inputs, "out": outputs}), "sqs": sqs, "table": table}
    services = replace(
        Services.from_env(ENV, now=clock.now, sleep=clock.sleep),
        input_bucket=InputBucket(aws["s3"]),
        output_bucket=OutputBucket(aws["s3"], "out"),
        queue=RetryQueue(aws["sqs"], "retry", "dead"),
        limiter=RateLimiter(aws["table"], "state", clock.now, clock.sleep, random.Random(1)),
        scans=ScanStore(aws["table"], "state"),
        records=Records(aws["table"], "state", clock.now, clock.sleep, random.Random(1)),
    )
    begun, most = clock.now(), 0
    while (done := backfill.run(services, lambda: 240.0)) and (done.running or sqs.bodies):
        most = max(most, len(sqs.bodies))
        clock.sleep(TICK)
        sqs.take(A_TICKS_WORK)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = kilobytes / 1024 / (1024 if sys.platform == "darwin" else 1)  # macOS counts bytes
    figures = {
        "seen": done and done.seen,
        "queued": done and done.queued,
        "days": (clock.now() - begun) / 86_400,
        "most": most,
        "requests": inputs.requests.total() + outputs.requests.total(),
        "peak_mib": peak,
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
