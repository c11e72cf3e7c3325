"""The paid call: made in its turn, noted before and after, and never a second time by itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from botocore.exceptions import BotoCoreError, ClientError

from image_drop import catalogue, venice
from image_drop.edits import Edit
from image_drop.errors import (
    AccountError,
    ImageDropError,
    KeyReplacedError,
    LockedOutError,
    NoAnswerError,
    OutcomeUnknownError,
    RateLimitedError,
    SpendLimitError,
    StorageBusyError,
)
from image_drop.events import AccountUnavailable
from image_drop.images import Photo
from image_drop.rate_limit import KEY
from image_drop.services import Invocation, Services
from image_drop.spend import Day
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
        if services.spend.limit_usd:
            _hold_limit(services.spend.day(now), services)
        unanswered = services.ledger.begin(edit.id, edit.original, now)
        if unanswered:
            logger.warning("calling again after a call without an answer", key=edit.original.key)
            measure({"PossiblyPaidTwice": 1}, mode=edit.mode)
            _count_doubt(edit, services)
        turn.used = True
        try:
            sent = services.catalogue.current().fitted(edit.instructions)
            answer = services.venice.edit(sent, photos)
        except NoAnswerError as error:
            if unanswered:
                _count_doubt(edit, services)
                raise OutcomeUnknownError(error.detail) from error
            raise
        except ImageDropError as error:
            if error.status == 200:  # an answer that cannot be used is charged all the same
                _settle_paid(edit, None, services)
            else:
                _settle(edit, services)
            learn(error, edit, services)
            raise
    measure({"VeniceLatency": services.now() - now}, mode=edit.mode)
    if answer.rate_limit not in (None, turn.limit):
        # The answer is paid for and must not be lost over this; the next call tells it again.
        with suppress(ClientError, BotoCoreError, StorageBusyError):
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


def stop_line(error: AccountError | SpendLimitError, services: Services) -> None:
    """Stop all calls until the account works again, and say so once."""
    if services.line.stop(error.code, error.detail, services.now()):
        logger.error("line stopped", reason=error.code, status=error.status)
        measure({"LineStopped": 1})
        services.bus.announce(AccountUnavailable(reason=error.code, detail=error.detail))


@contextmanager
def settling(edit: Edit, answer: Answer, services: Services) -> Iterator[None]:
    """Strike the call out and count what it cost, when the body has ended, well or with a known
    error.

    When AWS or the process fails in between, the note stays: the answer is lost, and a new call
    is a call that may be paid twice.
    """
    try:
        yield
    except StorageBusyError:
        raise
    except ImageDropError:
        _settle_paid(edit, answer, services)
        raise
    _settle_paid(edit, answer, services)


def _settle(edit: Edit, services: Services) -> bool:
    return services.ledger.settle(edit.id, edit.original, services.now())


def _settle_paid(edit: Edit, answer: Answer | None, services: Services) -> None:
    if _settle(edit, services):  # not where an answer was used that had been paid for before
        _count(edit, answer, services)


def _count(edit: Edit, answer: Answer | None, services: Services) -> None:
    """Add a paid call to the day's spend. Never raises: nothing may make the edit run again."""
    model, usd = _cost(edit, answer, services)
    if usd is None:
        logger.warning("price not known", model=model)
        measure({"PriceUnknown": 1}, mode=edit.mode)
    else:
        measure({"Spend": usd}, mode=edit.mode)
    with _never_failing():
        _hold_limit(services.spend.add(model, usd, services.now()), services)


def _count_doubt(edit: Edit, services: Services) -> None:
    """Add a call that stayed without an answer: it may have been charged. Never raises."""
    _, usd = _cost(edit, None, services)
    if usd is not None:
        measure({"PossiblyPaidUSD": usd}, mode=edit.mode)
        with _never_failing():
            services.spend.add_possibly(usd, services.now())


def _cost(edit: Edit, answer: Answer | None, services: Services) -> tuple[str, float | None]:
    sent = venice.parameters(edit.instructions)
    model = catalogue.model_used(edit.mode, sent, answer.model if answer else None)
    enhanced = answer.enhanced if answer else bool(sent.get("enhance_prompt"))
    told, images = answer.model if answer else None, 1 + len(edit.layers)
    known = services.catalogue.current()
    return model, known.price(edit.mode, sent, images, enhanced=enhanced, told=told)


def _hold_limit(day: Day, services: Services) -> None:
    """Stop the line where the day's limit is reached. Raises `SpendLimitError`."""
    try:
        services.spend.check(day, services.now())
    except SpendLimitError as error:
        stop_line(error, services)
        raise


@contextmanager
def _never_failing() -> Iterator[None]:
    """For the count of what was spent: the call is made, whatever becomes of the count."""
    try:
        yield
    except SpendLimitError:
        pass  # the line is stopped, which is all that is wanted after a call
    except (ClientError, BotoCoreError) as error:
        logger.error("spend not counted", error=type(error).__name__)
        measure({"SpendNotCounted": 1})
