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
from image_drop.instructions.presets import PRESETS, Rules

MAX_SIDE = 10_000  # pixels; also Amazon's limit
MAX_CANVAS_PIXELS = 16_000_000  # 4,000 × 4,000; encoding WebP takes 28 bytes a pixel: 450 MB

# End of a pattern, for Python and for the ECMAScript of the published schema. Python's $ alone also
# matches before a line feed, and no other anchor exists in both.
END = r"$(?!\n)"

NO_PRESETS: Mapping[str, Mapping[str, Any]] = {}
_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")

Percent = Annotated[str, Meta(pattern=r"^[0-4]?[0-9](\.[0-9]{1,2})?%" + END)]  # below 50 %
SignedPercent = Annotated[str, Meta(pattern=r"^-?[0-4]?[0-9](\.[0-9]{1,2})?%" + END)]
Length = Annotated[int, Meta(ge=0, le=MAX_SIDE // 2 - 1)] | Percent
SignedLength = Annotated[int, Meta(ge=-MAX_SIDE, le=MAX_SIDE)] | SignedPercent
Position = Literal[
    "center",
    "top",
    "bottom",
    "left",
    "right",
    "top-left",
    "top-right",
    "bottom-left",
    "bottom-right",
]


class Margins(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A margin for each side: pixels, or a percentage of the canvas's shorter side."""

    top: Length = 0
    right: Length = 0
    bottom: Length = 0
    left: Length = 0


class Shadow(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A shadow of the subject. Percentages are of the canvas's shorter side."""

    softness: Annotated[Length, Meta(description="radius of the blur")] = "2%"
    opacity: Annotated[
        Annotated[float, Meta(ge=0, le=1)], Meta(description="0, invisible, to 1, black")
    ] = 0.35
    offset: Annotated[
        tuple[SignedLength, SignedLength],
        Meta(description="how far it is shifted to the right, and down"),
    ] = (0, "1.5%")


class Finish(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How a result is framed and saved. Errors and the schema show the descriptions below."""

    trim: Annotated[
        bool, Meta(description="true or false: crop the transparent area around the subject")
    ] = False
    margin: Annotated[
        Length | Margins,
        Meta(
            description="pixels (0 to 4999), or a percentage of the canvas's shorter side "
            '("0%" to "49.99%"), kept free on each side; or an object with top, right, bottom '
            "and left"
        ),
    ] = 0
    size: Annotated[
        Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}" + END)] | None,
        Meta(
            description='width and height of the canvas in pixels, such as "2000x2000": sides up '
            "to 10,000, together up to 16,000,000 pixels; the subject is fitted into it"
        ),
    ] = None
    upscale: Annotated[
        Literal["auto", "never"],
        Meta(
            description='"auto" or "never": where the canvas would enlarge the subject, Venice\'s '
            "upscaler does, which costs extra"
        ),
    ] = "never"
    position: Annotated[
        Position,
        Meta(
            description="where the subject is on a canvas with a size: center, top, bottom, left, "
            "right, top-left, top-right, bottom-left or bottom-right"
        ),
    ] = "center"
    background: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=1024,
            description='"transparent", a colour ("#ffffff" or a CSS name such as "ivory"), or '
            'the key of an image such as "studio/wood.jpg"',
        ),
    ] = "transparent"
    shadow: Annotated[
        bool | Shadow,
        Meta(
            description="true or false: a soft shadow below the subject; or an object with "
            "softness, opacity (0 to 1) and offset (to the right, and down)"
        ),
    ] = False
    channels: Annotated[
        Literal["all", "alpha"],
        Meta(
            description='"all", or "alpha": only the mask, white where the subject is and black '
            "elsewhere"
        ),
    ] = "all"
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
    dpi: Annotated[
        Annotated[int, Meta(ge=1, le=2_400)] | None,
        Meta(description="1 to 2,400: dots per inch, which a PNG or JPEG states for printing"),
    ] = None
    preset: Annotated[
        str | None,
        Meta(
            description=", ".join(f'"{name}"' for name in PRESETS)
            + ", or one of your own presets: fills in the other keys",
            extra_json_schema={"examples": list(PRESETS)},
        ),
    ] = None
    rules: Annotated[
        Rules | None,
        Meta(
            description="an object of rules that the result is checked against, such as "
            '{"min_longest": 1000}; the presets of the shops have their own'
        ),
    ] = None

    @classmethod
    def parse(
        cls, value: object, presets: Mapping[str, Mapping[str, Any]] | None = NO_PRESETS
    ) -> "Finish":
        """Return a finish from JSON: an object, or the name of a preset (for tags).

        `presets`: the keys of a person's own presets by name, checked before; None if they are not
        known, then any name may be one. Raise an `InvalidValueError` that names the key, its value
        and what is allowed.
        """
        own = {"preset": value} if isinstance(value, str) else value
        if not isinstance(own, Mapping):
            raise InvalidValueError(
                'finish must be an object such as {"preset": "amazon"} or the name of a preset '
                f"({', '.join(PRESETS)}), not {value!r}."
            )
        for key, part in own.items():
            _check(key, part)
        finish = msgspec.convert({**_keys_of(own.get("preset"), presets), **own}, cls)
        _check_together(finish)
        return finish

    @property
    def checked_against(self) -> Rules | None:
        """The rules of the result: its own, or those of its preset."""
        preset = PRESETS.get(self.preset or "")
        return self.rules or (preset.rules if preset else None)

    @property
    def identity(self) -> "Finish":
        """The finish without its rules, which change nothing of the result."""
        return msgspec.structs.replace(self, rules=None)

    @property
    def margins(self) -> Margins:
        """The margin of each side."""
        if isinstance(self.margin, Margins):
            return self.margin
        return Margins(top=self.margin, right=self.margin, bottom=self.margin, left=self.margin)

    @property
    def cast_shadow(self) -> Shadow:
        """The shadow, for a finish that has one."""
        return self.shadow if isinstance(self.shadow, Shadow) else Shadow()

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


def check_preset(name: str, value: object) -> None:
    """Raise `InvalidValueError` unless `value` is a good preset of one's own with this name."""
    if name in PRESETS:
        raise InvalidValueError(
            f"The preset {name} is one of Image Drop's own. Give yours another name."
        )
    if not isinstance(value, Mapping) or "preset" in value:
        raise InvalidValueError(
            f"The preset {name} must be an object with keys of a finish, without a preset."
        )
    try:
        Finish.parse(value)
    except InvalidValueError as error:
        raise InvalidValueError(f"In the preset {name}: {error.detail}") from error


def _keys_of(
    name: str | None, presets: Mapping[str, Mapping[str, Any]] | None
) -> Mapping[str, Any]:
    """Return the keys that a preset fills in. Raise `InvalidValueError` if there is none."""
    if name is None:
        return {}
    if name in PRESETS:
        return PRESETS[name].keys
    if presets is None:
        return {}
    if name in presets:
        return presets[name]
    known = (*PRESETS, *presets)
    raise InvalidValueError(
        f"finish.preset is {name!r}. Allowed: {', '.join(known)}, or a preset of your own in "
        "presets."
    )


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
        _check_room(finish, width, height)
    if finish.upscale == "auto" and not finish.canvas:
        raise InvalidValueError(
            "finish.upscale is 'auto', but without finish.size no canvas enlarges the subject. "
            "Set a size, or a preset that has one."
        )
    if finish.dpi and finish.format == "webp":
        raise InvalidValueError(
            "finish.dpi is set, but a WebP cannot state it. Allowed: png and jpeg."
        )
    key = finish.background_key
    if key is not None and "." not in key:
        raise InvalidValueError(
            f"finish.background is {key!r}, neither a colour nor the key of an image. Allowed: "
            f"{_description(get_type_hints(Finish, include_extras=True)['background'])}."
        )


def _check_room(finish: Finish, width: int, height: int) -> None:
    """Raise `InvalidValueError` if the margins leave no room for the subject."""
    sides, shorter = finish.margins, min(width, height)
    across = in_pixels(sides.left, shorter) + in_pixels(sides.right, shorter)
    down = in_pixels(sides.top, shorter) + in_pixels(sides.bottom, shorter)
    if across >= width or down >= height:
        most = f" Allowed: up to {(shorter - 1) // 2}." if isinstance(finish.margin, int) else ""
        shown = finish.margin if isinstance(finish.margin, int | str) else "too much"
        raise InvalidValueError(
            f"finish.margin is {shown} on each side of {finish.size}, which leaves no room for "
            f"the subject.{most}"
        )


def in_pixels(length: int | str, shorter: float) -> float:
    """Return a length in pixels. A percentage is of `shorter`, the canvas's shorter side."""
    return length if isinstance(length, int) else part_of(length) * shorter


def part_of(percent: str) -> float:
    """Return 0.08 for `8%`."""
    return float(percent.removesuffix("%")) / 100


def _is_colour(text: str) -> bool:
    if text in ("transparent", "white", "black") or _COLOUR.fullmatch(text):
        return True
    if "." in text or "/" in text:
        return False
    from PIL.ImageColor import colormap  # imports Pillow

    return text.lower() in colormap
