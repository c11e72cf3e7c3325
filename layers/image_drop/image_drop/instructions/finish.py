"""The instruction key `finish`: how an edit is framed and saved.

This module holds the options and their limits. `imaging.canvas` draws; it needs Pillow and is
imported by the first image that has a finish.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from image_drop.errors import InvalidValueError

MAX_SIDE = 10_000  # pixels; also Amazon's limit
MAX_CANVAS_PIXELS = 16_000_000  # 4,000 × 4,000; encoding WebP takes 28 bytes a pixel: 450 MB

# End of a pattern, for Python and for the ECMAScript of the published schema. Python's $ alone also
# matches before a line feed, and no other anchor exists in both.
END = r"$(?!\n)"

_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")

# The published figures of the shops. A finish can override each of them with its own keys.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Amazon's main image, as sellers' guides quote Seller Central's product image guide in
    # November 2026: pure white, RGB 255, 255, 255; the product fills 85 % or more of the frame;
    # longest side 1,000 pixels or more (zoom; 1,600 recommended) and at most 10,000; JPEG
    # preferred, no transparency; files over 10 MB are refused.
    "amazon": {
        "trim": True,
        "size": "2000x2000",
        "margin": "5%",  # fills 100 - 2 × 5 = 90 %
        "background": "#ffffff",
        "format": "jpeg",
        "max_bytes": 10_000_000,
    },
    # Shopify's product media, as guides quote its help center in November 2026: up to
    # 5,000 × 5,000 pixels or 25 megapixels, smaller than 20 MB; 2,048 × 2,048 looks best for
    # square images. No background is required.
    "shopify": {
        "trim": True,
        "size": "2048x2048",
        "margin": "5%",
        "background": "#ffffff",
        "format": "jpeg",
        "max_bytes": 19_999_999,
    },
    # Not the rule of one shop, but what most of them accept.
    "square-white": {
        "trim": True,
        "size": "2000x2000",
        "margin": "8%",
        "background": "#ffffff",
        "format": "png",
    },
}

Preset = Literal["amazon", "shopify", "square-white"]


class Finish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How a result is framed and saved. Errors and the schema show the descriptions below."""

    trim: Annotated[
        bool, Meta(description="true or false: crop the transparent area around the subject")
    ] = False
    margin: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_SIDE // 2 - 1)]
        | Annotated[str, Meta(pattern=r"^[0-4]?[0-9](\.[0-9]{1,2})?%" + END)],
        Meta(
            description="pixels (0 to 4999), or a percentage of the canvas's shorter side "
            '("0%" to "49.99%"), kept free on each side'
        ),
    ] = 0
    size: Annotated[
        Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}" + END)] | None,
        Meta(
            description='width and height of the canvas in pixels, such as "2000x2000": sides up '
            "to 10,000, together up to 16,000,000 pixels; the subject is fitted and centred"
        ),
    ] = None
    background: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            description='"transparent", a colour ("#ffffff" or a CSS name such as "ivory"), or '
            'the key of an image such as "studio/wood.jpg"',
        ),
    ] = "transparent"
    shadow: Annotated[bool, Meta(description="true or false: a soft shadow below the subject")] = (
        False
    )
    format: Annotated[
        Literal["png", "webp", "jpeg"], Meta(description='"png", "webp" or "jpeg"')
    ] = "png"
    max_bytes: Annotated[
        Annotated[int, Meta(ge=10_000, le=50_000_000)] | None,
        Meta(
            description="10,000 to 50,000,000: the most bytes of the result, which is saved in "
            "lower quality and then made smaller until it fits"
        ),
    ] = None
    preset: Annotated[
        Preset | None,
        Meta(description='"amazon", "shopify" or "square-white": fills in the other keys'),
    ] = None

    @classmethod
    def parse(cls, value: object) -> "Finish":
        """Return a finish from JSON: an object, or the name of a preset (for tags).

        Raise an `InvalidValueError` that names the key, its value and what is allowed.
        """
        own = {"preset": value} if isinstance(value, str) else value
        if not isinstance(own, Mapping):
            raise InvalidValueError(
                'finish must be an object such as {"preset": "amazon"} or the name of a preset '
                f"({', '.join(PRESETS)}), not {value!r}."
            )
        for key, part in own.items():
            _check(key, part)
        finish = msgspec.convert({**PRESETS.get(own.get("preset", ""), {}), **own}, cls)
        _check_together(finish)
        return finish

    @property
    def canvas(self) -> tuple[int, int] | None:
        """Width and height of `size`."""
        if self.size is None:
            return None
        width, height = self.size.split("x")
        return int(width), int(height)

    @property
    def background_key(self) -> str | None:
        """Key of the image to put behind the subject, None for a colour or transparency."""
        return None if _is_colour(self.background) else self.background

    @property
    def media_type(self) -> str:
        """Media type of the result."""
        return f"image/{self.format}"

    @property
    def suffix(self) -> str:
        """Ending of the result's key."""
        return ".jpg" if self.format == "jpeg" else f".{self.format}"


def _check(key: object, value: object) -> None:
    """Raise `InvalidValueError` unless the key exists and its value alone is allowed."""
    hints = get_type_hints(Finish, include_extras=True)
    if key not in hints:
        import difflib  # 1 ms, and only a wrong word needs it

        near = difflib.get_close_matches(str(key), hints, 1)
        raise InvalidValueError(
            f"finish has no key {key!r}. "
            + (f"Did you mean {near[0]!r}? " if near else "")
            + f"Its keys are: {', '.join(hints)}."
        )
    try:
        msgspec.convert({key: value}, Finish)
    except msgspec.ValidationError:
        raise InvalidValueError(
            f"finish.{key} is {value!r}. Allowed: {_description(hints[key])}."
        ) from None


def _description(hint: Any) -> str:
    return next(str(meta.description) for meta in hint.__metadata__ if meta.description)


def _check_together(finish: Finish) -> None:
    """Raise `InvalidValueError` for what a pattern cannot check."""
    if finish.canvas:
        width, height = finish.canvas
        if max(width, height) > MAX_SIDE or width * height > MAX_CANVAS_PIXELS:
            raise InvalidValueError(
                f"finish.size is {finish.size}, which is {width * height:,} pixels. Allowed: sides "
                f"up to {MAX_SIDE:,}, together up to {MAX_CANVAS_PIXELS:,}."
            )
        if isinstance(finish.margin, int) and 2 * finish.margin >= min(width, height):
            raise InvalidValueError(
                f"finish.margin is {finish.margin} on each side of {finish.size}, which leaves no "
                f"room for the subject. Allowed: up to {(min(width, height) - 1) // 2}."
            )
    key = finish.background_key
    if key is not None and "." not in key:
        raise InvalidValueError(
            f"finish.background is {key!r}, neither a colour nor the key of an image. Allowed: "
            f"{_description(get_type_hints(Finish, include_extras=True)['background'])}."
        )


def _is_colour(text: str) -> bool:
    if text in ("transparent", "white", "black") or _COLOUR.fullmatch(text):
        return True
    if "." in text or "/" in text:
        return False
    from PIL.ImageColor import colormap  # imports Pillow

    return text.lower() in colormap
