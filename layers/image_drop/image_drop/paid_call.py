"""The paid call: made in its turn, noted before and after, and never a second time by itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from image_drop.edits import Edit
from image_drop.errors import (
    AccountError,
    ImageDropError,
    KeyReplacedError,
    LockedOutError,
    NoAnswerError,
    OutcomeUnknownError,
    RateLimitedError,
    StorageBusyError,
)
from image_drop.events import AccountUnavailable
from image_drop.images import Photo
from image_drop.rate_limit import KEY
from image_drop.services import Invocation, Services
from image_drop.telemetry import logger, measure
from image_drop.venice import Answer

BLOCK = 15.0  # seconds that a 429 blocks a model for when Venice names no time


def make(
    edit: Edit, photos: Sequence[Photo | str], services: Services, invocation: Invocation
) -> Answer:
    """Wait for a slot and make the call; what its failure teaches is kept for all.

    The note of the call stays open, for `settling` to strike out when the result is stored.
    """
    with services.limiter.turn(edit.rate_model, invocation.patience) as turn:
        now = services.now()
        if not invocation.trial:
            services.line.require(now)  # it may have been stopped while this call waited
        unanswered = services.ledger.begin(edit.id, edit.original, now)
        if unanswered:
            logger.warning("calling again after a call without an answer", key=edit.original.key)
            measure({"PossiblyPaidTwice": 1}, mode=edit.mode)
        turn.used = True
        try:
            answer = services.venice.edit(edit.instructions, photos)
        except NoAnswerError as error:
            if unanswered:
                raise OutcomeUnknownError(error.detail) from error
            raise
        except ImageDropError as error:
            _settle(edit, services)
            learn(error, edit, services)
            raise
    measure({"VeniceLatency": services.now() - now}, mode=edit.mode)
    if answer.rate_limit not in (None, turn.limit):
        services.limiter.learn(edit.rate_model, answer.rate_limit)
    return answer


def learn(error: ImageDropError, edit: Edit, services: Services) -> None:
    """Keep what a refused call says about the rate, the key and the account, for all functions."""
    if error.status is not None:
        services.limiter.failed()
    match error:
        case LockedOutError(retry_at=float(until)):
            services.limiter.block(KEY, until)
        case RateLimitedError(limit=limit):
            services.limiter.block(edit.rate_model, error.retry_at or services.now() + BLOCK)
            if limit:
                services.limiter.learn(edit.rate_model, limit)
        case AccountError():
            if error.status == 401 and services.api_key.replaced():
                raise KeyReplacedError("Venice refused the former API key.") from error
            stop_line(error, services)


def stop_line(error: AccountError, services: Services) -> None:
    """Stop all calls until the account works again, and say so once."""
    if services.line.stop(error.code, error.detail, services.now()):
        logger.error("line stopped", reason=error.code, status=error.status)
        measure({"LineStopped": 1})
        services.bus.announce(AccountUnavailable(reason=error.code, detail=error.detail))


@contextmanager
def settling(edit: Edit, services: Services) -> Iterator[None]:
    """Strike the call out when the body has ended, well or with a known error.

    When AWS or the process fails in between, the note stays: the answer is lost, and a new call
    is a call that may be paid twice.
    """
    try:
        yield
    except StorageBusyError:
        raise
    except ImageDropError:
        _settle(edit, services)
        raise
    _settle(edit, services)


def _settle(edit: Edit, services: Services) -> None:
    services.ledger.settle(edit.id, edit.original, services.now())
