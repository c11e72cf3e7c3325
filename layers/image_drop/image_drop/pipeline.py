"""The story of one image, from upload to result. `process` tells it; the rest are its steps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)

from image_drop import edits, finish, images, paid_call, reports, results
from image_drop.edits import Edit
from image_drop.errors import (
    ImageError,
    InProgressError,
    LayerError,
    PermanentError,
    StorageBusyError,
    SupersededError,
    UnusableAnswerError,
    WaitsForImageError,
)
from image_drop.events import ImageEdited, Place
from image_drop.images import Photo
from image_drop.instructions import Instructions
from image_drop.lock import KEPT_FOR
from image_drop.originals import Original
from image_drop.rate_limit import DEFAULT_MODEL
from image_drop.results import ResultChangedError
from image_drop.services import Invocation, Services
from image_drop.telemetry import logger, measure
from image_drop.uploads import Upload
from image_drop.venice import Answer

STORE_TRIES = 5
KEPT = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}
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
    edit = None
    with _busy_storage_is_retryable():
        try:
            original, wanted = edits.find(upload, services)
            if None not in wanted and upload.variant is None:
                return queue_variants(upload, wanted, services)
            edit = edits.plan(original, wanted, upload.variant, services)
            if is_done(edit, services):
                return Outcome.DONE_BEFORE
            services.catalogue.current().check(edit.instructions, 1 + len(edit.layers))
            if not invocation.trial:
                services.line.require(services.now())
            return make_once(edit, services, invocation)
        except WaitsForImageError:
            return Outcome.WAITS_FOR_IMAGE
        except SupersededError:
            return Outcome.SUPERSEDED
        except PermanentError as error:
            written = reports.write(error, upload, edit, services, invocation)
            return Outcome.REPORTED if written else Outcome.SUPERSEDED


def queue_variants(
    upload: Upload, wanted: Mapping[str | None, Instructions], services: Services
) -> Outcome:
    """Make each variant an edit of its own, with its own tries and its own report."""
    for variant in wanted:
        services.queue.send(Upload(upload.bucket, upload.key, variant=variant))
    services.results.remove_report(upload.key, None)
    return Outcome.VARIANTS_QUEUED


def is_done(edit: Edit, services: Services) -> bool:
    """Whether this very edit has a result, or was reported since the image was uploaded."""
    result = services.results.find(edit.output_key)
    if result is not None and result.edit_id == edit.id:
        # The function that stored it may have died before it removed an older report.
        services.results.remove_report(edit.original.key, edit.variant)
        return True
    told = services.results.find(results.report_key(edit.original.key, edit.variant))
    return (
        told is not None and told.edit_id == edit.id and told.stored_at >= edit.original.changed_at
    )


def make_once(edit: Edit, services: Services, invocation: Invocation) -> Outcome:
    """Make the edit, unless another invocation is at it or has just made it."""
    done_now = services.lock.hold(
        edit.id, invocation.context, lambda: make(edit, services, invocation)
    )
    if done_now:
        return Outcome.EDITED
    if is_done(edit, services):
        return Outcome.DONE_BEFORE
    raise InProgressError(
        "It was made a moment ago and its result is gone.", retry_at=services.now() + KEPT_FOR
    )


def make(edit: Edit, services: Services, invocation: Invocation) -> None:
    """The paid part: prepare, wait for a turn and call, finish, store, announce."""
    started = services.now()
    photos = prepare(edit, services)
    answer = kept_answer(edit, services) or paid_call.make(edit, photos, services, invocation)
    with paid_call.settling(edit, answer, services):
        result = finish_up(edit, answer, services)
        store(edit, answer, result, photos, services)
    tidy_up(edit, answer, services)
    announce(edit, answer, photos, services.now() - started, services, invocation)


def prepare(edit: Edit, services: Services) -> tuple[Photo | str, ...]:
    """The image and its layers as Venice takes them; a layer that is a URL stays one."""
    image = images.prepare(_read(edit.original, services))
    layers = [
        layer if isinstance(layer, str) else prepare_layer(layer, image, services)
        for layer in edit.layers
    ]
    sizes = [len(photo.data) for photo in (image, *layers) if isinstance(photo, Photo)]
    if len(sizes) <= len(layers) and sum(sizes) * 4 / 3 > MAX_JSON_BYTES:
        raise LayerError(
            f"The image and its layers have {sum(sizes):,} bytes. Together with a layer that is a "
            f"URL, {MAX_JSON_BYTES * 3 // 4:,} can be sent. Put that layer into the bucket."
        )
    return image, *layers


def prepare_layer(layer: Original, image: Photo, services: Services) -> Photo:
    """A mask or overlay as Venice takes it; one of another size than the image is sent, too."""
    try:
        photo = images.prepare(_read(layer, services))
    except ImageError as error:
        raise LayerError(f"The layer {layer.key}: {error.detail}") from error
    if (photo.width, photo.height) != (image.width, image.height):
        logger.warning(
            "layer has another size than its image",
            key=layer.key,
            layer=f"{photo.width}x{photo.height}",
            image=f"{image.width}x{image.height}",
        )
    return photo


def kept_answer(edit: Edit, services: Services) -> Answer | None:
    """Venice's answer to the same call, where it was kept: a new finish is not paid again."""
    if edit.instructions.finish is None:
        return None
    for media_type, suffix in KEPT.items():
        key = _kept_key(edit, suffix)
        found = services.results.find(key)
        if found is not None and found.call_id == edit.call_id:
            return Answer(services.results.read(key), media_type, {})
    return None


def finish_up(edit: Edit, answer: Answer, services: Services) -> tuple[bytes, str]:
    """The result's bytes and media type: PNG, or what the finish makes of it.

    A finish can fail, so the paid answer is kept first.
    """
    if edit.instructions.finish is None:
        return check(answer), "image/png"
    kept = _kept_key(edit, KEPT[answer.media_type])
    services.results.keep(kept, answer.data, answer.media_type, edit.call_id)
    try:
        background = _read(edit.background, services) if edit.background else None
        finished = finish.apply(edit.instructions.finish, check(answer), background)
    except (ImageError, LayerError) as error:
        raise LayerError(
            f"The finish could not be made: {error.detail} Venice's answer is kept as {kept}; "
            "with a corrected finish it is not paid for again."
        ) from error
    return finished.data, finished.media_type


def check(answer: Answer) -> bytes:
    """The answer as PNG. Raises `UnusableAnswerError` where it is no image."""
    try:
        return images.to_png(answer.data)
    except ImageError as error:
        raise UnusableAnswerError(
            f"Venice's image cannot be read: {error.detail}",
            status=200,
            request_id=answer.request_id,
        ) from error


def store(
    edit: Edit,
    answer: Answer,
    result: tuple[bytes, str],
    photos: tuple[Photo | str, ...],
    services: Services,
) -> None:
    """Write the result, unless a newer upload has taken the image's place.

    The look at the original lies between the look at the result and the write, which holds only
    if the result is still the one that was seen: so an older edit cannot replace a newer one.
    """
    metadata = results.as_metadata(
        {
            "edit-id": edit.id,
            "source-key": edit.original.key,
            "source-etag": edit.original.etag,
            "mode": edit.mode,
            "variant": edit.variant,
            "model": answer.model or edit.instructions.model or DEFAULT_MODEL,
            "venice-request-id": answer.request_id,
            "changes": " ".join(_changes(photos)),
            "blurred": "true" if answer.blurred else None,
        }
    )
    for _ in range(STORE_TRIES):
        seen = services.results.find(edit.output_key)
        current = services.originals.find(edit.original.bucket, edit.original.key)
        if current is not None and current.etag != edit.original.etag:
            raise SupersededError(f"{edit.original.key} was uploaded again.")
        try:
            services.results.store(edit.output_key, *result, metadata, seen)
        except ResultChangedError:
            continue
        return
    raise StorageBusyError(f"{edit.output_key} was written by others at each of our tries.")


def tidy_up(edit: Edit, answer: Answer, services: Services) -> None:
    """Remove what the result makes superfluous: an older report, the answer behind a finish."""
    services.results.remove_report(edit.original.key, edit.variant)
    if edit.instructions.finish and not edit.instructions.keep_original:
        services.results.remove(_kept_key(edit, KEPT[answer.media_type]))


def announce(
    edit: Edit,
    answer: Answer,
    photos: tuple[Photo | str, ...],
    duration: float,
    services: Services,
    invocation: Invocation,
) -> None:
    """Tell the event bus, the log and the metrics."""
    if answer.deprecation:
        logger.warning("model is deprecated", model=answer.model, warning=answer.deprecation)
        measure({"DeprecatedModel": 1}, model=answer.model or DEFAULT_MODEL)
    logger.info("edited", key=edit.original.key, mode=edit.mode, edit_id=edit.id)
    measure({"Edited": 1, "Duration": duration}, mode=edit.mode)
    services.bus.announce(
        ImageEdited(
            input=Place(edit.original.bucket, edit.original.key),
            output=Place(services.settings.output_bucket, edit.output_key),
            mode=edit.mode,
            variant=edit.variant,
            model=answer.model or edit.instructions.model,
            edit_id=edit.id,
            request_id=answer.request_id,
            changes=_changes(photos),
            duration=duration,
            attempts=invocation.attempt,
        )
    )


def _read(original: Original, services: Services) -> bytes:
    return services.originals.read(original, services.settings.max_image_bytes)


def _kept_key(edit: Edit, suffix: str) -> str:
    return edit.output_key.rpartition(".")[0] + ".original" + suffix


def _changes(photos: tuple[Photo | str, ...]) -> tuple[str, ...]:
    first = photos[0]
    return () if isinstance(first, str) else first.changes


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
