"""The upload function on an event, as Lambda calls it; its environment is that of the function."""

import time
from dataclasses import dataclass
from typing import Any

from botocore.client import BaseClient

from functions.upload import app

_spent = {"aws_requests": 0.0, "aws_cpu": 0.0}
_call_aws = BaseClient._make_api_call  # type: ignore[attr-defined]  # every request goes through it


def _metered(*arguments: Any) -> Any:
    began = time.process_time()
    try:
        return _call_aws(*arguments)
    finally:
        _spent["aws_requests"] += 1
        _spent["aws_cpu"] += time.process_time() - began


BaseClient._make_api_call = _metered  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Context:
    """The part of Lambda's context that the functions use."""

    aws_request_id: str = "11111111-2222-3333-4444-555555555555"

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left of the invocation, in ms."""
        return 300_000


def set_up(bucket: str, warm_up: str, _: str) -> None:
    """Edit another photo first, as a warm function has done."""
    _edit(bucket, warm_up)


def edit(bucket: str, _: str, photo: str) -> dict[str, float]:
    """Edit one photo; return its requests to AWS, and the CPU that they took in boto3."""
    before = dict(_spent)
    _edit(bucket, photo)
    return {name: spent - before[name] for name, spent in _spent.items()}


def _edit(bucket: str, key: str) -> None:
    place = {"bucket": {"name": bucket}, "object": {"key": key}}
    event = {"Records": [{"eventName": "ObjectCreated:Put", "s3": place}]}
    outcome = app.handler(event, Context())  # type: ignore[arg-type]
    if outcome != {key: "edited"}:
        raise RuntimeError(f"the upload function answered {outcome}")
