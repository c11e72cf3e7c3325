"""How an edit ends: its outcome goes into the record, with the money, and then to the event bus.

The object in the output bucket is written first. Its metadata name the edit, the call and its
cost, so whoever finds it after a crash finishes the bookkeeping and the announcement.
"""

import msgspec

from image_drop import events
from image_drop.edits import Edit, Wanted
from image_drop.errors import NotAnnouncedError
from image_drop.events import ImageEdited, Place
from image_drop.job import Job
from image_drop.state.billing import Settlement, micro
from image_drop.state.records import MAX_DROPS, CallState, Outcome, OutcomeKind, Record, Step
from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import Stored


def is_done(edit: Edit, result: Stored | None, job: Job) -> bool:
    """Whether this very edit has its result, or had its outcome for the same drop.

    A result that somebody has moved away or deleted is made again when the image is dropped
    again, not when the same drop is delivered again. A dead letter is tried again.
    """
    if result is not None and result.edit_id == edit.id:
        return True
    last = job.hold.record.outcome
    return (
        last is not None
        and last.kind is not OutcomeKind.DEAD_LETTER
        and last.edit_id == edit.id
        and job.drop(edit.image) in last.drops
    )


def conclude_result(edit: Edit, result: Stored, settlement: Settlement | None, job: Job) -> None:
    """Write into the record that the result is stored; the event about it goes to the outbox.

    The same drop again changes nothing; a new drop of the same edit is noted, not announced.
    """
    drop, last = job.drop(edit.image), job.hold.record.outcome
    same = last if last and (last.kind, last.edit_id) == (OutcomeKind.RESULT, edit.id) else None
    if same and drop in same.drops:
        return
    outcome = Outcome(
        kind=OutcomeKind.RESULT,
        edit_id=edit.id,
        drops=(*(same.drops if same else ()), drop)[-MAX_DROPS:],
        source_etag=edit.image.etag,
        key=result.key,
        etag=result.etag,
        at=job.services.now(),
    )
    outbox = job.hold.record.outbox if same else events.encoded(edited(edit, result, job))
    conclude(outcome, outbox, settlement, job)


def conclude_variants(wanted: Wanted, job: Job) -> None:
    """Write into the record of an image that its variants have records of their own."""
    outcome = Outcome(
        kind=OutcomeKind.VARIANTS,
        edit_id="",
        drops=(job.drop(wanted.image),),
        source_etag=wanted.image.etag,
        key="",
        etag="",
        at=job.services.now(),
    )
    conclude(outcome, "", None, job)


def conclude(outcome: Outcome, outbox: str, settlement: Settlement | None, job: Job) -> None:
    """Write an outcome into the record and settle the call that led to it: both, or neither."""

    def concluded(record: Record) -> Record:
        if record.outcome == outcome:
            return record
        step = Step(outcome.at, outcome.code or outcome.kind.value)
        new = msgspec.structs.replace(record, outcome=outcome, refusal=None, outbox=outbox).after(
            step
        )
        return settlement.change(new) if settlement else new

    job.hold.update(concluded, settlement.move if settlement else None)


def announce(job: Job) -> None:
    """Put the event that waits in the record on the bus: at least once, also after a crash.

    Raises `NotAnnouncedError` where the bus does not take it.
    """
    outbox = job.hold.record.outbox
    if outbox:
        if not job.services.bus.put(*events.decoded(outbox)):
            raise NotAnnouncedError("The event bus did not take the event.")
        job.hold.update(lambda record: msgspec.structs.replace(record, outbox=""))


def edited(edit: Edit, result: Stored, job: Job) -> ImageEdited:
    """The event about a result, from what the result itself says."""
    told = output_bucket.from_metadata(result.metadata)
    return ImageEdited(
        input=Place(edit.image.bucket, edit.image.key),
        output=Place(job.services.settings.output_bucket, result.key),
        mode=edit.mode,
        variant=edit.variant,
        model=told.get("model", edit.model),
        edit_id=edit.id,
        request_id=told.get("venice-request-id"),
        changes=tuple(told.get("changes", "").split()),
        duration=float(told.get("seconds", "0")),
        attempts=attempts(edit, job),
    )


def attempts(edit: Edit | None, job: Job) -> int:
    """How many calls were made for this edit and drop."""
    if edit is None:
        return 0
    return len(job.hold.record.calls_for(edit.call_digest, job.drop(edit.image)))


def settlement_of(result: Stored, job: Job) -> Settlement | None:
    """Of the call that a result names, where it is still open."""
    told = output_bucket.from_metadata(result.metadata)
    call = job.hold.record.call(told.get("call", ""))
    if call is None or call.state is not CallState.OPEN:
        return None
    usd = float(told.get("cost-usd", "0"))
    return Settlement(call.id, CallState.PAID, micro(usd), job.services.now())
