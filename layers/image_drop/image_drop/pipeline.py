"""The story of one image, from upload to result. `process` tells it; the rest are its steps."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import ClientError, HTTPClientError

from image_drop import finish, images, instructions, results, venice
from image_drop.errors import (
    AccountError,
    ImageDeletedError,
    ImageDropError,
    ImageError,
    InProgressError,
    KeyReplacedError,
    LayerError,
    LockedOutError,
    NoAnswerError,
    OutcomeUnknownError,
    PermanentError,
    RateLimitedError,
    RetriesExhaustedError,
    StorageBusyError,
    SupersededError,
    UnusableAnswerError,
    WaitsForImageError,
)
from image_drop.events import (
    AccountUnavailable,
    ImageEdited,
    ImageEditFailed,
    Place,
)
from image_drop.instructions import Instructions, Mode
from image_drop.lock import KEPT_FOR
from image_drop.originals import Original
from image_drop.rate_limit import DEFAULT_MODEL, KEY
from image_drop.results import ResultChangedError
from image_drop.services import Services
from image_drop.telemetry import logger, measure
from image_drop.uploads import Upload
from image_drop.venice import Answer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

BLOCK = 15.0  # seconds that a 429 blocks a model for when Venice names no time
STORE_TRIES = 5
KEPT = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
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


@dataclass(frozen=True)
class Invocation:
    """The Lambda invocation that a try happens in.

    `patience`: seconds to wait for a slot. `attempt` counts from 1 over all invocations.
    `trial`: this is the one edit that tries a stopped line.
    """

    context: "LambdaContext"
    patience: float
    attempt: int = 1
    trial: bool = False


@dataclass(frozen=True)
class Edit:
    """What has to be made of an original.

    The same `id` is the same result; the same `call_id` is the same paid call, whatever is done
    with its answer afterwards. `background`: the image behind the finished subject.
    """

    original: Original
    instructions: Instructions
    layers: tuple[Original | str, ...]
    background: Original | None
    variant: str | None
    call_id: str
    id: str
    output_key: str

    @property
    def mode(self) -> Mode:
        """The mode, which resolved instructions always have."""
        return self.instructions.mode or Mode.EDIT

    @property
    def rate_model(self) -> str:
        """What Venice counts this edit's calls under."""
        if self.mode is Mode.BACKGROUND_REMOVE:
            return Mode.BACKGROUND_REMOVE.value
        return self.instructions.model or DEFAULT_MODEL


def process(upload: Upload, services: Services, invocation: Invocation) -> Outcome:
    """Edit an uploaded image, once, and say how it ended.

    What waiting cannot mend ends as a report in the output bucket. Raises a `RetryableError` or
    `AccountError` when the image has to be tried again.
    """
    edit = None
    with _busy_storage_is_retryable():
        try:
            original, wanted = find(upload, services)
            if None not in wanted and upload.variant is None:
                return queue_variants(upload, wanted, services)
            edit = plan(original, wanted, upload.variant, services)
            if is_done(edit, services):
                return Outcome.DONE_BEFORE
            if not invocation.trial:
                services.line.require(services.now())
            return make_once(edit, services, invocation)
        except WaitsForImageError:
            return Outcome.WAITS_FOR_IMAGE
        except SupersededError:
            return Outcome.SUPERSEDED
        except PermanentError as error:
            return report(upload, edit, error, services, invocation)


def find(upload: Upload, services: Services) -> tuple[Original, dict[str | None, Instructions]]:
    """The image as it is now, and what is wanted of it, by the names of its variants."""
    original = services.originals.find(upload.bucket, upload.key)
    if original is None and upload.sidecar:
        raise WaitsForImageError(f"{upload.key} is not there yet; its instructions are.")
    if original is None:
        raise ImageDeletedError(f"{upload.key} is not in the bucket any more.")
    settings = services.settings
    defaults = instructions.from_defaults(settings.default_mode, settings.default_prompt)
    return original, instructions.resolve([*services.originals.sources(original), defaults])


def queue_variants(
    upload: Upload, wanted: Mapping[str | None, Instructions], services: Services
) -> Outcome:
    """Make each variant an edit of its own, with its own tries and its own report."""
    for variant in wanted:
        services.queue.send(Upload(upload.bucket, upload.key, variant=variant))
    services.results.remove_report(upload.key, None)
    return Outcome.VARIANTS_QUEUED


def plan(
    original: Original,
    wanted: Mapping[str | None, Instructions],
    variant: str | None,
    services: Services,
) -> Edit:
    """What exactly has to be made, and the ids by which it is made once."""
    if variant not in wanted:
        raise SupersededError("The instructions have changed since this was queued.")
    chosen = wanted[variant]
    layers = _layers(original, chosen, services)
    background = None
    if chosen.finish and chosen.finish.background_key:
        background = services.originals.layer(
            original, chosen.finish.background_key, services.now()
        )
    mode = chosen.mode or Mode.EDIT
    call_id = _digest(
        [original.bucket, original.key, original.etag, mode, venice.parameters(chosen)],
        [layer if isinstance(layer, str) else layer.etag for layer in layers],
    )
    return Edit(
        original=original,
        instructions=chosen,
        layers=layers,
        background=background,
        variant=variant,
        call_id=call_id,
        id=_digest(call_id, variant, chosen.finish, background.etag if background else None),
        output_key=results.output_key(
            services.settings.output_key_format,
            original.key,
            mode,
            variant,
            chosen.finish.suffix if chosen.finish else ".png",
        ),
    )


def is_done(edit: Edit, services: Services) -> bool:
    """Whether this very edit has a result, or was reported since the image was uploaded."""
    result = services.results.find(edit.output_key)
    if result is not None and result.edit_id == edit.id:
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
    """The paid part: prepare, wait for a turn, call, check, finish, store, announce."""
    started = services.now()
    photos = prepare(edit, services)
    answer = kept_answer(edit, services)
    paid = answer is None
    if answer is None:
        answer = call(edit, photos, services, invocation)
    try:
        store(edit, answer, finish_up(edit, answer, services), photos, services)
    except ImageDropError:
        if paid:
            _settle(edit, services)
        raise
    if paid:
        _settle(edit, services)
    services.results.remove_report(edit.original.key, edit.variant)
    announce(edit, answer, photos, services.now() - started, services, invocation)


def prepare(edit: Edit, services: Services) -> tuple[images.Photo | str, ...]:
    """The image and its layers as Venice takes them; a layer that is a URL stays one."""
    limit = services.settings.max_image_bytes
    photos: list[images.Photo | str] = [
        images.prepare(services.originals.read(edit.original, limit))
    ]
    for layer in edit.layers:
        if isinstance(layer, str):
            photos.append(layer)
            continue
        try:
            photos.append(images.prepare(services.originals.read(layer, limit)))
        except ImageError as error:
            raise LayerError(f"The layer {layer.key}: {error.detail}") from error
    sizes = [len(photo.data) for photo in photos if isinstance(photo, images.Photo)]
    if len(sizes) < len(photos) and sum(sizes) * 4 / 3 > MAX_JSON_BYTES:
        raise LayerError(
            f"The image and its layers have {sum(sizes):,} bytes. Together with a layer that is a "
            f"URL, {MAX_JSON_BYTES * 3 // 4:,} can be sent. Put that layer into the bucket."
        )
    return tuple(photos)


def call(
    edit: Edit,
    photos: tuple[images.Photo | str, ...],
    services: Services,
    invocation: Invocation,
) -> Answer:
    """Wait for a slot and make the one paid call; what its failure teaches is kept for all."""
    with services.limiter.turn(edit.rate_model, invocation.patience) as turn:
        now = services.now()
        if not invocation.trial:
            services.line.require(now)  # it may have been stopped while this call waited
        unanswered = services.ledger.begin(edit.id, edit.original, now)
        if unanswered:
            logger.warning("calling again after a call without an answer", key=edit.original.key)
            measure({"PossiblyPaidTwice": 1}, mode=edit.mode)
        turn.used = True
        try:
            answer = services.venice.edit(edit.instructions, photos)
        except NoAnswerError as error:
            if unanswered:
                raise OutcomeUnknownError(error.detail) from error
            raise
        except ImageDropError as error:
            _settle(edit, services)
            learn(error, edit, services)
            raise
    measure({"VeniceLatency": services.now() - now}, mode=edit.mode)
    if answer.rate_limit not in (None, turn.limit):
        services.limiter.learn(edit.rate_model, answer.rate_limit)
    return answer


def learn(error: ImageDropError, edit: Edit, services: Services) -> None:
    """Keep what a refused call says about the rate, the key and the account, for all functions."""
    if error.status is not None:
        services.limiter.failed()
    match error:
        case LockedOutError(retry_at=float(until)):
            services.limiter.block(KEY, until)
        case RateLimitedError(limit=limit):
            services.limiter.block(edit.rate_model, error.retry_at or services.now() + BLOCK)
            if limit:
                services.limiter.learn(edit.rate_model, limit)
        case AccountError():
            if error.status == 401 and services.api_key.replaced():
                raise KeyReplacedError("Venice refused the former API key.") from error
            stop_line(error, services)


def stop_line(error: AccountError, services: Services) -> None:
    """Stop all calls until the account works again, and say so once."""
    if services.line.stop(error.code, error.detail, services.now()):
        logger.error("line stopped", reason=error.code, status=error.status)
        measure({"LineStopped": 1})
        services.bus.announce(AccountUnavailable(reason=error.code, detail=error.detail))


def kept_answer(edit: Edit, services: Services) -> Answer | None:
    """Venice's answer to the same call, where it was kept: a new finish is not paid again."""
    if edit.instructions.finish is None:
        return None
    for suffix, media_type in KEPT.items():
        key = _kept_key(edit, suffix)
        found = services.results.find(key)
        if found is not None and found.call_id == edit.call_id:
            return Answer(services.results.read(key), media_type, {})
    return None


def keep_answer(edit: Edit, answer: Answer, services: Services) -> str:
    """Keep Venice's untouched answer beside the result; where."""
    suffix = next(suffix for suffix, kind in KEPT.items() if kind == answer.media_type)
    key = _kept_key(edit, suffix)
    services.results.keep(key, answer.data, answer.media_type, edit.call_id)
    return key


def finish_up(edit: Edit, answer: Answer, services: Services) -> tuple[bytes, str]:
    """The result's bytes and media type: PNG, or what the finish makes of it."""
    png = check(answer)
    if edit.instructions.finish is None:
        return png, "image/png"
    if edit.instructions.keep_original:
        keep_answer(edit, answer, services)
    try:
        background = (
            services.originals.read(edit.background, services.settings.max_image_bytes)
            if edit.background
            else None
        )
        finished = finish.apply(edit.instructions.finish, png, background)
    except PermanentError as error:
        key = keep_answer(edit, answer, services)
        raise LayerError(
            f"The finish could not be made: {error.detail} Venice's answer is kept as {key}; "
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
    photos: tuple[images.Photo | str, ...],
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


def announce(
    edit: Edit,
    answer: Answer,
    photos: tuple[images.Photo | str, ...],
    duration: float,
    services: Services,
    invocation: Invocation,
) -> None:
    """Tell the event bus, the log and the metrics."""
    if answer.deprecation:
        logger.warning("model is deprecated", model=answer.model, warning=answer.deprecation)
        measure({"DeprecatedModel": 1}, model=answer.model or "default")
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


def report(
    upload: Upload,
    edit: Edit | None,
    error: PermanentError,
    services: Services,
    invocation: Invocation,
) -> Outcome:
    """Write the report that a person reads in place of a result, and tell the event bus."""
    if edit is not None:
        current = services.originals.find(upload.bucket, upload.key)
        if current is not None and current.etag != edit.original.etag:
            return Outcome.SUPERSEDED
    mode = edit.mode if edit else None
    final = edit is not None and not isinstance(error, RetriesExhaustedError)
    services.results.write_report(
        results.report_on(
            error,
            key=upload.key,
            variant=upload.variant,
            mode=mode,
            attempts=invocation.attempt,
            now=services.now(),
        ),
        edit.id if edit and final else None,
    )
    logger.warning("reported", key=upload.key, code=error.code, status=error.status)
    measure({"Failed": 1}, code=error.code)
    services.bus.announce(
        ImageEditFailed(
            input=Place(upload.bucket, upload.key),
            output=Place(
                services.settings.output_bucket, results.report_key(upload.key, upload.variant)
            ),
            mode=mode,
            variant=upload.variant,
            model=edit.instructions.model if edit else None,
            edit_id=edit.id if edit else None,
            request_id=error.request_id,
            code=error.code,
            title=error.title,
            duration=0.0,
            attempts=invocation.attempt,
        )
    )
    return Outcome.REPORTED


def give_up(
    upload: Upload, error: ImageDropError, services: Services, invocation: Invocation
) -> None:
    """Report that the last try failed; the message itself goes to the dead-letter queue."""
    last = RetriesExhaustedError(
        f"The last of {invocation.attempt} tries failed: {error.title}. {error.detail}",
        status=error.status,
        request_id=error.request_id,
    )
    report(upload, None, last, services, invocation)


def _layers(
    original: Original, wanted: Instructions, services: Services
) -> tuple[Original | str, ...]:
    if wanted.mode is not Mode.MULTI_EDIT:
        return ()
    return tuple(
        name
        if name.startswith("https://")
        else services.originals.layer(original, name, services.now())
        for name in wanted.layers or ()
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]


def _kept_key(edit: Edit, suffix: str) -> str:
    return edit.output_key.rpartition(".")[0] + ".original" + suffix


def _changes(photos: tuple[images.Photo | str, ...]) -> tuple[str, ...]:
    first = photos[0]
    return () if isinstance(first, str) else first.changes


def _settle(edit: Edit, services: Services) -> None:
    services.ledger.settle(edit.id, edit.original, services.now())


@contextmanager
def _busy_storage_is_retryable() -> Iterator[None]:
    try:
        yield
    except HTTPClientError as error:
        raise StorageBusyError(f"AWS did not answer: {type(error).__name__}.") from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if status >= 500 or status == 429 or code in BUSY:
            raise StorageBusyError(f"AWS answered {code}.") from error
        raise
