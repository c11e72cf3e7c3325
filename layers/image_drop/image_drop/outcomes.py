"""The outcome of an edit: written into the record with its cost, then sent to the event bus.

The object in the output bucket is written first. Its metadata name the edit, the call and its
cost, so the next invocation after a crash can finish the bookkeeping and the announcement.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from image_drop import events
from image_drop.edits import Edit, Wanted
from image_drop.errors import NotAnnouncedError
from image_drop.events import ImageEdited, Place
from image_drop.job import Job
from image_drop.paid_answers import Paid
from image_drop.state.billing import Saving, Settlement, micro
from image_drop.state.edit_record import (
    MAX_DROPS,
    MAX_UNSENT,
    CallState,
    Outcome,
    OutcomeKind,
    Record,
    Step,
)
from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import Stored
from image_drop.telemetry import never_failing

CLOCKS = 10.0  # seconds; far more than the clocks of SQS and Lambda differ
ANNOUNCE_AGAIN = 60.0  # seconds; no failure of the image, so it is tried until it is sent


def is_done(edit: Edit, result: Stored | None, job: Job) -> bool:
    """Return whether this edit has its result, or had its outcome for the same drop.

    A result that was moved away or deleted is made again when the image is dropped again, not
    when the same drop is delivered again, nor for a retry that was asked for before the result
    was made. A dead letter is retried. A new draw is asked for in spite of a result, whenever that
    was made: it may be an earlier answer.
    """
    if result is not None and result.edit_id == edit.id and not job.upload.fresh:
        return True
    last = job.hold.record.outcome
    return (
        last is not None
        and last.kind is not OutcomeKind.DEAD_LETTER
        and last.edit_id == edit.id
        and (job.drop(edit.image) in last.drops or _is_answered(last, job))
    )


def is_result(outcome: Outcome | None) -> bool:
    """Return whether an outcome is a result."""
    return outcome is not None and outcome.kind is OutcomeKind.RESULT


def _is_answered(last: Outcome, job: Job) -> bool:
    return is_result(last) and not job.upload.fresh and 0 < job.asked_at < last.at - CLOCKS


def take_over(job: Job) -> None:
    """Finish what the last holder of the record left: a result without outcome, an unsent event.

    A call that is open names the key of its result. If its own result is there, it is settled,
    whatever has become of the image and its instructions since. While its answer is kept, a call
    that is settled may have no outcome yet either.
    """
    record = job.hold.record
    for call in record.calls:
        is_open = call.state is CallState.OPEN
        if call.output_key and (is_open or record.kept_answer(call.digest)):
            result = job.services.output_bucket.find_output(call.output_key)
            metadata = output_bucket.from_metadata(result.metadata) if result else {}
            if result and metadata.get("call") == call.id:
                usd = micro(float(metadata.get("cost-usd", "0")))
                settlement = (
                    Settlement(call.id, CallState.PAID, usd, job.services.now())
                    if is_open
                    else None
                )
                _conclude_result(result, call.digest, (call.drop,), settlement, job)
    with suppress(NotAnnouncedError):  # what is done next has an event of its own
        announce(job)


@contextmanager
def found_on_failure(job: Job) -> Iterator[None]:
    """Look for the result if AWS fails, because it may be stored although the answer was lost."""
    try:
        yield
    except (BotoCoreError, ClientError):
        with never_failing("result not looked for"):
            take_over(job)
        raise


def conclude_result(
    edit: Edit,
    result: Stored,
    paid: Paid | None,
    job: Job,
    note: Mapping[str, Any] | None = None,
) -> None:
    """Write into the record that the result is stored, and its event into the outbox.

    The same drop again changes nothing. A new drop of the same edit is noted but not announced.
    `paid`: from what it was made just now; None if it was found. `note`: an item that is written
    in the same transaction, see `reuse.note_of`.
    """
    drops = (job.drop(edit.image), edit.image.version)  # also of what asked for it before a retry
    settlement = paid.settlement if paid else None
    _conclude_result(result, edit.call_digest, drops, settlement, job, paid, note)


def _conclude_result(
    result: Stored,
    digest: str,
    drops: tuple[str, ...],
    settlement: Settlement | None,
    job: Job,
    paid: Paid | None = None,
    note: Mapping[str, Any] | None = None,
) -> None:
    metadata, last = output_bucket.from_metadata(result.metadata), job.hold.record.outcome
    edit_id = metadata["edit-id"]
    same = last if last and (last.kind, last.edit_id) == (OutcomeKind.RESULT, edit_id) else None
    if same and job.upload.fresh and drops[0] not in same.drops:
        same = None  # a new draw
    if same and set(drops) <= set(same.drops) and settlement is None:
        return
    outcome = Outcome(
        kind=OutcomeKind.RESULT,
        edit_id=edit_id,
        drops=tuple(dict.fromkeys((*(same.drops if same else ()), *drops)))[-MAX_DROPS:],
        source_etag=metadata.get("source-etag", ""),
        key=result.key,
        etag=result.etag,
        at=job.services.now(),
        reference=metadata.get("reference", ""),
        seconds=float(metadata.get("seconds", "0")),
        check=metadata.get("check", ""),
        reused_from=metadata.get("reused-from", ""),
    )
    attempts = len(job.hold.record.calls_for(digest, drops[0]))
    event = None if same else events.encoded(edited(result, attempts, job))
    saved = micro(float(metadata.get("saved-usd", "0")))
    # Served now, also if the edit had this result before; or by a function that died.
    found = saved and not same and result.etag not in job.hold.record.saved
    money: Settlement | Saving | None = settlement
    if (paid and paid.reused) or found:
        if settlement:  # of the first call, whose answer was enlarged for nothing; usually settled
            job.hold.update(settlement.change, settlement.move)
        money = Saving(result.etag, saved, job.services.now())
    calls = [metadata.get("call", "")]
    if paid and not (paid.call or paid.reused):  # from a kept answer, which names no call
        calls += job.hold.record.without_result(digest)
    conclude(outcome, event, money, job, note, calls)


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
    conclude(outcome, None, None, job)


def conclude(
    outcome: Outcome,
    event: str | None,
    money: Settlement | Saving | None,
    job: Job,
    note: Mapping[str, Any] | None = None,
    calls: Collection[str] = (),
) -> None:
    """Write an outcome, its event and what the day's ledger gets for it, in one transaction.

    `note`: a further item. `calls`: the ids of those whose result it is.
    """

    def concluded(record: Record) -> Record:
        if record.outcome == outcome:
            return record
        outbox = record.outbox if event is None else (*record.outbox, event)[-MAX_UNSENT:]
        step = Step(outcome.at, outcome.code or outcome.kind.value)
        # A dead letter says nothing of the refusal, so it is still to be reported, without a call.
        refusal = record.refusal if outcome.kind is OutcomeKind.DEAD_LETTER else None
        new = msgspec.structs.replace(
            record, outcome=outcome, refusal=refusal, outbox=outbox
        ).after(step)
        new = new.concluded(calls)
        return money.change(new) if money else new

    job.hold.update(concluded, money.move if money else None, note)


def announce(job: Job) -> None:
    """Put the events in the record's outbox on the bus: at least once, even after a crash.

    Raise `NotAnnouncedError` when the bus does not take it.
    """
    for event in job.hold.record.outbox:
        if not job.services.bus.put(*events.decoded(event)):
            raise NotAnnouncedError(
                "The event bus did not take the event.",
                retry_at=job.services.now() + ANNOUNCE_AGAIN,
            )
    sent = job.hold.record.outbox
    if sent:
        job.hold.update_later(
            lambda record: msgspec.structs.replace(
                record, outbox=tuple(event for event in record.outbox if event not in sent)
            )
        )


def edited(result: Stored, attempts: int, job: Job) -> ImageEdited:
    """Return the event about a result, from the metadata of the result."""
    metadata = output_bucket.from_metadata(result.metadata)
    return ImageEdited(
        event_id=job.services.new_id(),
        input=job.services.input_bucket.place(job.upload.bucket, job.upload.key),
        output=job.services.output_bucket.place(result.key),
        reference=metadata.get("reference"),
        mode=metadata.get("mode", ""),
        variant=job.upload.variant,
        model=metadata.get("model"),
        edit_id=metadata["edit-id"],
        request_id=metadata.get("venice-request-id"),
        changes=tuple(metadata.get("changes", "").split()),
        duration=float(metadata.get("seconds", "0")),
        attempts=attempts,
        reused_from=_reused_from(metadata, job),
    )


def _reused_from(metadata: Mapping[str, str], job: Job) -> Place | None:
    key = metadata.get("reused-from")
    return job.services.output_bucket.place(key) if key else None
