"""What becomes of an edit that failed and may succeed later."""

import random
from typing import TYPE_CHECKING

from image_drop import pipeline, reports, uploads
from image_drop.errors import (
    AccountError,
    ImageDropError,
    LineStoppedError,
    NoSlotError,
    RetryableError,
)
from image_drop.services import Invocation
from image_drop.telemetry import logger

if TYPE_CHECKING:
    from image_drop.services import Services
    from image_drop.uploads import Upload

FIRST_BACK_OFF = 15.0  # seconds, the ceiling of the first random wait; it doubles with each try
LONGEST_BACK_OFF = 3600.0
JITTER = 2.0  # seconds that keep those apart who wait for the same moment
NO_FAILURE = (NoSlotError, LineStoppedError, AccountError)


def wait_for(error: ImageDropError, attempt: int, now: float, chance: random.Random) -> float:
    """Seconds until the next try: Venice's word, or full-jitter back-off, whichever is longer.

    `attempt` counts from 1. Waiting for a slot or for the account is no failure of the edit, and
    so does not back off.
    """
    named = max(0.0, (error.retry_at or now) - now) + chance.uniform(0, JITTER)
    if isinstance(error, NO_FAILURE):
        return named
    ceiling = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2.0 ** (attempt - 1))
    return max(named, chance.uniform(0, ceiling))


def edit_or_queue(upload: "Upload", services: "Services", invocation: Invocation) -> str:
    """Edit an upload now, or put it into the retry queue until its time; says which."""
    try:
        return pipeline.process(upload, services, invocation)
    except (RetryableError, AccountError) as error:
        wait = wait_for(error, invocation.attempt, services.now(), services.chance)
        services.queue.send(upload, wait)
        logger.info("queued", key=upload.key, code=error.code, status=error.status, wait=wait)
        return "queued"


def edit_or_postpone(
    body: str, receipt_handle: str, services: "Services", invocation: Invocation
) -> list[pipeline.Outcome]:
    """Work on one message of the retry queue; how each of its uploads ended.

    Raises when the message has to stay: it is hidden until its time by then, or, at the last try,
    reported and about to move to the dead-letter queue.
    """
    try:
        found = uploads.from_message(body)
    except uploads.UnreadableMessageError as error:
        logger.error("unreadable message", reason=str(error))
        services.queue.postpone(receipt_handle, 0)
        raise
    if len(found) > 1:  # one message, one image: so that each has its own tries
        for upload in found:
            services.queue.send(upload)
        return []
    try:
        return [pipeline.process(upload, services, invocation) for upload in found]
    except Exception as error:  # whatever it is, the message must get its time
        if postpone(found[0], _known(error), receipt_handle, services, invocation):
            raise
        return []


def postpone(
    upload: "Upload",
    error: ImageDropError,
    receipt_handle: str,
    services: "Services",
    invocation: Invocation,
) -> bool:
    """Hide a message until its next try, or report that this was the last one.

    Returns whether the message stays. Where nobody is to blame it never dies: at its last try it
    is sent anew instead, and that so rarely that Lambda's guard against loops (16 rounds) is far.
    """
    tries = invocation.attempt - 1  # the first attempt was the upload function's
    last = tries >= services.settings.max_failures
    wait = wait_for(error, tries, services.now(), services.chance)
    logger.info(
        "postponed", key=upload.key, code=error.code, status=error.status, wait=wait, last=last
    )
    if last and isinstance(error, NO_FAILURE):
        services.queue.send(upload, wait)
        return False
    if last:
        reports.give_up(error, upload, services, invocation)
        wait = 0  # SQS moves it to the dead-letter queue at the next receive
    services.queue.postpone(receipt_handle, wait)
    return True


def _known(error: Exception) -> ImageDropError:
    if isinstance(error, ImageDropError):
        return error
    logger.exception("unexpected error")
    return ImageDropError(f"{type(error).__name__}: {error}")
