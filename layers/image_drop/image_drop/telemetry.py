"""Logs and metrics: JSON lines on standard output, which CloudWatch reads by itself.

Powertools reads the service name, which distinguishes two stacks, from `POWERTOOLS_SERVICE_NAME`.

Log keys and outcomes, never prompts, image bytes, the API key, signed URLs or whole events.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from botocore.exceptions import BotoCoreError, ClientError

from image_drop.errors import InProgressError, StorageBusyError

NAMESPACE = "ImageDrop"
UNITS = {
    "Duration": MetricUnit.Seconds,
    "VeniceLatency": MetricUnit.Seconds,
}

logger = Logger()


def measure(values: Mapping[str, float], **dimensions: str) -> None:
    """Write metrics in CloudWatch's embedded format, in one line; no API is called."""
    metrics = EphemeralMetrics(namespace=NAMESPACE)
    for name, text in dimensions.items():
        metrics.add_dimension(name, text)
    for name, value in values.items():
        metrics.add_metric(name, UNITS.get(name, MetricUnit.Count), value)
    metrics.flush_metrics()


@contextmanager
def never_failing(what: str) -> Iterator[None]:
    """Log AWS's failures instead of raising them, where the body must not decide the outcome."""
    try:
        yield
    except (StorageBusyError, InProgressError, ClientError, BotoCoreError) as error:
        logger.error(what, error=type(error).__name__)
