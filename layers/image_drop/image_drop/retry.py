"""What happens to an edit that failed and may succeed later."""

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
    StorageBusyError,
    SupersededError,
    WaitsForImageError,
)
from image_drop.job import busy_storage_is_retryable, in_hand
from image_drop.state.slot_log import WINDOW
from image_drop.storage import retry_queue
from image_drop.telemetry import logger

if TYPE_CHECKING:
    from image_drop.invocation import Invocation
    from image_drop.services import Services
    from image_drop.uploads import Upload

FIRST_BACK_OFF = 15.0  # seconds; upper end of the first random wait, which doubles each time
LONGEST_BACK_OFF = 3600.0
WAKE_UPS = 1.8  # of all that wait, for each slot: more cost more, fewer would leave slots unused
JITTER = 2.0  # seconds; spreads images that wait for the same time
MANY_RECEIVES = 80  # receives; after 100, SQS moves a message to the dead-letter queue
REFUSED_TRIES = 3  # tries of an image whose model Venice refuses while it accepts others
WAITS = (
    AccountError,
    ImageChangedError,
    InProgressError,
    KeyReplacedError,
    LayerNotThereError,
    ProcessingPausedError,
    NoSlotError,
    NotAnnouncedError,
    OutOfTimeError,
)


def wait_for(
    error: ImageDropError, failures: int, now: float, rng: random.Random, minutes: float = 0.0
) -> float:
    """Return the seconds until the next try: Venice's time or full-jitter back-off, the longer.

    `failures`: including this one. `minutes`: of Venice's, over which all that wait for a slot are
    spread. Waiting for a slot, for the account or for another invocation is not a failure of the
    edit, and so does not back off.
    """
    named = max(0.0, (error.retry_at or now) - now) + rng.uniform(0, JITTER)
    if isinstance(error, NoSlotError):
        return named + _turn(minutes, error.opens_within, rng)
    if isinstance(error, WAITS):
        return named
    return max(named, rng.uniform(0, longest_back_off(failures)))


def longest_back_off(failures: int) -> float:
    """Return the seconds within which an edit is tried again after so many failures."""
    return min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2.0 ** min(max(failures, 1) - 1, 20))


def minutes_of_waiting(error: ImageDropError, services: "Services") -> float:
    """Return the minutes over which those that wait for a slot spread their next tries.

    So about two try again for each slot, however long the queue is. A limit that rises to 2.2
    times as much is used at once, and nobody waits in a function.
    """
    if not isinstance(error, NoSlotError) or not error.limit:
        return 0.0
    waiting = max(0, services.queue.recent_depth(services.now()).total - error.in_progress)
    return waiting / (WAKE_UPS * error.limit)


def edit_or_queue(upload: "Upload", services: "Services", invocation: "Invocation") -> str:
    """Edit an upload now or put it into the retry queue; return which."""
    try:
        return pipeline.process(upload, services, invocation)
    except (RetryableError, AccountError) as error:
        failures = upload.failures + (not isinstance(error, WAITS))
        minutes = minutes_of_waiting(error, services)
        wait = wait_for(error, failures, services.now(), services.rng, minutes)
        waiting = msgspec.structs.replace(upload, failures=failures, model=_model(error))
        services.queue.send(waiting, wait)
        logger.info("queued", key=upload.key, code=error.code, status=error.status, wait=wait)
        return "queued"


def edit_or_postpone(
    body: str, receipt_handle: str, services: "Services", invocation: "Invocation"
) -> list[pipeline.Outcome]:
    """Work on one message of the retry queue, and return how its upload ended.

    Raise the error when the message has to stay in the queue; it is hidden until its next try.
    Return nothing for a message that was replaced by others or buried as a dead letter.
    """
    try:
        found = uploads.from_message(body, services.settings.input_prefix)
    except uploads.UnreadableMessageError as error:
        logger.error("unreadable message", reason=str(error))
        services.queue.bury(body)
        return []
    if len(found) > 1:  # one message, one image: so that each has its own tries
        for upload in found:
            services.queue.send(upload)
        return []
    try:
        if found and found[0].model and not invocation.trial:
            services.limiter.require(found[0].model, invocation.max_slot_wait)
        return [pipeline.process(upload, services, invocation) for upload in found]
    except Exception as error:  # whatever it is, the message needs the time of its next try
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

    Return whether the message stays. A message that only waits never becomes a dead letter:
    before SQS moves it for its many receives, it is replaced by a new one. That is so rare that
    Lambda's guard against loops, after 16 rounds, does not apply.
    """
    failures = _failures(upload, error, services, invocation)
    most = services.settings.max_failures
    if isinstance(error, ModelRefusedError):
        most = min(most, REFUSED_TRIES)
    last = not isinstance(error, WAITS) and failures >= most
    minutes = minutes_of_waiting(error, services)
    wait = wait_for(error, failures, services.now(), services.rng, minutes)
    logger.info(
        "postponed", key=upload.key, code=error.code, status=error.status, wait=wait, last=last
    )
    if last and gave_up(upload, error, failures, services, invocation):
        return False
    if invocation.receives >= MANY_RECEIVES or _model(error) not in ("", upload.model):
        if isinstance(error, WAITS):  # the new message does not know the failures of this one
            failures += services.failures.count(invocation.message_id)
        waiting = msgspec.structs.replace(
            upload,
            failures=failures,
            model=_model(error),
            asked_at=invocation.asked_at(upload),
        )
        services.queue.send(waiting, wait)
        return False
    services.queue.postpone(receipt_handle, wait)
    return True


def gave_up(
    upload: "Upload",
    error: ImageDropError,
    failures: int,
    services: "Services",
    invocation: "Invocation",
) -> bool:
    """Report that the last try failed and bury the message, unless a newer upload replaced it.

    Return False when AWS is too busy for that, so that there will be one more try.
    """
    try:
        with busy_storage_is_retryable(), in_hand(upload, services, invocation) as job:
            dead = reports.give_up(error, failures, job)
            if not dead:  # it has its outcome; what is left is to settle and to announce it
                pipeline.work_on(job)
    except (SupersededError, WaitsForImageError):
        at = invocation.asked_at(upload)
        whole = msgspec.structs.replace(upload, variant=None, failures=0, asked_at=at)
        services.queue.send(whole)
        return True
    except StorageBusyError as busy:
        logger.warning("not given up", key=upload.key, reason=busy.detail)
        return False
    if dead:
        again = msgspec.structs.replace(upload, failures=0, model="", asked_at=None)
        services.queue.bury(retry_queue.message(again))
    return True


def _turn(minutes: float, opens_within: float, rng: random.Random) -> float:
    """Return the seconds to a random minute of so many, and to a moment in which slots open."""
    whole, part = divmod(rng.uniform(0, minutes), 1.0)
    return whole * WINDOW + part * opens_within


def _failures(
    upload: "Upload", error: ImageDropError, services: "Services", invocation: "Invocation"
) -> int:
    """Return how often this upload has failed, before its message was sent and since then."""
    if isinstance(error, WAITS):
        return upload.failures
    since = services.failures.add(invocation.message_id, invocation.receives, services.now())
    return upload.failures + since


def _model(error: ImageDropError) -> str:
    return error.model if isinstance(error, NoSlotError) else ""


def _known(error: Exception) -> ImageDropError:
    if isinstance(error, ImageDropError):
        return error
    logger.exception("unexpected error")
    return ImageDropError(f"{type(error).__name__}: {error}")
