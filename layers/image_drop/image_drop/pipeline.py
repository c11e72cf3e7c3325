"""The story of one image, from upload to result. `process` tells it; the rest are its steps."""

from collections.abc import Sequence
from enum import StrEnum

from image_drop import (
    edits,
    enlarging,
    outcomes,
    paid_answers,
    paid_call,
    refusals,
    reports,
    results,
    reuse,
)
from image_drop.edits import Edit, Wanted
from image_drop.errors import (
    CancelledError,
    ImageDeletedError,
    ImageError,
    InProgressError,
    InstructionsError,
    LayerError,
    PermanentError,
    StorageBusyError,
    SupersededError,
    WaitsForImageError,
)
from image_drop.imaging.photos import (
    MAX_READ_TOGETHER,
    Photo,
    check_together,
    check_upscale,
    prepare_photo,
)
from image_drop.instructions.schema import Mode
from image_drop.instructions.sources import Variants
from image_drop.invocation import Invocation
from image_drop.job import Job, busy_storage_is_retryable, in_hand
from image_drop.paid_answers import Paid
from image_drop.results import Result
from image_drop.services import Services
from image_drop.state.scans import TooManyFoldersError
from image_drop.storage import output_bucket
from image_drop.storage.input_bucket import InputObject, unusable_layer
from image_drop.storage.output_bucket import ResultChangedError, Stored
from image_drop.telemetry import logger, measure
from image_drop.uploads import Upload

STORE_TRIES = 5
LOOK_AGAIN = 300.0  # seconds; the backfill runs every five minutes
MAX_JSON_BYTES = 34_000_000  # Venice refuses JSON above 35 MB; base64 makes 4 bytes of 3


class Outcome(StrEnum):
    """How a try ended when no error was raised."""

    EDITED = "edited"
    FINISHED = "finished"  # from an answer that was paid earlier, without a call
    REUSED = "reused"  # from an answer that was paid for the same picture under another name
    DONE_BEFORE = "done before"
    REPORTED = "reported"
    SUPERSEDED = "superseded"
    VARIANTS_QUEUED = "variants queued"
    WAITS_FOR_IMAGE = "waits for its image"
    LOOKS_AGAIN = "looks again at its folder"


def process(upload: Upload, services: Services, invocation: Invocation) -> Outcome:
    """Edit an uploaded image once, and return how it ended.

    A permanent error ends as a report in the output bucket. Raise a `RetryableError` or an
    `AccountError` when the image has to be retried.
    """
    with busy_storage_is_retryable():
        if upload.folder is not None:
            return look_again(upload, services)
        try:
            with in_hand(upload, services, invocation) as job:
                return work_on(job)
        except WaitsForImageError:
            return Outcome.WAITS_FOR_IMAGE
        except SupersededError:
            # Whatever changed it sends its own event, but that event may have been lost.
            at = invocation.asked_at(upload)
            services.queue.send(Upload(upload.bucket, upload.key, retry=upload.retry, asked_at=at))
            return Outcome.SUPERSEDED


def look_again(upload: Upload, services: Services) -> Outcome:
    """Let the backfill look at the images of a folder whose instructions have changed.

    Raise `InProgressError` if too many folders are waiting for that.
    """
    folder = upload.folder or ""
    try:
        if services.input_bucket.trusts(upload.key):
            services.folder_scans.look_again(folder, services.now())
    except TooManyFoldersError as error:
        raise InProgressError(
            f"Many folders are waiting for the backfill, so {folder} has to wait.",
            retry_at=services.now() + LOOK_AGAIN,
        ) from error
    logger.info("looks again", key=upload.key)
    return Outcome.LOOKS_AGAIN


def work_on(job: Job) -> Outcome:
    """Load the instructions, and make the edit unless it is done."""
    edit = None
    outcomes.take_over(job)
    if outcomes.is_result(job.hold.record.outcome):
        remove_report(job)  # which a function that died may have left
    try:
        with job.services.input_bucket.open_object(job.upload.bucket, job.upload.key) as image:
            wanted = load_wanted(image, job)
            if isinstance(wanted.edits, Variants) and job.upload.variant is None:
                return queue_variants(wanted, job)
            edit = edits.plan_edit(wanted, job.upload.variant, job.services)
            there = job.services.output_bucket.find_output(edit.output_key)
            if outcomes.is_done(edit, there, job):
                return catch_up(edit, there, job)
            require_not_cancelled(edit, wanted, job)
            edits.require_allowed(edit, wanted, job.services)
            require_running(edit, job)
            return make_edit(edit, there, job)
    except SupersededError:
        outcomes.announce(job)  # nobody else takes the record of a variant in hand
        raise
    except PermanentError as error:
        return Outcome.REPORTED if reports.write_report(error, edit, job) else Outcome.DONE_BEFORE


def require_running(edit: Edit, job: Job) -> None:
    """Raise `ProcessingPausedError` while processing is paused and this edit is no trial."""
    trial = edit.rate_model if job.invocation.trial else None
    breaker, now = job.services.circuit_breaker, job.services.now()
    breaker.require(now, trial=trial, status=job.seen.status)
    if trial:
        refusals.require_untried(edit, job)


def load_wanted(image: InputObject | None, job: Job) -> Wanted:
    """Return the image with its instructions.

    Raise `SupersededError` for a variant whose instructions are no longer valid: the image as a
    whole gets the report about that.
    """
    try:
        return edits.instructions_for(image, job.upload, job.services)
    except InstructionsError as error:
        if job.upload.variant is None:
            raise
        raise SupersededError(error.detail) from error


def require_not_cancelled(edit: Edit, wanted: Wanted, job: Job) -> None:
    """Raise `CancelledError` if the edit was asked for before its prefix was cancelled.

    Whoever changes the image or its files of instructions asks again. An answer that is paid
    already is finished.
    """
    record, bucket, fresh = job.hold.record, job.services.output_bucket, job.upload.fresh
    if record.kept_answer(edit.call_digest) and paid_answers.is_answered(
        edit, record, bucket, fresh=fresh
    ):
        return  # the record alone may be wrong: somebody may have removed the answer
    asked_at = max(job.asked_at, wanted.changed_at)
    if cancelled := job.cancelled(edit.image.key, asked_at):
        raise CancelledError(f"{cancelled} Venice was not called.")


def queue_variants(wanted: Wanted, job: Job) -> Outcome:
    """Make each variant an edit of its own, with its own record, tries and report."""
    upload = job.upload
    for variant in wanted.variants:
        job.services.queue.send(
            Upload(upload.bucket, upload.key, variant, retry=upload.retry, asked_at=job.asked_at)
        )
    outcomes.conclude_variants(wanted, job)
    remove_report(job)
    outcomes.announce(job)  # what the image as a whole was before
    return Outcome.VARIANTS_QUEUED


def make_edit(edit: Edit, there: Stored | None, job: Job) -> Outcome:
    """Do the paid part: prepare, wait for a slot and call, finish, store, announce.

    `there`: the object at the result's key now.
    """
    started = job.services.now()
    require_own(edit, there, job)
    photos = prepare_images(edit, job.services)
    paid = (
        paid_answers.kept_answer(edit, job)
        or reuse.earlier_answer(edit, photos, job)
        or paid_call.make_call(edit, photos, job)
    )
    with paid_answers.kept_on_failure(edit, paid, job):
        png, result = finished(edit, paid, job)
        seconds = job.services.now() - started
        metadata = results.metadata_of(edit, paid, photos, result, seconds, job.services)
        with outcomes.found_on_failure(job):
            stored = store_result(edit, png, result, metadata, there, job)
    note = reuse.note_of(edit, photos, paid, result, png, stored, job)
    outcomes.conclude_result(edit, stored, paid, job, note)
    remove_report(job)  # an older one
    paid_answers.forget_answer(edit, job)
    answers = results.answers_of(paid, result)
    log(edit, answers, job.services.now() - started)
    outcomes.announce(job)
    if any(each.call for each in answers):
        return Outcome.EDITED
    return Outcome.REUSED if paid.reused else Outcome.FINISHED


def finished(edit: Edit, paid: Paid, job: Job) -> tuple[bytes, Result]:
    """Return Venice's answer as PNG, and the result to be stored."""
    if before := results.finished_before(edit, paid):
        return before.data, before
    png = paid_answers.checked_png(paid.answer, job.services.settings.keep_metadata)
    if not edit.instructions.finish:
        return png, Result(png, "image/png")
    paid_answers.keep_answer(edit, paid, job)
    enlarged, larger = enlarging.enlarge(edit, png, job)
    return png, results.draw_finish(edit, png, job.services, enlarged, larger)


def catch_up(edit: Edit, there: Stored | None, job: Job) -> Outcome:
    """Do what is left of an edit that is done: its function may have died on the way."""
    if there is not None and there.edit_id == edit.id:
        outcomes.conclude_result(edit, there, None, job)
    if outcomes.is_result(job.hold.record.outcome):  # also one that somebody has removed since
        remove_report(job)
        if not job.hold.record.without_result(edit.call_digest):  # else a new draw waits for more
            paid_answers.forget_answer(edit, job)
    outcomes.announce(job)
    return Outcome.DONE_BEFORE


def require_own(edit: Edit, there: Stored | None, job: Job) -> None:
    """Raise `OutputTakenError` unless everything that will be replaced is of this image."""
    others = [there]
    if edit.original_key:
        others.append(job.services.output_bucket.find_output(edit.original_key))
        if edits.may_enlarge(edit.instructions):
            larger = output_bucket.larger_key(edit.output_key)
            others.append(job.services.output_bucket.find_output(larger))
    for other in others:
        paid_answers.require_of(edit, other)


def prepare_images(edit: Edit, services: Services) -> tuple[Photo | str, ...]:
    """Return the image and its layers as Venice accepts them; a layer that is a URL stays a URL.

    All of them are in memory at the end, so their sum is checked before and after each one.
    """
    require_readable_together(edit)
    image = _prepared(_read(edit.image, services), edit, services)
    if edit.mode is Mode.UPSCALE:
        check_upscale(image)
    photos = [image]
    sent: list[Photo | str] = [image]
    for layer in edit.layers:
        if isinstance(layer, str):
            sent.append(layer)
            continue
        photos.append(prepare_layer(layer, image, edit, services))
        sent.append(photos[-1])
        check_together(photos)
    size = sum(len(photo.data) for photo in photos)
    if len(photos) < len(sent) and size * 4 / 3 > MAX_JSON_BYTES:
        raise LayerError(
            f"The image and its layers have {size:,} bytes together. With a layer that is a URL, "
            f"the limit is {MAX_JSON_BYTES * 3 // 4:,}. Put that layer into the bucket instead."
        )
    return tuple(sent)


def require_readable_together(edit: Edit) -> None:
    """Raise `LayerError` unless an image and its layers fit into memory."""
    layers = [layer for layer in edit.layers if isinstance(layer, InputObject)]
    size = edit.image.size + sum(layer.size for layer in layers)
    if layers and size > MAX_READ_TOGETHER:
        raise LayerError(
            f"The image and its layers have {size:,} bytes together; the limit is "
            f"{MAX_READ_TOGETHER:,}. Save some of them smaller."
        )


def prepare_layer(layer: InputObject, image: Photo, edit: Edit, services: Services) -> Photo:
    """Return a mask or overlay as Venice accepts it, also if its size differs from the image's."""
    try:
        photo = _prepared(_read(layer, services), edit, services)
    except ImageError as error:
        logger.warning("layer cannot be used", key=layer.key, reason=error.detail)
        raise unusable_layer(layer.key) from error
    if (photo.width, photo.height) != (image.width, image.height):
        logger.warning(
            "layer has another size than its image",
            key=layer.key,
            layer=f"{photo.width}x{photo.height}",
            image=f"{image.width}x{image.height}",
        )
    return photo


def store_result(
    edit: Edit,
    png: bytes,
    result: Result,
    metadata: dict[str, str],
    there: Stored | None,
    job: Job,
) -> Stored:
    """Write the result, unless the image or its instructions have changed.

    The write succeeds only if `there` is still the object at the result's key.
    """
    bucket = job.services.output_bucket
    for _ in range(STORE_TRIES):
        require_wanted(edit, job)
        try:
            if edit.original_key:
                paid_answers.publish_answer(edit, png, job)
                if larger := result.larger:
                    paid_answers.publish_answer(larger.edit, larger.png, job)
            return bucket.store_output(
                edit.output_key, result.data, result.media_type, metadata, there
            )
        except ResultChangedError:
            there = bucket.find_output(edit.output_key)
            require_own(edit, there, job)
    raise StorageBusyError(f"{edit.output_key} changed at each of {STORE_TRIES} tries.")


def require_wanted(edit: Edit, job: Job) -> None:
    """Raise `SupersededError` if the image or its instructions have changed since.

    The result of an image that was deleted meanwhile is stored, because it is paid for.
    """
    try:
        current = job.plan(edit.image)
    except ImageDeletedError:
        return
    except PermanentError as error:
        raise SupersededError(f"The instructions have changed. {error.detail}") from error
    if current.id != edit.id:
        raise SupersededError(f"{edit.image.key} or its instructions have changed.")


def remove_report(job: Job) -> None:
    """Remove an older report about this image, if there is one."""
    bucket, upload = job.services.output_bucket, job.upload
    if not job.hold.record.report:
        return
    for key in output_bucket.report_keys(upload.key, upload.variant):
        report = bucket.find_output(key)
        if report is None:
            break
        if report.is_of(upload.key, upload.variant):
            bucket.remove_output(report)
            break
    job.hold.update_later(lambda record: record.with_report(False))


def log(edit: Edit, answers: Sequence[Paid], duration: float) -> None:
    """Log the edit and write its metrics."""
    answer = answers[0].answer
    if answer.deprecation:
        logger.warning("model is deprecated", model=answer.model, warning=answer.deprecation)
        measure({"DeprecatedModel": 1}, model=answer.model or edit.rate_model)
    logger.info("edited", key=edit.image.key, mode=edit.mode, edit_id=edit.id)
    measure({"Edited": 1, "Duration": duration}, mode=edit.mode)
    reuse.log(edit, answers)


def _prepared(data: bytes, edit: Edit, services: Services) -> Photo:
    return prepare_photo(
        data,
        smallest=edit.mode is not Mode.BACKGROUND_REMOVE,
        keep_metadata=services.settings.keep_metadata,
    )


def _read(image: InputObject, services: Services) -> bytes:
    return services.input_bucket.read_object(image, services.settings.max_image_bytes)
