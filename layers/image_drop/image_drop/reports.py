"""The reports that a person reads when there is no result."""

import msgspec

from image_drop import events, outcomes
from image_drop.edits import Edit, reference_for
from image_drop.errors import (
    CancelledError,
    ImageDeletedError,
    ImageDropError,
    PermanentError,
    RetriesExhaustedError,
    StorageBusyError,
    SupersededError,
    WaitsForImageError,
)
from image_drop.events import ImageEditFailed
from image_drop.job import Job, busy_storage_is_retryable
from image_drop.state.edit_record import Outcome, OutcomeKind
from image_drop.storage import output_bucket
from image_drop.telemetry import logger, measure


def write_report(error: PermanentError, edit: Edit | None, job: Job) -> bool:
    """Write a report, then settle its call, then announce it.

    Return False when no report is needed: the image was deleted after it had its outcome, or the
    same drop already has the same report. Raise `SupersededError` when the image or its
    instructions have changed since.
    """
    if isinstance(error, ImageDeletedError) and job.hold.record.outcome:
        outcomes.announce(job)
        return False
    _require_current(error, edit, job)
    return _tell(error, edit, job)


def give_up(error: ImageDropError, failures: int, job: Job) -> bool:
    """Report that the last try failed; the caller moves the message to the dead-letter queue.

    Return False when the image has its outcome by now, so that the message can be deleted.
    Raise `StorageBusyError` when AWS is too busy to tell.
    """
    last = RetriesExhaustedError(
        f"The last of {failures} tries failed. {error.title}: {error.detail}",
        status=error.status,
        request_id=error.request_id,
    )
    outcomes.take_over(job)
    try:
        with busy_storage_is_retryable():
            edit = job.plan()
            there = job.services.output_bucket.find_output(edit.output_key)
        done = outcomes.is_done(edit, there, job)
    except PermanentError as now:
        write_report(now, None, job)
        return False
    except (StorageBusyError, SupersededError, WaitsForImageError):
        raise
    except Exception as cause:  # what made the edit fail may make its plan fail as well
        logger.warning("given up unseen", key=job.upload.key, error=type(cause).__name__)
        edit, done = None, False
    if not done:
        _tell(last, edit, job)
    return not done


def _tell(error: PermanentError, edit: Edit | None, job: Job) -> bool:
    outcome = _outcome(error, edit, job)
    if _is_told(outcome, job.hold.record.outcome):
        outcomes.announce(job)
        return False
    reference = _reference(edit, job, outcome)
    outcome = _store(error, edit, outcome, reference, job)
    event = events.encoded(_failed(error, edit, outcome, reference, job))
    outcomes.conclude(outcome, event, None, job)
    logger.warning("reported", key=job.upload.key, code=error.code, status=error.status)
    measure({"Failed": 1}, code=error.code)
    outcomes.announce(job)
    return True


def _require_current(error: PermanentError, edit: Edit | None, job: Job) -> None:
    """Raise `SupersededError` unless the error is about the current image and instructions."""
    try:
        current = job.plan(edit.image if edit else None)
    except ImageDeletedError:
        if edit or isinstance(error, ImageDeletedError):
            return
    except PermanentError as now:
        if edit is None and (now.code, now.detail) == (error.code, error.detail):
            return
    else:
        if edit and current.id == edit.id:
            return
    raise SupersededError("The image or its instructions have changed.")


def _outcome(error: PermanentError, edit: Edit | None, job: Job) -> Outcome:
    """Return the outcome without its object. The drop of a dead letter is its message's id."""
    upload, services = job.upload, job.services
    dead = isinstance(error, RetriesExhaustedError)
    # What is asked for after a cancellation is edited, also for the same version of the image.
    cancelled = isinstance(error, CancelledError)
    image = edit.image if edit else None
    if image is None and not dead:
        image = services.input_bucket.find_object(upload.bucket, upload.key)
    return Outcome(
        kind=OutcomeKind.DEAD_LETTER if dead else OutcomeKind.REPORT,
        edit_id=edit.id if edit else "",
        drops=() if cancelled else (job.invocation.message_id if dead else job.drop(image),),
        source_etag=image.etag if image else "",
        key=output_bucket.report_key(upload.key, upload.variant),
        etag="",
        at=services.now(),
        code=error.code,
    )


def _is_told(outcome: Outcome, last: Outcome | None) -> bool:
    """Return whether the last outcome already reports the same for the same drop."""
    return last is not None and (outcome.kind, outcome.edit_id, outcome.code, outcome.drops) == (
        last.kind,
        last.edit_id,
        last.code,
        last.drops,
    )


def _reference(edit: Edit | None, job: Job, outcome: Outcome) -> str | None:
    """Return the caller's own id, also if the instructions are wrong."""
    if edit:
        return edit.instructions.reference
    if outcome.kind is OutcomeKind.DEAD_LETTER:  # what made its plan fail may fail here as well
        return None
    return reference_for(job.upload, job.services)


def _store(
    error: PermanentError, edit: Edit | None, outcome: Outcome, reference: str | None, job: Job
) -> Outcome:
    """Write the report's object, under its second key if another image's report has the first."""
    report = output_bucket.report_on(
        error,
        key=job.upload.key,
        reference=reference,
        variant=job.upload.variant,
        mode=edit.mode if edit else None,
        attempts=_attempts(edit, job),
        now=outcome.at,
    )
    metadata = output_bucket.as_metadata(
        {
            "code": outcome.code,
            "edit-id": None if outcome.kind is OutcomeKind.DEAD_LETTER else outcome.edit_id,
            "variant": job.upload.variant,
            "reference": reference,
            "source-key": job.upload.key,
        }
    )
    job.hold.update_later(lambda record: record.with_report(True))
    bucket = job.services.output_bucket
    for key in output_bucket.report_keys(job.upload.key, job.upload.variant):
        seen = bucket.find_output(key)
        if seen is None or seen.is_of(job.upload.key, job.upload.variant):
            break
    stored = bucket.store_output(
        key, output_bucket.encoded(report), output_bucket.REPORT_TYPE, metadata, seen
    )
    return msgspec.structs.replace(
        outcome, key=stored.key, etag=stored.etag, reference=reference or ""
    )


def _failed(
    error: PermanentError, edit: Edit | None, outcome: Outcome, reference: str | None, job: Job
) -> ImageEditFailed:
    return ImageEditFailed(
        event_id=job.services.new_id(),
        input=job.services.input_bucket.place(job.upload.bucket, job.upload.key),
        output=job.services.output_bucket.place(outcome.key),
        reference=reference,
        mode=edit.mode if edit else None,
        variant=job.upload.variant,
        model=edit.model if edit else None,
        edit_id=edit.id if edit else None,
        request_id=error.request_id,
        code=error.code,
        title=error.title,
        duration=0.0,
        attempts=_attempts(edit, job),
    )


def _attempts(edit: Edit | None, job: Job) -> int:
    """Return how many calls were made for this edit and drop."""
    if edit is None:
        return 0
    return len(job.hold.record.calls_for(edit.call_digest, job.drop(edit.image)))
