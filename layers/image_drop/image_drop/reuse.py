"""The same picture is paid once, whatever it is called.

What was sent to Venice for an edit is looked up before the call. If an earlier call with the same
pictures and the same request has a result, that is served instead: verified by its SHA-256, and
under its new name. Two uploads at the same time may both pay.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from image_drop.edits import Edit
from image_drop.imaging.photos import Photo
from image_drop.job import Job
from image_drop.paid_answers import HEADERS, Paid
from image_drop.results import Result
from image_drop.state import answers
from image_drop.state.answers import Known
from image_drop.state.billing import MICRO
from image_drop.state.edit_record import CallState
from image_drop.storage.output_bucket import Stored
from image_drop.telemetry import logger, measure
from image_drop.venice import client
from image_drop.venice.client import Answer

Pictures = Sequence[Photo | str]


def earlier_answer(edit: Edit, photos: Pictures, job: Job) -> Paid | None:
    """Return the answer of an earlier call with the same pictures and request, or None.

    A new draw that is asked for is a new call. An answer whose object was removed or replaced
    since is none.
    """
    id = _id(edit, photos, job)
    if id is None or edit.instructions.fresh or job.upload.fresh:
        return None
    ids = [id]
    if edit.instructions.finish and not edit.original_key:
        ids.insert(0, _finished_id(id, edit))
    items = job.services.records.read_with(*ids)
    for each in ids:
        known = answers.known_in(items.get(each))
        if known and (paid := _verified(known, job)):
            return paid
    return None


def note_of(
    edit: Edit, photos: Pictures, paid: Paid, result: Result, png: bytes, stored: Stored, job: Job
) -> Mapping[str, Any] | None:
    """Return the item that says where this answer is found again; None if nobody could use it.

    An item that is written with the outcome needs no request of its own.
    """
    if edit.original_key:
        return note_of_original(edit, photos, paid, png, job)
    id = _id(edit, photos, job)
    if id is None:
        return None
    finished, larger = edit.instructions.finish is not None, result.larger
    known = _known(
        stored.key,
        edit.id,
        result.data,
        edit,
        paid,
        media_type=result.media_type,
        micro_usd=_micro_usd(edit, paid, job)
        + (_micro_usd(larger.edit, larger.paid, job) if larger else 0),
        finished=finished,
        fill=result.fill,
        enlarged=result.enlarged,
    )
    return _put(_finished_id(id, edit) if finished else id, known, job)


def note_of_original(
    edit: Edit, photos: Pictures, paid: Paid, png: bytes, job: Job
) -> Mapping[str, Any] | None:
    """Return the same item for an answer that `keep_original` keeps next to a finished result."""
    id, key = _id(edit, photos, job), edit.original_key
    if id is None or key is None:
        return None
    micro_usd = _micro_usd(edit, paid, job)
    known = _known(
        key, edit.call_digest, png, edit, paid, media_type="image/png", micro_usd=micro_usd
    )
    return _put(id, known, job)


def log(edit: Edit, served: Sequence[Paid]) -> None:
    """Log that answers of a result were reused, and write the metrics of that."""
    reused = [each.reused for each in served if each.reused]
    if reused:
        usd = sum(each.micro_usd for each in reused) / MICRO
        logger.info("reused", key=edit.image.key, earlier=reused[0].key)
        measure({"Reused": 1, "Saved": usd}, mode=edit.mode)


def _id(edit: Edit, photos: Pictures, job: Job) -> str | None:
    """Return the id of the edit's call; None if a layer is a URL, whose bytes are not known."""
    sums = [photo.sha256 for photo in photos if isinstance(photo, Photo)]
    if len(sums) < len(photos):
        return None
    # What strangers may write is served to strangers of the same folder only.
    scope = (edit.image.bucket, job.services.input_bucket.scope(edit.image.key))
    request = (edit.mode, client.parameters(edit.instructions))
    return answers.answer_id(scope, request, sums)


def _known(key: str, mark: str, data: bytes, edit: Edit, paid: Paid, **others: Any) -> Known:
    return Known(
        key=key,
        mark=mark,
        sha256=hashlib.sha256(data).hexdigest(),
        model=paid.answer.model or edit.model,
        request_id=paid.answer.request_id or "",
        blurred=paid.answer.blurred,
        **others,
    )


def _put(id: str, known: Known, job: Job) -> Mapping[str, Any]:
    return answers.put(job.services.records.table, id, known, job.services.now())


def _finished_id(id: str, edit: Edit) -> str:
    finish = edit.instructions.finish
    background = edit.background.etag if edit.background else None
    return answers.finished_id(id, [finish and finish.identity, background])


def _verified(known: Known, job: Job) -> Paid | None:
    found = job.services.output_bucket.read_output(known.key)
    if found is None or hashlib.sha256(found[2]).hexdigest() != known.sha256:
        return None
    marks = (found[0].metadata.get(name) for name in ("edit-id", "call-digest"))
    if known.mark not in marks:
        return None
    said = {
        "model": known.model,
        "venice-request-id": known.request_id,
        "blurred": "true" if known.blurred else "",
    }
    headers = {header: said[name] for name, header in HEADERS.items() if said[name]}
    return Paid(Answer(found[2], known.media_type, headers), reused=known)


def _micro_usd(edit: Edit, paid: Paid, job: Job) -> int:
    """Return what the call cost, whoever paid it."""
    if paid.reused:
        return paid.reused.micro_usd
    if paid.settlement:
        return paid.settlement.micro_usd
    costs = [
        call.micro_usd
        for call in job.hold.record.calls
        if call.digest == edit.call_digest and call.state is CallState.PAID
    ]
    return costs[-1] if costs else 0
