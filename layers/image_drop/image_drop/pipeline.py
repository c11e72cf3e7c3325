"""The story of one image, from upload to result. `process` tells it; the rest are its steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)

from image_drop import edits, outcomes, paid_answers, paid_call, reports
from image_drop.edits import Edit, Wanted
from image_drop.errors import (
    ImageDeletedError,
    ImageError,
    InstructionsError,
    LayerError,
    OutputTakenError,
    PermanentError,
    StorageBusyError,
    SupersededError,
    WaitsForImageError,
)
from image_drop.imaging.photos import MAX_READ_TOGETHER, Photo, check_together, prepare_photo
from image_drop.instructions.schema import Mode
from image_drop.instructions.sources import Variants
from image_drop.invocation import Invocation
from image_drop.job import Job, in_hand
from image_drop.paid_answers import Paid
from image_drop.services import Services
from image_drop.storage import output_bucket
from image_drop.storage.input_bucket import InputObject, unusable_layer
from image_drop.storage.output_bucket import ResultChangedError, Stored
from image_drop.telemetry import logger, measure
from image_drop.uploads import Upload

STORE_TRIES = 5
MAX_JSON_BYTES = 34_000_000  # Venice refuses JSON above 35 MB; base64 makes 4 bytes of 3
BUSY = ("SlowDown", "Throttling", "ThrottlingException", "ProvisionedThroughputExceededException")


class Outcome(StrEnum):
    """How a try ended when no error was raised."""

    EDITED = "edited"
    DONE_BEFORE = "done before"
    REPORTED = "reported"
    SUPERSEDED = "superseded"
    VARIANTS_QUEUED = "variants queued"
    WAITS_FOR_IMAGE = "waits for its image"


def process(upload: Upload, services: Services, invocation: Invocation) -> Outcome:
    """Edit an uploaded image, once, and say how it ended.

    What waiting cannot mend ends as a report in the output bucket. Raises a `RetryableError` or
    `AccountError` when the image has to be tried again.
    """
    with _busy_storage_is_retryable():
        try:
            with in_hand(upload, services, invocation) as job:
                return work_on(job)
        except WaitsForImageError:
            return Outcome.WAITS_FOR_IMAGE
        except SupersededError:
            # Whatever changed it has an event of its own; but nothing may hang on that.
            services.queue.send(Upload(upload.bucket, upload.key, retry=upload.retry))
            return Outcome.SUPERSEDED


def work_on(job: Job) -> Outcome:
    """Load what is wanted, and make it unless it is done."""
    edit = None
    try:
        wanted = load(job)
        if isinstance(wanted.edits, Variants) and job.upload.variant is None:
            return queue_variants(wanted, job)
        edit = edits.plan_edit(wanted, job.upload.variant, job.services)
        there = job.services.output_bucket.find(edit.output_key)
        if outcomes.is_done(edit, there, job):
            return catch_up(edit, there, job)
        edits.require_allowed(edit, wanted, job.services)
        trial = edit.rate_model if job.invocation.trial else None
        job.services.circuit_breaker.require(job.services.now(), trial=trial)
        return make(edit, there, job)
    except PermanentError as error:
        return Outcome.REPORTED if reports.write(error, edit, job) else Outcome.DONE_BEFORE


def load(job: Job) -> Wanted:
    """The image with its instructions.

    Raises `SupersededError` for a variant where there are no good instructions any more: that is
    told of the image as a whole.
    """
    try:
        return edits.load_instructions(job.upload, job.services)
    except InstructionsError as error:
        if job.upload.variant is None:
            raise
        raise SupersededError(error.detail) from error


def queue_variants(wanted: Wanted, job: Job) -> Outcome:
    """Make each variant an edit of its own, with its own record, tries and report."""
    upload = job.upload
    for variant in wanted.variants:
        job.services.queue.send(Upload(upload.bucket, upload.key, variant, retry=upload.retry))
    outcomes.conclude_variants(wanted, job)
    remove_report(job)
    return Outcome.VARIANTS_QUEUED


def make(edit: Edit, there: Stored | None, job: Job) -> Outcome:
    """The paid part: prepare, wait for a slot and call, finish, store, announce.

    `there`: what is at the result's key now.
    """
    started = job.services.now()
    require_own(edit, there, job)
    photos = prepare_images(edit, job.services)
    paid = paid_answers.kept(edit, job) or paid_call.make(edit, photos, job)
    with paid_answers.kept_on_failure(edit, paid, job):
        png = paid_answers.check(paid.answer, job.services.settings.keep_metadata)
        result = png, "image/png"
        if edit.instructions.finish:
            paid_answers.keep(edit, paid, job)
            result = draw_finish(edit, png, job.services)
        metadata = metadata_of(edit, paid, photos, job.services.now() - started, job.services)
        stored = store(edit, png, result, metadata, there, job)
    outcomes.conclude_result(edit, stored, paid.settlement, job)
    clean_up(edit, job)
    log(edit, paid, job.services.now() - started)
    outcomes.announce(job)
    return Outcome.EDITED


def catch_up(edit: Edit, there: Stored | None, job: Job) -> Outcome:
    """Do what is left of an edit that is done: its function may have died on the way."""
    if there is not None and there.edit_id == edit.id:
        outcomes.conclude_result(edit, there, outcomes.settlement_of(there, job), job)
        clean_up(edit, job)
    outcomes.announce(job)
    return Outcome.DONE_BEFORE


def require_own(edit: Edit, there: Stored | None, job: Job) -> None:
    """Nothing, where only results of this image are replaced. Raises `OutputTakenError`."""
    others = [there]
    if edit.original_key:
        others.append(job.services.output_bucket.find(edit.original_key))
    for other in others:
        if other is not None and not other.is_of(edit.image.key, edit.variant):
            whose = other.source_key or "something that Image Drop did not make"
            raise OutputTakenError(
                f"The result of {edit.image.key} would replace {other.key}, "
                f"which belongs to {whose}."
            )


def prepare_images(edit: Edit, services: Services) -> tuple[Photo | str, ...]:
    """The image and its layers as Venice takes them; a layer that is a URL stays one.

    All of them are in memory at the end, so their sum is bounded: before, and after each.
    """
    require_readable_together(edit)
    image = _prepared(_read(edit.image, services), edit, services)
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
            f"The image and its layers have {size:,} bytes. Together with a layer that is a "
            f"URL, {MAX_JSON_BYTES * 3 // 4:,} can be sent. Put that layer into the bucket."
        )
    return tuple(sent)


def require_readable_together(edit: Edit) -> None:
    """Nothing, where an image and its layers fit into memory. Raises `LayerError`."""
    layers = [layer for layer in edit.layers if isinstance(layer, InputObject)]
    size = edit.image.size + sum(layer.size for layer in layers)
    if layers and size > MAX_READ_TOGETHER:
        raise LayerError(
            f"The image and its layers have more than {MAX_READ_TOGETHER:,} bytes together. "
            "Save some of them smaller."
        )


def prepare_layer(layer: InputObject, image: Photo, edit: Edit, services: Services) -> Photo:
    """A mask or overlay as Venice takes it; one of another size than the image is sent, too."""
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


def draw_finish(edit: Edit, png: bytes, services: Services) -> tuple[bytes, str]:
    """The finished result and its media type."""
    from image_drop.imaging import canvas  # imports Pillow, which other edits need not

    assert edit.instructions.finish is not None
    try:
        background = _read(edit.background, services) if edit.background else None
        finished = canvas.render(edit.instructions.finish, png, background)
    except (ImageError, LayerError) as error:
        raise LayerError(
            f"The finish could not be made: {error.detail} Venice's answer is kept; "
            "with a corrected finish it is not paid for again."
        ) from error
    return finished, edit.instructions.finish.media_type


def metadata_of(
    edit: Edit, paid: Paid, photos: tuple[Photo | str, ...], seconds: float, services: Services
) -> dict[str, str]:
    """What a result tells about itself; enough to finish its bookkeeping after a crash."""
    first, settlement = photos[0], paid.settlement
    return output_bucket.as_metadata(
        {
            "edit-id": edit.id,
            "call": settlement.call_id if settlement else None,
            "cost-usd": f"{settlement.usd if settlement else 0:.6f}",
            "seconds": f"{seconds:.1f}",
            "variant": edit.variant,
            "source-key": edit.image.key,
            "source-etag": edit.image.etag,
            "mode": edit.mode,
            "model": paid.answer.model or edit.model,
            "venice-request-id": paid.answer.request_id,
            "changes": None if isinstance(first, str) else " ".join(first.changes),
            "blurred": "true" if paid.answer.blurred else None,
            "ignored": "; ".join(services.input_bucket.ignored(edit.image)),
        }
    )


def store(
    edit: Edit,
    png: bytes,
    result: tuple[bytes, str],
    metadata: dict[str, str],
    there: Stored | None,
    job: Job,
) -> Stored:
    """Write the result, unless something else is wanted by now.

    The write holds only if what is replaced is still what was seen there.
    """
    bucket = job.services.output_bucket
    for _ in range(STORE_TRIES):
        require_wanted(edit, job)
        if edit.original_key:
            paid_answers.publish(edit, png, job)
        try:
            return bucket.store(edit.output_key, *result, metadata, there)
        except ResultChangedError:
            there = bucket.find(edit.output_key)
            require_own(edit, there, job)
    raise StorageBusyError(f"{edit.output_key} was written by others at each of our tries.")


def require_wanted(edit: Edit, job: Job) -> None:
    """Nothing, where this edit is still what is wanted. Raises `SupersededError`.

    The result of an image that was deleted meanwhile is paid for, and so it is stored.
    """
    try:
        current = job.plan()
    except ImageDeletedError:
        return
    except PermanentError as error:
        raise SupersededError(f"The instructions were changed: {error.detail}") from error
    if current.id != edit.id:
        raise SupersededError(f"{edit.image.key} or its instructions were changed.")


def clean_up(edit: Edit, job: Job) -> None:
    """Remove what the result makes superfluous: an older report, the kept answer."""
    remove_report(job)
    paid_answers.forget(edit, job)


def remove_report(job: Job) -> None:
    """Remove an older report about this image, if there is one."""
    bucket, upload = job.services.output_bucket, job.upload
    for key in output_bucket.report_keys(upload.key, upload.variant):
        report = bucket.find(key)
        if report is None:
            return
        if report.is_of(upload.key, upload.variant):
            bucket.remove(report)
            return


def log(edit: Edit, paid: Paid, duration: float) -> None:
    """Tell the log and the metrics."""
    answer = paid.answer
    if answer.deprecation:
        logger.warning("model is deprecated", model=answer.model, warning=answer.deprecation)
        measure({"DeprecatedModel": 1}, model=answer.model or edit.rate_model)
    logger.info("edited", key=edit.image.key, mode=edit.mode, edit_id=edit.id)
    measure({"Edited": 1, "Duration": duration}, mode=edit.mode)


def _prepared(data: bytes, edit: Edit, services: Services) -> Photo:
    return prepare_photo(
        data,
        smallest=edit.mode is not Mode.BACKGROUND_REMOVE,
        keep_metadata=services.settings.keep_metadata,
    )


def _read(original: InputObject, services: Services) -> bytes:
    return services.input_bucket.read(original, services.settings.max_image_bytes)


@contextmanager
def _busy_storage_is_retryable() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise StorageBusyError(f"AWS did not answer: {type(error).__name__}.") from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if status >= 500 or status == 429 or code in BUSY:
            raise StorageBusyError(f"AWS answered {code}.") from error
        raise
