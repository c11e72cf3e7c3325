"""The plan of an edit: the image as it is now, its instructions, and their ids."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from image_drop.errors import (
    EditTooDearError,
    ImageDeletedError,
    PermanentError,
    SupersededError,
    WaitsForImageError,
)
from image_drop.instructions.schema import MAX_SCALE, PROMPTED, Instructions, Mode
from image_drop.instructions.sources import (
    OneEdit,
    Source,
    Variants,
    from_defaults,
    reference_in,
    resolve,
)
from image_drop.services import Services
from image_drop.storage import output_bucket
from image_drop.storage.input_bucket import InputObject
from image_drop.uploads import Upload
from image_drop.venice import client
from image_drop.venice.catalogue import Catalogue


@dataclass(frozen=True)
class Wanted:
    """The image as it is now, and the edits that its instructions ask for.

    `changed_at`: when the image or a file of its instructions last changed, in seconds since 1970.
    Tags have no such time.
    """

    image: InputObject
    edits: OneEdit | Variants
    changed_at: float = 0.0

    @property
    def variants(self) -> tuple[str | None, ...]:
        """The variants to make; None alone is the image as a whole."""
        return tuple(self.edits.by_name) if isinstance(self.edits, Variants) else (None,)

    def instructions_of(self, variant: str | None) -> Instructions | None:
        """Return the instructions of a variant, or of the whole; None where it is not wanted."""
        if isinstance(self.edits, Variants):
            return self.edits.by_name.get(variant or "")
        return self.edits.instructions if variant is None else None

    @property
    def all_instructions(self) -> tuple[Instructions, ...]:
        """The instructions of every result that is wanted."""
        if isinstance(self.edits, Variants):
            return tuple(self.edits.by_name.values())
        return (self.edits.instructions,)


@dataclass(frozen=True)
class Edit:
    """One edit of an image.

    Edits with the same `id` have the same result. Edits with the same `call_digest` need the same
    paid call, whatever is done with its answer. `background`: the image behind the finished
    subject. `model`: the model that Venice runs; a result names the model in Venice's answer
    instead, if there is one. `rate_model`: the name under which Venice counts this edit's calls.
    `plain_id`, `plain_key`: of the result of the same call without a finish, which is Venice's own
    answer as PNG; the same as `id` and `output_key` if there is no finish. `enlarges`: whether its
    call is the second one of another edit, see `enlarging`.
    """

    image: InputObject
    instructions: Instructions
    layers: tuple[InputObject | str, ...]
    background: InputObject | None
    variant: str | None
    model: str
    rate_model: str
    call_digest: str
    id: str
    output_key: str
    plain_id: str
    plain_key: str
    enlarges: bool = False

    @property
    def mode(self) -> Mode:
        """The mode, which resolved instructions always have."""
        return self.instructions.mode or Mode.EDIT

    @property
    def original_key(self) -> str | None:
        """The key of Venice's untouched answer, for `keep_original` with a finish."""
        kept = self.instructions.finish and self.instructions.keep_original
        if not kept:
            return None
        key = output_bucket.larger_key if self.enlarges else output_bucket.original_key
        return key(self.output_key)


def load_instructions(upload: Upload, services: Services) -> Wanted:
    """Return the image as it is now, with its instructions.

    Raise `WaitsForImageError`, `ImageDeletedError` and `InstructionsError`.
    """
    image = services.input_bucket.find_object(upload.bucket, upload.key)
    return instructions_for(image, upload, services)


def instructions_for(image: InputObject | None, upload: Upload, services: Services) -> Wanted:
    """Return an image that was just found with its instructions, as `load_instructions` does."""
    if image is None and upload.sidecar:
        raise WaitsForImageError(f"{upload.key} has instructions but has not been uploaded yet.")
    if image is None:
        raise ImageDeletedError(f"{upload.key} is no longer in the bucket.")
    sources = instruction_sources(image, services)
    changed_at = max(image.changed_at.timestamp(), *(each.changed_at for each in sources))
    return Wanted(image, resolve(sources), changed_at)


def instruction_sources(image: InputObject, services: Services) -> list[Source]:
    """Return every place that gives the image instructions, nearest first.

    Raises `UnreadableInstructionsError` and `UnreadableObjectError`.
    """
    settings = services.settings
    defaults = from_defaults(settings.default_mode, settings.default_prompt)
    return [*services.input_bucket.sources(image), defaults]


def reference_for(upload: Upload, services: Services) -> str | None:
    """Return the caller's own id of an image whose edit cannot be planned, if it can be found."""
    with suppress(PermanentError):
        image = services.input_bucket.find_object(upload.bucket, upload.key)
        return reference_in(services.input_bucket.sources(image)) if image else None
    return None


def plan_edit(wanted: Wanted, variant: str | None, services: Services) -> Edit:
    """Return the edit, with the ids that make sure it is made only once.

    The ids do not depend on the catalogue: a finished edit stays finished when models come and
    go. Raise `SupersededError` when the instructions no longer name the variant,
    `LayerNotThereError` and `LayerError`.
    """
    chosen = wanted.instructions_of(variant)
    if chosen is None:
        raise SupersededError("The instructions have changed since this variant was queued.")
    image = wanted.image
    mode = chosen.mode or Mode.EDIT
    catalogue = services.catalogue.current()
    layers = _layers(image, chosen, services)
    background = None
    if chosen.finish and chosen.finish.background_key:
        background = services.input_bucket.layer(
            image, chosen.finish.background_key, services.now()
        )
    call_digest = _digest(
        [image.bucket, image.key, image.etag, mode, client.parameters(chosen)],
        [layer if isinstance(layer, str) else layer.etag for layer in layers],
    )
    result_key = partial(
        output_bucket.output_key,
        services.settings.output_key_format,
        image.key,
        mode,
        variant,
    )
    return Edit(
        image=image,
        instructions=chosen,
        layers=layers,
        background=background,
        variant=variant,
        model=catalogue.name(mode, chosen.model),
        rate_model=catalogue.rate_model(mode, chosen.model),
        call_digest=call_digest,
        id=_digest(
            call_digest,
            variant,
            chosen.finish and chosen.finish.identity,
            background.etag if background else None,
        ),
        output_key=result_key(chosen.finish.suffix if chosen.finish else ".png"),
        plain_id=_digest(call_digest, variant, None, None),
        plain_key=result_key(".png"),
    )


def enlarging(edit: Edit, png: bytes, scale: float, catalogue: Catalogue) -> Edit:
    """Return the second call of an edit: its answer `png`, `scale` times as wide and high.

    The call's digest begins with that of the first.
    """
    instructions = msgspec.structs.replace(
        edit.instructions, mode=Mode.UPSCALE, model=None, upscale=scale
    )
    sent = [hashlib.sha256(png).hexdigest(), client.parameters(instructions)]
    return replace(
        edit,
        instructions=instructions,
        layers=(),
        model=catalogue.name(Mode.UPSCALE, None),
        rate_model=catalogue.rate_model(Mode.UPSCALE, None),
        call_digest=f"{edit.call_digest}-{_digest(*sent)}",
        enlarges=True,
    )


def require_allowed(edit: Edit, wanted: Wanted, services: Services) -> None:
    """Raise an `InstructionsError` before any call if the edit is not allowed.

    `MaxEditUSD` limits all results of an upload together, so variants cannot get around it.
    """
    catalogue, settings = services.catalogue.current(), services.settings
    catalogue.check_allowed(edit.instructions, settings.allowed_models)
    catalogue.check(edit.instructions, 1 + len(edit.layers))
    if may_enlarge(edit.instructions):
        upscale = Instructions(mode=Mode.UPSCALE)
        catalogue.check_allowed(upscale, settings.allowed_models)
    usd = sum(
        price(each, catalogue) + enlarging_price(each, catalogue)
        for each in wanted.all_instructions
    )
    if settings.max_edit_usd and usd > settings.max_edit_usd:
        several = isinstance(wanted.edits, Variants)
        what = f"The {len(wanted.variants)} variants" if several else "The edit"
        raise EditTooDearError(
            f"{what} would cost ${usd:,.2f} at Venice. The limit for one upload is "
            f"${settings.max_edit_usd:,.2f} (MaxEditUSD)."
        )


def price(wanted: Instructions, catalogue: Catalogue) -> float:
    """Return the price of the edit's call, in US dollars, without that of an enlargement."""
    mode = wanted.mode or Mode.EDIT
    layers = wanted.layers or () if mode is Mode.MULTI_EDIT else ()
    return catalogue.price(
        mode,
        client.parameters(wanted),
        1 + len(layers),
        enhanced=bool(wanted.enhance_prompt) and mode in PROMPTED,
    )


def may_enlarge(wanted: Instructions) -> bool:
    """Return whether the edit may need a second call, for `finish.upscale`."""
    return wanted.finish is not None and wanted.finish.upscale == "auto"


def enlarging_price(wanted: Instructions, catalogue: Catalogue) -> float:
    """Return what an enlargement costs at most, in US dollars; 0 if there will be none."""
    if not may_enlarge(wanted):
        return 0.0
    return price(Instructions(mode=Mode.UPSCALE, upscale=MAX_SCALE), catalogue)


def _layers(
    image: InputObject, wanted: Instructions, services: Services
) -> tuple[InputObject | str, ...]:
    if wanted.mode is not Mode.MULTI_EDIT:
        return ()
    return tuple(
        name
        if name.startswith("https://")
        else services.input_bucket.layer(image, name, services.now())
        for name in wanted.layers or ()
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]
