"""The paid call: made in its slot, reserved before, settled after, and never repeated here."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from image_drop import edits, refusals
from image_drop.edits import Edit
from image_drop.errors import (
    AccountError,
    Charge,
    EditTooDearError,
    ImageDropError,
    ImageError,
    KeyReplacedError,
    LockedOutError,
    ModelRefusedError,
    NoAnswerError,
    NoSlotError,
    OutcomeUnknownError,
    OutOfTimeError,
    RateLimitedError,
    RefusedError,
    RetryableError,
    SpendLimitError,
)
from image_drop.events import AccountRestored, AccountUnavailable, LimitChanged
from image_drop.imaging.headers import read_header
from image_drop.imaging.photos import Photo
from image_drop.instructions.schema import Mode
from image_drop.job import Job
from image_drop.paid_answers import Paid
from image_drop.services import Services
from image_drop.state import billing
from image_drop.state.billing import Settlement
from image_drop.state.edit_record import Call, CallState, Record
from image_drop.state.rate_limit import Slot
from image_drop.state.rates import ALL_MODELS
from image_drop.telemetry import logger, measure, never_failing
from image_drop.venice import client
from image_drop.venice.client import Answer

FRESH = 1.0  # seconds for which the circuit breaker is not read again; a call takes far longer
BLOCK = 15.0  # seconds for which a 429 blocks a model when Venice names no time
USED_WITHIN = 0.5  # seconds; later, Venice may count the call in another minute than its slot
STORE_SECONDS = 20.0  # of the invocation, kept after the call for storing the result


def make_call(edit: Edit, photos: Sequence[Photo | str], job: Job) -> Paid:
    """Wait for a slot and make the call; share what its failure says with all functions.

    A slot that is over before its call begins is given back, and another one is taken, once. An
    answered call stays open until its outcome is stored together with `Paid.settlement`.
    """
    refusals.require_none(edit, job)
    paid = _call_in_slot(edit, photos, job)
    if paid is None and job.hold.owed is None:  # else the release has to withdraw the call first
        paid = _call_in_slot(edit, photos, job)
    if paid is None:
        raise NoSlotError("AWS was too slow to use the slot.", retry_at=job.services.now())
    return paid


def _call_in_slot(edit: Edit, photos: Sequence[Photo | str], job: Job) -> Paid | None:
    """Return None if the slot was over before the call could begin: then nothing was called."""
    services = job.services
    seconds = client.longest_call(edit.instructions)
    wait = _max_slot_wait(job, seconds)
    with services.limiter.acquire(edit.rate_model, wait, job.seen.rates) as slot:
        now = services.now()
        if not job.invocation.trial and now > job.seen.at + FRESH:
            services.circuit_breaker.require(now)  # processing may have paused during the wait
        call = reserve(edit, job, now)
        slot.consumed = True
        try:
            fitted = services.catalogue.current().fitted(edit.instructions)
            latest = slot.at + USED_WITHIN
            answer = services.venice.edit(fitted, photos, seconds=seconds, not_after=latest)
        except NoSlotError:
            slot.consumed = False
            withdraw(call, job)
            return None
        except ImageDropError as error:
            _teach(error, edit, call, slot, job)
            if isinstance(error, NoAnswerError):
                _give_up_after_two(error, call, job)
            raise
    return _paid(edit, photos, answer, call, slot, job)


def _paid(
    edit: Edit, photos: Sequence[Photo | str], answer: Answer, call: Call, slot: Slot, job: Job
) -> Paid:
    """Note what the answer costs, took, and says about the rate."""
    services = job.services
    usd = services.catalogue.current().price(
        edit.mode,
        _billed(edit, photos, answer),
        1 + len(edit.layers),
        enhanced=answer.enhanced,
        answered=answer.model,
    )
    seconds = services.now() - call.at
    measure({"VeniceLatency": seconds, "Spend": usd}, mode=edit.mode)
    with never_failing("rate not learned"):
        announce_limit(
            services.limiter.learn(edit.rate_model, answer.quota, slot, seconds), services
        )
    settlement = Settlement(call.id, CallState.PAID, billing.micro(usd), services.now())
    return Paid(answer, call, settlement)


def _billed(edit: Edit, photos: Sequence[Photo | str], answer: Answer) -> dict[str, Any]:
    """Return what was sent; for upscale, with the scale of the answer, which Venice may lower.

    An answer that cannot be read costs what was asked for; what it is good for is checked later.
    """
    sent = client.parameters(edit.instructions)
    if edit.mode is Mode.UPSCALE and isinstance(photo := photos[0], Photo):
        with suppress(ImageError):
            if header := read_header(answer.data):
                sent["scale"] = min(sent["scale"], header.width / photo.width)
    return sent


def reserve(edit: Edit, job: Job, now: float) -> Call:
    """Write the call into the record and reserve its price.

    Raise `SpendLimitError` when the price does not fit into the day. If the state table fails, no
    call is made and the reservation is released.
    """
    services, hold = job.services, job.hold
    usd = edits.price(edit.instructions, services.catalogue.current())
    call = Call(
        id=services.new_id(),
        digest=edit.call_digest,
        drop=job.drop(edit.image),
        at=now,
        date=billing.date_of(now),
        model=edit.model,
        micro_usd=billing.micro(usd),
        output_key=edit.output_key,
    )
    if hold.record.unanswered(call.digest, call.drop):
        logger.warning("calling again after a call without an answer", key=edit.image.key)
        measure({"PossiblyPaidTwice": 1}, mode=edit.mode)
    try:
        services.billing.begin(hold, call, job.seen.orders)
    except SpendLimitError as error:
        pause(error, services)
        raise
    except (OutcomeUnknownError, EditTooDearError):
        raise
    except (RetryableError, ClientError, BotoCoreError):
        withdraw(call, job)
        raise
    return call


def withdraw(call: Call, job: Job) -> None:
    """Release a reservation and forget the call: it was not made, so it was no attempt."""
    settlement = Settlement(call.id, CallState.FREE, 0, job.services.now())

    def withdrawn(record: Record) -> Record:
        return record.without_call(call.id) if settlement.is_open(record) else record

    job.hold.update_or_owe("call not withdrawn", withdrawn, settlement.move)


def free(call: Call, job: Job) -> None:
    """Release a reservation: the call was not charged."""
    settlement = Settlement(call.id, CallState.FREE, 0, job.services.now())
    job.hold.update_or_owe("call not settled", settlement.change, settlement.move)


def learn(error: ImageDropError, edit: Edit, slot: Slot, services: Services) -> None:
    """Share what a refused call says about the rate, the key and the account."""
    if error.status is not None:
        services.limiter.record_failure()
    match error:
        case LockedOutError(retry_at=float(until)):
            services.limiter.block(ALL_MODELS, until)
        case RateLimitedError(quota=quota):
            until = error.retry_at or services.now() + BLOCK
            announce_limit(services.limiter.refuse(edit.rate_model, quota, slot, until), services)
        case AccountError():
            if error.status == 401 and services.api_key.replaced():
                raise KeyReplacedError("Venice refused the former API key.") from error
            if services.circuit_breaker.tolerates(edit.rate_model, error.status, services.now()):
                raise ModelRefusedError(
                    error.detail, status=error.status, request_id=error.request_id
                ) from error
            pause(error, services, edit.rate_model)


def pause(
    error: AccountError | SpendLimitError, services: Services, model: str | None = None
) -> None:
    """Pause processing until the account works again, and announce it. `model`: of the refusal."""
    limit_usd = error.limit_usd if isinstance(error, SpendLimitError) else None
    if services.circuit_breaker.stop(
        error.code,
        error.detail,
        services.now(),
        model=model,
        status=error.status,
        limit_usd=limit_usd,
    ):
        logger.error("processing paused", reason=error.code, status=error.status)
        measure({"ProcessingPaused": 1})
        announce_pause(services)


def announce_limit(change: LimitChanged | None, services: Services) -> None:
    """Announce another limit, which starts the account watch: the concurrency follows it.

    If the announcement is lost, the next round of the account watch follows all the same.
    """
    if change:
        logger.info("limit changed", model=change.model, limit=change.limit, former=change.former)
        services.bus.announce(change)


def announce_pause(services: Services) -> None:
    """Announce the last pause or resumption, unless the event bus already has it.

    The account watch repeats this in each round, so it is sent at least once, even after a crash.
    """
    status = services.circuit_breaker.status()
    if status.announced:
        return
    event = (
        AccountUnavailable(event_id=status.id, reason=status.reason, detail=status.detail)
        if status.stopped
        else AccountRestored(event_id=status.id, stopped_for=status.stopped_for)
    )
    if services.bus.announce(event):
        services.circuit_breaker.note_announced(status.id)


def _teach(error: ImageDropError, edit: Edit, call: Call, slot: Slot, job: Job) -> None:
    """Note what the failure says about the call, the rate and the account; raise nothing."""
    if isinstance(error, RefusedError):
        refusals.note(error, call, job)
    elif error.charge is Charge.NO:
        free(call, job)
    if error.charge is Charge.MAYBE:
        measure({"UnconfirmedUSD": call.micro_usd / billing.MICRO}, mode=edit.mode)
    with never_failing("failure not learned from"):
        learn(error, edit, slot, job.services)


def _give_up_after_two(error: NoAnswerError, call: Call, job: Job) -> None:
    if job.hold.record.unanswered(call.digest, call.drop) >= billing.MAX_UNANSWERED:
        raise OutcomeUnknownError(error.detail) from error


def _max_slot_wait(job: Job, seconds: float) -> float:
    """Return the seconds to wait for a slot that leave enough time for the call and the store."""
    left = job.invocation.context.get_remaining_time_in_millis() / 1000 - seconds - STORE_SECONDS
    if left <= 0:
        raise OutOfTimeError(
            f"A call may take {seconds:.0f} s, and this invocation ends sooner.",
            retry_at=job.services.now(),
        )
    return min(job.invocation.max_slot_wait, left)
