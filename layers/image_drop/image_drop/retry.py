"""What becomes of an edit that failed and may succeed later."""

import random
from typing import TYPE_CHECKING

import msgspec

from image_drop import pipeline, reports, uploads
from image_drop.errors import (
    AccountError,
    ImageChangedError,
    ImageDropError,
    InProgressError,
    KeyReplacedError,
    LayerNotThereError,
    ModelRefusedError,
    NoSlotError,
    NotAnnouncedError,
    OutOfTimeError,
    ProcessingPausedError,
    RetryableError,
    SupersededError,
    WaitsForImageError,
)
from image_drop.job import in_hand
from image_drop.storage import retry_queue
from image_drop.telemetry import logger, measure

if TYPE_CHECKING:
    from image_drop.invocation import Invocation
    from image_drop.services import Services
    from image_drop.uploads import Upload

FIRST_BACK_OFF = 15.0  # seconds, the ceiling of the first random wait; it doubles with each failure
LONGEST_BACK_OFF = 3600.0
JITTER = 2.0  # seconds that keep those apart who wait for the same moment
MANY_RECEIVES = 80  # of the 100 after which SQS takes a message for one that kills its functions
REFUSED_TRIES = 3  # of an image that Venice refuses while it accepts others
WAITS = (
    AccountError,
    ImageChangedError,
    InProgressError,
    KeyReplacedError,
    LayerNotThereError,
    ProcessingPausedError,
    NoSlotError,
    OutOfTimeError,
)


def wait_for(error: ImageDropError, failures: int, now: float, rng: random.Random) -> float:
    """Seconds until the next try: Venice's word, or full-jitter back-off, whichever is longer.

    `failures`: how many there were, this one included. Waiting for a slot, for the account or for
    somebody else is no failure of the edit, and so does not back off.
    """
    named = max(0.0, (error.retry_at or now) - now) + rng.uniform(0, JITTER)
    if isinstance(error, WAITS):
        return named
    ceiling = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2.0 ** min(max(failures, 1) - 1, 20))
    return max(named, rng.uniform(0, ceiling))


def edit_or_queue(upload: "Upload", services: "Services", invocation: "Invocation") -> str:
    """Edit an upload now, or put it into the retry queue until its time; says which."""
    try:
        return pipeline.process(upload, services, invocation)
    except (RetryableError, AccountError) as error:
        failures = upload.failures + (not isinstance(error, WAITS))
        wait = wait_for(error, failures, services.now(), services.rng)
        services.queue.send(msgspec.structs.replace(upload, failures=failures), wait)
        logger.info("queued", key=upload.key, code=error.code, status=error.status, wait=wait)
        return "queued"


def edit_or_postpone(
    body: str, receipt_handle: str, services: "Services", invocation: "Invocation"
) -> list[pipeline.Outcome]:
    """Work on one message of the retry queue; how each of its uploads ended.

    Raises when the message has to stay: it is hidden until its time by then, or, at the last try,
    reported and about to move to the dead-letter queue.
    """
    try:
        found = uploads.from_message(body)
    except uploads.UnreadableMessageError as error:
        logger.error("unreadable message", reason=str(error))
        services.queue.bury(body)
        return []
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
    invocation: "Invocation",
) -> bool:
    """Hide a message until its next try, or report that this was the last one.

    Returns whether the message stays. A message that only waits never dies: before SQS takes it
    for a crash loop it is sent anew, and that so rarely that Lambda's guard against loops (16
    rounds) is far.
    """
    failures = _failures(upload, error, services, invocation)
    most = services.settings.max_failures
    if isinstance(error, ModelRefusedError):
        most = min(most, REFUSED_TRIES)
    last = not isinstance(error, WAITS) and failures >= most
    wait = wait_for(error, failures, services.now(), services.rng)
    logger.info(
        "postponed", key=upload.key, code=error.code, status=error.status, wait=wait, last=last
    )
    if last:
        give_up(upload, error, failures, services, invocation)
        return False
    if invocation.receives >= MANY_RECEIVES:
        services.queue.send(msgspec.structs.replace(upload, failures=failures), wait)
        return False
    services.queue.postpone(receipt_handle, wait)
    return True


def give_up(
    upload: "Upload",
    error: ImageDropError,
    failures: int,
    services: "Services",
    invocation: "Invocation",
) -> None:
    """Report that the last try failed, and bury the message; not where it was overtaken."""
    if isinstance(error, NotAnnouncedError):
        measure({"EventsLost": 1})  # the result or report is there; only nobody was told
        return
    try:
        with in_hand(upload, services, invocation) as job:
            dead = reports.give_up(error, failures, job)
    except (SupersededError, WaitsForImageError):
        services.queue.send(msgspec.structs.replace(upload, variant=None, failures=0))
        return
    if dead:
        services.queue.bury(retry_queue.message(msgspec.structs.replace(upload, failures=0)))


def _failures(
    upload: "Upload", error: ImageDropError, services: "Services", invocation: "Invocation"
) -> int:
    """How often this upload has failed: before its message was sent, and since."""
    if isinstance(error, WAITS):
        return upload.failures
    since = services.failures.add(invocation.message_id, invocation.receives, services.now())
    return upload.failures + since


def _known(error: Exception) -> ImageDropError:
    if isinstance(error, ImageDropError):
        return error
    logger.exception("unexpected error")
    return ImageDropError(f"{type(error).__name__}: {error}")
