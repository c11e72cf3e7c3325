"""What is to be made of an upload: the image as it is now, its instructions, and their ids."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from image_drop.errors import (
    EditTooDearError,
    ImageDeletedError,
    SupersededError,
    WaitsForImageError,
)
from image_drop.instructions import schema
from image_drop.instructions.schema import Instructions, Mode
from image_drop.services import Services
from image_drop.storage import output_bucket
from image_drop.storage.input_bucket import Original
from image_drop.uploads import Upload
from image_drop.venice import client
from image_drop.venice.catalogue import Catalogue


@dataclass(frozen=True)
class Wanted:
    """The image as it is now, and what is wanted of it, by the names of its variants."""

    original: Original
    by_variant: Mapping[str | None, Instructions]

    @property
    def has_variants(self) -> bool:
        """Whether it has several results instead of one."""
        return None not in self.by_variant


@dataclass(frozen=True)
class Edit:
    """What has to be made of an original.

    The same `id` is the same result; the same `call_digest` is the same paid call, whatever is
    done with its answer afterwards. `background`: the image behind the finished subject.
    `rate_model`: what Venice counts this edit's calls under.
    """

    original: Original
    instructions: Instructions
    layers: tuple[Original | str, ...]
    background: Original | None
    variant: str | None
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
    original = services.originals.find(upload.bucket, upload.key)
    if original is None and upload.sidecar:
        raise WaitsForImageError(f"{upload.key} is not there yet; its instructions are.")
    if original is None:
        raise ImageDeletedError(f"{upload.key} is not in the bucket any more.")
    settings = services.settings
    defaults = schema.from_defaults(settings.default_mode, settings.default_prompt)
    sources = [*services.originals.sources(original), defaults]
    return Wanted(original, schema.resolve(sources))


def plan_edit(wanted: Wanted, variant: str | None, services: Services) -> Edit:
    """What exactly has to be made, and the ids by which it is made once.

    The ids do not depend on the catalogue: what is done stays done when models come and go.
    Raises `SupersededError` where the variant is not wanted any more, `LayerNotThereError` and
    `LayerError`.
    """
    if variant not in wanted.by_variant:
        raise SupersededError("The instructions have changed since this was queued.")
    original = wanted.original
    chosen = wanted.by_variant[variant]
    mode = chosen.mode or Mode.EDIT
    layers = _layers(original, chosen, services)
    background = None
    if chosen.finish and chosen.finish.background_key:
        background = services.originals.layer(
            original, chosen.finish.background_key, services.now()
        )
    call_digest = _digest(
        [original.bucket, original.key, original.etag, mode, client.parameters(chosen)],
        [layer if isinstance(layer, str) else layer.etag for layer in layers],
    )
    return Edit(
        original=original,
        instructions=chosen,
        layers=layers,
        background=background,
        variant=variant,
        rate_model=services.catalogue.current().rate_model(mode, chosen.model),
        call_digest=call_digest,
        id=_digest(call_digest, variant, chosen.finish, background.etag if background else None),
        output_key=output_bucket.output_key(
            services.settings.output_key_format,
            original.key,
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
    usd = sum(price(each, catalogue) for each in wanted.by_variant.values())
    if settings.max_edit_usd and usd > settings.max_edit_usd:
        what = f"The {len(wanted.by_variant)} variants cost" if wanted.has_variants else "It costs"
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
