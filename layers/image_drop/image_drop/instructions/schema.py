"""The keys of instructions: what a person can ask for.

`json_schema()` is the schema that editors use for completion, published as
`events/schema/instructions.json`.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from image_drop.instructions.finish import END, Finish

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+" + END
VARIANT_NAME = r"^[a-z0-9][a-z0-9-]{0,31}" + END


class Mode(StrEnum):
    """Venice's endpoints, by the words that people write."""

    EDIT = "edit"
    MULTI_EDIT = "multi-edit"
    BACKGROUND_REMOVE = "background-remove"
    UPSCALE = "upscale"


PROMPTED = (Mode.EDIT, Mode.MULTI_EDIT)  # the modes that need a prompt, and take a model


AspectRatio = Literal["auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:3", "4:5"]
Quality = Literal["low", "medium", "high"]


MIN_SCALE, MAX_SCALE = 2, 4  # of the upscaler


class Upscale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the mode upscale enlarges an image. The limits are Venice's of 2026-10-02."""

    scale: Annotated[
        Annotated[float, Meta(ge=MIN_SCALE, le=MAX_SCALE)],
        Meta(description="how many times as wide and high; above 2 costs more"),
    ] = 2.0
    creativity: Annotated[
        Annotated[float, Meta(ge=0, le=0.02)] | None,
        Meta(description="how much Venice may invent; left out, Venice's own 0.01"),
    ] = None


class Instructions(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """One edit. The limits are Venice's of 2026-10-02; the model's own are checked as well."""

    mode: Annotated[
        Mode | None,
        Meta(description="The kind of edit. You can leave it out if there is a prompt."),
    ] = None
    prompt: Annotated[
        Annotated[str, Meta(min_length=1, max_length=32_768, pattern=r"\S")] | None,
        Meta(description="What to do, in words. background-remove and upscale do not use it."),
    ] = None
    model: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}" + END)] | None,
        Meta(description="A Venice edit model. Without one, Venice uses its own default."),
    ] = None
    aspect_ratio: AspectRatio | None = None
    layers: Annotated[
        Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=2048)], ...],
            Meta(min_length=1, max_length=15),
        ]
        | None,
        Meta(
            description="Masks or overlays for multi-edit: keys relative to the image's folder, "
            "or https URLs. At most 9; most models accept 2 or 5."
        ),
    ] = None
    resolution: Annotated[str, Meta(min_length=1, max_length=10, pattern=r"^\w+" + END)] | None = (
        None
    )
    quality: Quality | None = None
    upscale: Annotated[
        Annotated[float, Meta(ge=MIN_SCALE, le=MAX_SCALE)] | Upscale | None,
        Meta(
            description="For the mode upscale: how many times as wide and high, 2 to 4; or an "
            "object with scale and creativity."
        ),
    ] = None
    safe_mode: bool | None = None
    enhance_prompt: bool | None = None
    finish: Annotated[
        Finish | None, Meta(description="How the result is framed and saved, after the edit.")
    ] = None
    keep_original: Annotated[
        bool | None, Meta(description="Keep Venice's untouched answer next to a finished result.")
    ] = None
    reference: Annotated[
        Annotated[str, Meta(min_length=1, max_length=256, pattern=PRINTABLE)] | None,
        Meta(description="An id of your own, which the result, the report and the events carry."),
    ] = None
    fresh: Annotated[
        bool | None,
        Meta(
            description="true: always a new call, also for a picture that was paid for under "
            "another name."
        ),
    ] = None
    presets: Annotated[
        dict[Annotated[str, Meta(pattern=VARIANT_NAME)], Finish] | None,
        Meta(description="Presets of your own for finish, by name."),
    ] = None
    variants: Annotated[
        dict[Annotated[str, Meta(pattern=VARIANT_NAME)], "Instructions"] | None,
        Meta(
            description="Several results of one image, by name. Each inherits the keys outside "
            "of variants that it does not set itself."
        ),
    ] = None

    def as_dict(self) -> dict[str, Any]:
        """Return the keys that are set, as plain JSON values."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]

    @property
    def enlarged(self) -> Upscale:
        """How the mode upscale enlarges the image."""
        if isinstance(self.upscale, Upscale):
            return self.upscale
        return Upscale(scale=self.upscale or 2.0)


KEYS = tuple(field.name for field in msgspec.structs.fields(Instructions))
# Newer keys do not make a tag of another tool a near miss.
NEARLY = tuple(key for key in KEYS if key not in ("fresh", "presets", "upscale"))
TAKES = {
    "mode": "one of " + ", ".join(Mode),
    "prompt": "a text of 1 to 32,768 characters, not only white space",
    "model": "the name of a Venice edit model",
    "aspect_ratio": "one of " + ", ".join(get_args(AspectRatio)),
    "layers": "a list of 1 to 9 keys or https URLs (in a tag: separated by spaces)",
    "resolution": "a word such as 1K, 2K or 4K",
    "quality": "one of " + ", ".join(get_args(Quality)),
    "upscale": 'a number from 2 to 4, or an object such as {"scale": 4, "creativity": 0.01} with a '
    "creativity from 0 to 0.02",
    "safe_mode": "true or false",
    "enhance_prompt": "true or false",
    "finish": "an object, or the name of a preset",
    "keep_original": "true or false",
    "reference": "a text of 1 to 256 printable characters",
    "fresh": "true or false",
    "presets": "an object of names (lower-case letters, digits, hyphens), each with the keys of a "
    "finish",
    "variants": "an object of 1 to 20 names (lower-case letters, digits, hyphens), each with "
    "instructions that have no variants or presets of their own",
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a sidecar or folder file."""
    schema = msgspec.json.schema(Instructions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Image Drop instructions",
    } | schema
