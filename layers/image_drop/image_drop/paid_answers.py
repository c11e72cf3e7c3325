"""Paid answers: checked, kept until they are a result, and found again.

No failure after a payment leads to a second payment: the answer is kept where the next try finds
it. If even that fails, the call stays open, and there are at most two calls for one edit. An answer
that is not wanted any more, though AWS works, is settled, kept or not.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from image_drop import refusals
from image_drop.edits import Edit
from image_drop.errors import (
    ImageDropError,
    ImageError,
    OutputTakenError,
    StorageBusyError,
    UnusableAnswerError,
)
from image_drop.imaging import photos
from image_drop.job import Job
from image_drop.state.answers import Known
from image_drop.state.billing import Settlement
from image_drop.state.edit_record import Call, OutcomeKind, Record
from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import OutputBucket, Stored
from image_drop.telemetry import never_failing
from image_drop.venice.client import Answer


@dataclass(frozen=True)
class Paid:
    """An answer, with its call and the settlement; both None if it was paid for earlier.

    `reused`: where it was found, if it was paid for under another name, see `reuse`.
    """

    answer: Answer
    call: Call | None = None
    settlement: Settlement | None = None
    reused: Known | None = None


def checked_png(answer: Answer, keep_metadata: bool) -> bytes:
    """Return the answer as PNG. Raise `UnusableAnswerError` when it is not an image."""
    try:
        return photos.to_png(answer.data, keep_metadata=keep_metadata)
    except ImageError as error:
        raise UnusableAnswerError(
            f"Venice's answer cannot be read. {error.detail}",
            status=200,
            request_id=answer.request_id,
        ) from error


def kept_answer(edit: Edit, job: Job) -> Paid | None:
    """Return the kept answer to the same call, or None."""
    for key, name, value in _places(edit, job.hold.record, job.upload.fresh):
        found = job.services.output_bucket.read_output(key)
        if found and found[0].metadata.get(name) == value:
            stored, media_type, data = found
            metadata = output_bucket.from_metadata(stored.metadata)
            headers = {to: metadata[name] for name, to in HEADERS.items() if name in metadata}
            return Paid(Answer(data, media_type, headers))
    return None


def is_answered(edit: Edit, record: Record, bucket: OutputBucket, *, fresh: bool = False) -> bool:
    """Return whether an edit needs no call, because `kept_answer` would find its answer.

    `fresh`: a new draw was asked for.
    """
    return any(
        (found := bucket.find_output(key)) and found.metadata.get(name) == value
        for key, name, value in _places(edit, record, fresh)
    )


def _places(edit: Edit, record: Record, fresh: bool = False) -> Iterator[tuple[str, str, str]]:
    """Yield where an answer to the same call may be: its key, and the metadatum that proves it.

    The result without a finish is the answer itself. Only an image that had a result can have one.
    For a new draw, only an answer counts that is no result yet.
    """
    if kept := record.kept_answer(edit.call_digest):
        yield kept, "call-digest", edit.call_digest
    if fresh:
        return
    if edit.original_key:
        yield edit.original_key, "call-digest", edit.call_digest
    had_result = record.outcome and record.outcome.kind is OutcomeKind.RESULT
    if edit.instructions.finish and had_result and not edit.enlarges:
        yield edit.plain_key, "edit-id", edit.plain_id


HEADERS = {  # an answer's headers by the names that they have in its metadata
    "model": "x-venice-model-id",
    "venice-request-id": "CF-RAY",
    "blurred": "x-venice-is-blurred",
}


def keep_answer(edit: Edit, paid: Paid, job: Job, note: Mapping[str, Any] | None = None) -> None:
    """Keep an answer where the next try finds it, and settle its call in the same write.

    `note`: an item that is written in the same transaction, see `reuse.note_of_original`.
    """
    record, settlement = job.hold.record, paid.settlement
    is_new = settlement is not None and settlement.is_open(record)
    if paid.reused or (record.kept_answer(edit.call_digest) and not is_new):
        return  # it is there already
    key = output_bucket.answer_key(edit.call_digest)
    answer = paid.answer
    job.services.output_bucket.put_output(
        key, answer.data, answer.media_type, _metadata(edit, paid)
    )

    def with_answer(record: Record) -> Record:
        new = record.with_answer(edit.call_digest, key, larger=edit.enlarges)
        return settlement.change(new) if settlement else new

    job.hold.update(with_answer, settlement.move if settlement else None, note)


def require_of(edit: Edit, other: Stored | None) -> None:
    """Raise `OutputTakenError` if an object that would be replaced is not of this edit's image."""
    if other is not None and not other.is_of(edit.image.key, edit.variant):
        source = other.source_key
        whose = f"belongs to {source}" if source else "Image Drop did not make"
        raise OutputTakenError(
            f"The result of {edit.image.key} would replace {other.key}, which {whose}."
        )


def publish_answer(edit: Edit, png: bytes, job: Job) -> None:
    """Put Venice's own answer next to the finished result, for `keep_original`.

    Raise `OutputTakenError` or `ResultChangedError`.
    """
    assert edit.original_key is not None
    bucket = job.services.output_bucket
    there = bucket.find_output(edit.original_key)
    require_of(edit, there)
    metadata = output_bucket.as_metadata(
        {
            "call-digest": edit.call_digest,
            "variant": edit.variant,
            "source-key": edit.image.key,
        }
    )
    bucket.store_output(edit.original_key, png, "image/png", metadata, there)


def forget_answer(edit: Edit, job: Job) -> None:
    """Remove the kept answers of this edit's call, and of its second one."""
    record, bucket = job.hold.record, job.services.output_bucket
    for digest in (record.kept_digest, record.larger_digest):
        if not digest.startswith(edit.call_digest):
            continue
        if stored := bucket.find_output(record.kept_answer(digest)):
            bucket.remove_output(stored)
        job.hold.update(partial(Record.without_answer, digest=digest))


@contextmanager
def kept_on_failure(edit: Edit, paid: Paid, job: Job) -> Iterator[None]:
    """Keep the answer if the body fails, unless the answer itself is unusable."""
    try:
        yield
    except UnusableAnswerError as error:
        with never_failing("answer not forgotten"):
            forget_answer(edit, job)
        if paid.call:
            refusals.note(error, paid.call, job)
        raise
    except Exception as error:
        with never_failing("answer not kept"):
            keep_answer(edit, paid, job)
        settlement = paid.settlement
        unwanted = isinstance(error, ImageDropError) and not isinstance(error, StorageBusyError)
        if settlement and unwanted:
            job.hold.update_or_owe("call not settled", settlement.change, settlement.move)
        raise


def _metadata(edit: Edit, paid: Paid) -> dict[str, str]:
    answer = paid.answer
    return output_bucket.as_metadata(
        {
            "call-digest": edit.call_digest,
            "variant": edit.variant,
            "model": answer.model,
            "venice-request-id": answer.request_id,
            "blurred": "true" if answer.blurred else None,
            "source-key": edit.image.key,
        }
    )
