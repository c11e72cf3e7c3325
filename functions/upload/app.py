"""S3 events: edit now if a slot is free, otherwise put the image into the retry queue."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from image_drop.cold_start import quick_imports

with quick_imports():
    from image_drop import retry, uploads
    from image_drop.invocation import Invocation
    from image_drop.services import Services

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MAX_SLOT_WAIT = 2.0  # seconds to wait for a slot; beyond that, a queued message is cheaper


@cache
def services() -> Services:
    """Return the services, made at the first event and kept as long as the environment."""
    return Services.from_env(os.environ)


def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, str]:
    """Work on each upload of an S3 notification, and return how each ended, by key."""
    s = services()
    return {
        upload.key: retry.edit_or_queue(upload, s, Invocation(context, MAX_SLOT_WAIT))
        for upload in uploads.from_event(event, s.settings.input_prefix)
    }
