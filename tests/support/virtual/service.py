"""The parts of AWS that Image Drop uses, in virtual time and behind boto3's calls.

Only what the project calls is here, one module for each service, as AWS's documentation describes
it. This one holds what they share. Their latencies are medians in seconds: assumed, from what is
commonly seen inside a region.
"""

from collections import defaultdict
from typing import Any

SPREAD = 0.4  # sigma of the log-normal latencies: one call in a hundred takes 2.5 times as long
DUPLICATES = 0.001  # of S3's events, and of SQS's deliveries


class Meter(defaultdict[str, float]):
    """What AWS would bill, by kind: requests, units, GB-seconds, bytes."""

    def __init__(self) -> None:
        super().__init__(int)


def failure(code: str, status: int) -> Any:
    """Return the answer that boto3 makes a `ClientError` of."""
    return {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
