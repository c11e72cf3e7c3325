"""What is to be made of an upload: the image as it is now, its instructions, and their ids."""

import hashlib
from dataclasses import dataclass

import msgspec

from image_drop.errors import (
    EditTooDearError,
    ImageDeletedError,
    SupersededError,
    WaitsForImageError,
)
from image_drop.instructions.schema import Instructions, Mode
from image_drop.instructions.sources import OneEdit, Source, Variants, from_defaults, resolve
from image_drop.services import Services
from image_drop.storage import output_bucket
from image_drop.storage.input_bucket import InputObject
from image_drop.uploads import Upload
from image_drop.venice import client
from image_drop.venice.catalogue import Catalogue


@dataclass(frozen=True)
class Wanted:
    """The image as it is now, and what is wanted of it."""

    image: InputObject
    edits: OneEdit | Variants

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
    """What has to be made of an image.

    The same `id` is the same result; the same `call_digest` is the same paid call, whatever is
    done with its answer afterwards. `background`: the image behind the finished subject.
    `model`: what Venice runs; a result names the model of Venice's answer instead, if that has one.
    `rate_model`: what Venice counts this edit's calls under.
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

    @property
    def mode(self) -> Mode:
        """The mode, which resolved instructions always have."""
        return self.instructions.mode or Mode.EDIT

    @property
    def original_key(self) -> str | None:
        """Where Venice's own answer goes, for `keep_original` with a finish."""
        kept = self.instructions.finish and self.instructions.keep_original
        return output_bucket.original_key(self.output_key) if kept else None


def load_instructions(upload: Upload, services: Services) -> Wanted:
    """The image as it is now, with its instructions.

    Raises `WaitsForImageError`, `ImageDeletedError` and `InstructionsError`.
    """
    image = services.input_bucket.find(upload.bucket, upload.key)
    if image is None and upload.sidecar:
        raise WaitsForImageError(f"{upload.key} is not there yet; its instructions are.")
    if image is None:
        raise ImageDeletedError(f"{upload.key} is not in the bucket any more.")
    return Wanted(image, resolve(instruction_sources(image, services)))


def instruction_sources(image: InputObject, services: Services) -> list[Source]:
    """Return every place that gives the image instructions, nearest first.

    Raises `UnreadableInstructionsError` and `UnreadableObjectError`.
    """
    settings = services.settings
    defaults = from_defaults(settings.default_mode, settings.default_prompt)
    return [*services.input_bucket.sources(image), defaults]


def plan_edit(wanted: Wanted, variant: str | None, services: Services) -> Edit:
    """What exactly has to be made, and the ids by which it is made once.

    The ids do not depend on the catalogue: what is done stays done when models come and go.
    Raises `SupersededError` where the variant is not wanted any more, `LayerNotThereError` and
    `LayerError`.
    """
    chosen = wanted.instructions_of(variant)
    if chosen is None:
        raise SupersededError("The instructions have changed since this was queued.")
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
    return Edit(
        image=image,
        instructions=chosen,
        layers=layers,
        background=background,
        variant=variant,
        model=catalogue.name(mode, chosen.model),
        rate_model=catalogue.rate_model(mode, chosen.model),
        call_digest=call_digest,
        id=_digest(call_digest, variant, chosen.finish, background.etag if background else None),
        output_key=output_bucket.output_key(
            services.settings.output_key_format,
            image.key,
            mode,
            variant,
            chosen.finish.suffix if chosen.finish else ".png",
        ),
    )


def require_allowed(edit: Edit, wanted: Wanted, services: Services) -> None:
    """Nothing, where the edit may be made. Raises an `InstructionsError` before any call.

    All results of an upload together may cost `MaxEditUSD`, so variants are no way around it.
    """
    catalogue, settings = services.catalogue.current(), services.settings
    catalogue.check_allowed(edit.instructions, settings.allowed_models)
    catalogue.check(edit.instructions, 1 + len(edit.layers))
    usd = sum(price(each, catalogue) for each in wanted.all_instructions)
    if settings.max_edit_usd and usd > settings.max_edit_usd:
        several = isinstance(wanted.edits, Variants)
        what = f"The {len(wanted.variants)} variants cost" if several else "It costs"
        raise EditTooDearError(
            f"{what} ${usd:,.2f} at Venice, and one upload may cost "
            f"${settings.max_edit_usd:,.2f} (MaxEditUSD)."
        )


def price(wanted: Instructions, catalogue: Catalogue) -> float:
    """US dollars for one call."""
    mode = wanted.mode or Mode.EDIT
    layers = wanted.layers or () if mode is Mode.MULTI_EDIT else ()
    return catalogue.price(
        mode,
        client.parameters(wanted),
        1 + len(layers),
        enhanced=bool(wanted.enhance_prompt) and mode is not Mode.BACKGROUND_REMOVE,
    )


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
