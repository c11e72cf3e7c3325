"""What is to be made of an upload: the image as it is now, its instructions, and their ids."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from image_drop import instructions, results, venice
from image_drop.errors import ImageDeletedError, SupersededError, WaitsForImageError
from image_drop.instructions import Instructions, Mode
from image_drop.originals import Original
from image_drop.rate_limit import DEFAULT_MODEL
from image_drop.services import Services
from image_drop.uploads import Upload


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
