"""`finish.upscale`: the second call of an edit, made only where the canvas enlarges its subject.

The answer to the first call is kept before, so nothing that happens here pays for that again. What
prevents the enlargement for good takes nothing away: a paid edit is finished without it, and says
why. Only what may pass, such as a full minute or a paused account, is tried again.
"""

import math

from image_drop import edits, paid_answers, paid_call, reuse
from image_drop.edits import Edit
from image_drop.errors import CancelledError, PermanentError
from image_drop.imaging.headers import read_header
from image_drop.imaging.photos import MAX_UPSCALED, Photo, check_upscale, prepare_photo
from image_drop.instructions.schema import MAX_SCALE, MIN_SCALE
from image_drop.job import Job
from image_drop.results import Larger
from image_drop.telemetry import logger


def enlarge(edit: Edit, png: bytes, job: Job) -> tuple[str, Larger | None]:
    """Return what was done for `finish.upscale`, for the metadata, and the larger answer.

    `png`: the kept answer to the first call. ("", None) where the canvas enlarges nothing.
    """
    if not edits.may_enlarge(edit.instructions):
        return "", None
    try:
        times = _times(edit, png)
        if times <= 1:
            return "", None
        return _enlarged(edit, png, times, job)
    except PermanentError as error:
        logger.warning("not enlarged", key=edit.image.key, code=error.code, reason=error.detail)
        return f"no: {error.code}", None


def _times(edit: Edit, png: bytes) -> float:
    from image_drop.imaging import canvas  # imports Pillow

    assert edit.instructions.finish is not None
    return round(canvas.enlargement(edit.instructions.finish, png), 2)


def _enlarged(edit: Edit, png: bytes, times: float, job: Job) -> tuple[str, Larger]:
    """Make the second call, unless its answer is there already."""
    services = job.services
    keep_metadata = services.settings.keep_metadata
    photo = prepare_photo(png, smallest=True, keep_metadata=keep_metadata)
    check_upscale(photo)
    scale = _scale(times, photo)
    second = edits.enlarging(edit, png, scale, services.catalogue.current())
    paid = paid_answers.kept_answer(second, job) or reuse.earlier_answer(second, [photo], job)
    if paid is None:
        _require_not_cancelled(edit, job)
        paid = paid_call.make_call(second, [photo], job)
    with paid_answers.kept_on_failure(second, paid, job):
        larger = paid_answers.checked_png(paid.answer, keep_metadata)
        note = reuse.note_of_original(second, [photo], paid, larger, job)
        paid_answers.keep_answer(second, paid, job, note)
    header = read_header(larger)
    assert header is not None, "`checked_png` has read it"
    return f"{header.width / photo.width:.3g} times", Larger(second, paid, larger)


def _scale(times: float, photo: Photo) -> float:
    """Return the scale to ask for: what the canvas needs, within the upscaler's limits."""
    most = math.floor(100 * math.sqrt(MAX_UPSCALED / (photo.width * photo.height))) / 100
    return float(max(MIN_SCALE, min(times, MAX_SCALE, most)))


def _require_not_cancelled(edit: Edit, job: Job) -> None:
    """Raise `CancelledError` if the image was cancelled since it was asked for."""
    asked_at = max(job.asked_at, edit.image.changed_at.timestamp())
    if cancelled := job.cancelled(edit.image.key, asked_at):
        raise CancelledError(cancelled)
