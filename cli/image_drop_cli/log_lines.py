"""What the functions have logged about an image, from CloudWatch Logs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from image_drop.storage.s3 import code_of

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

FUNCTIONS = ("upload", "retry")
DAYS = 30  # of logs that are searched; the template keeps them so long by default
MAX_LINES = 200
OWN = ("key", "message", "level", "timestamp", "location", "service", "sampling_rate")


@dataclass(frozen=True)
class LogLine:
    """A line of a function's log. `at`: seconds since 1970. `facts`: what else the line says."""

    at: float
    function: str
    message: str
    facts: Mapping[str, Any]


def lines_about(key: str, deployment: "Deployment") -> tuple[LogLine, ...]:
    """Return the lines about an image of the last 30 days, oldest first, at most 200 a function."""
    found = (line for name in FUNCTIONS for line in _lines(key, name, deployment))
    return tuple(sorted(found, key=lambda line: line.at))


def _lines(key: str, function: str, deployment: "Deployment") -> Iterator[LogLine]:
    pages = deployment.client("logs").get_paginator("filter_log_events")
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    events = pages.paginate(
        logGroupName=f"/aws/lambda/{deployment.name}-{function}",
        startTime=int((deployment.services.now() - DAYS * 86_400) * 1000),
        filterPattern=f'{{ $.key = "{quoted}" }}',
        PaginationConfig={"MaxItems": MAX_LINES},
    )
    try:
        for page in events:
            for event in page["events"]:
                if (line := _line(event, function, key)) is not None:
                    yield line
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":  # the function has logged nothing yet
            raise


def _line(event: Mapping[str, Any], function: str, key: str) -> LogLine | None:
    try:
        values = msgspec.json.decode(event["message"], type=dict[str, Any])
    except msgspec.MsgspecError:
        return None
    if values.get("key") != key:
        return None
    facts = {
        name: value
        for name, value in values.items()
        if name not in OWN and not name.startswith(("function_", "cold_", "xray", "correlation"))
    }
    return LogLine(event["timestamp"] / 1000, function, str(values.get("message", "")), facts)
