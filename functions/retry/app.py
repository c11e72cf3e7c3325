"""SQS messages: edit, wait until Venice allows it, or give up at the last try."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from image_drop.cold_start import quick_imports

with quick_imports():
    from aws_lambda_powertools.utilities.batch import (
        BatchProcessor,
        EventType,
        process_partial_response,
    )

    from image_drop import retry
    from image_drop.invocation import Invocation
    from image_drop.services import Services

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

MAX_SLOT_WAIT = 1.0  # seconds to wait for a slot; in the queue, waiting is free


@cache
def services() -> Services:
    """Return the services, made at the first event and kept as long as the environment."""
    return Services.from_env(os.environ)


def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Work on a batch, and return the messages that stay in the queue."""
    # Report failures instead of raising them: errors make Lambda slow down the whole queue.
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response(event, record_handler, processor, context)


def record_handler(record: "SQSRecord", lambda_context: "LambdaContext") -> None:
    """Work on one message. Raise an error when it stays in the queue."""
    receives = int(record.attributes.approximate_receive_count)
    sent_at = int(record.attributes.sent_timestamp) / 1000
    invocation = Invocation(lambda_context, MAX_SLOT_WAIT, record.message_id, receives, sent_at)
    retry.edit_or_postpone(record.body, record.receipt_handle, services(), invocation)
