"""Draw a finish: subject, shadow and background on a canvas, saved within its byte limit."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageColor, ImageFilter

from image_drop.errors import ImageError, LayerError, TooLargeError
from image_drop.imaging import photos
from image_drop.imaging.conversion import decoding, encode_within
from image_drop.imaging.pixels import without_idle_alpha
from image_drop.instructions.finish import (
    MAX_CANVAS_PIXELS,
    MAX_SIDE,
    Finish,
    Shadow,
    in_pixels,
    part_of,
)

# Alpha up to this belongs to the haze that a cut-out leaves around its subject.
_HAZE = 8


# Where the subject is in its room: parts of what is free to the left of it, and above it.
_ACROSS = {"left": 0.0, "right": 1.0}
_DOWN = {"top": 0.0, "bottom": 1.0}


@dataclass(frozen=True)
class Drawn:
    """A finished result. `fill`: percent of its width or height that the visible subject takes."""

    data: bytes
    fill: float


@dataclass(frozen=True)
class Layout:
    """Pixels: the size of the canvas, and the size and the place of the subject in it."""

    canvas: tuple[int, int]
    subject: tuple[int, int]
    place: tuple[int, int]


def enlargement(finish: Finish, png: bytes) -> float:
    """Return how many times as wide and high the canvas makes the subject; 1.0 without a size.

    Raise `ImageError` when `png` cannot be used.
    """
    if finish.canvas is None:
        return 1.0
    with decoding(png):
        subject = _subject(png)
        size = (_trimmed(subject) if finish.trim else subject).size
    return _scale_into(_room(finish.canvas, _whole_sides(finish, finish.canvas)), size)


def render(
    finish: Finish,
    png: bytes,
    background_image: bytes | None = None,
    larger: bytes | None = None,
) -> Drawn:
    """Return `png` framed and saved as `finish` says.

    `background_image`: the file that `finish.background_key` names, in any supported format.
    `larger`: the same picture from the upscaler, as PNG. Raise `LayerError` when the background
    cannot be used, `ImageError` when `png` cannot.
    """
    backdrop = _usable(finish, background_image)
    with decoding(larger or png):
        subject = _subject(png)
        if larger:
            subject = _enlarged(_subject(larger), subject)
        if finish.trim:
            subject = _trimmed(subject)
        layout = _layout(finish, subject.size)
        subject = subject.resize(layout.subject, Image.Resampling.LANCZOS)
        if finish.channels == "alpha":
            canvas = Image.new("L", layout.canvas)
            canvas.paste(subject.getchannel("A"), layout.place)
        else:
            canvas = _background(finish, layout.canvas, backdrop)
            canvas.info.clear()  # Pillow would save the background's comment and profile
            if finish.shadow:
                _cast_shadow(canvas, subject, layout.place, finish.cast_shadow)
            canvas.alpha_composite(subject, layout.place)
        return Drawn(_saved(canvas, finish), _fill(subject, layout.canvas))


def _subject(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png), formats=["PNG"])
    if image.width * image.height > photos.MAX_PIXELS:
        raise TooLargeError(
            f"The result is {image.width:,} × {image.height:,} pixels. A finish is limited to "
            f"{photos.MAX_PIXELS:,} pixels."
        )
    return image.convert("RGBA")


def _enlarged(larger: Image.Image, original: Image.Image) -> Image.Image:
    """Return the larger picture; one that came back opaque gets the transparency of the original.

    No document of Venice's says whether its upscaler keeps transparency.
    """
    if larger.getchannel("A").getextrema()[0] == 255:
        larger.putalpha(original.getchannel("A").resize(larger.size, Image.Resampling.LANCZOS))
    return larger


def _trimmed(image: Image.Image) -> Image.Image:
    """Return the image without its transparent edges, or as it is if nothing is visible."""
    box = _visible(image)
    return image.crop(box) if box else image


def _visible(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the box around what is visible: left, top, right, bottom; None if nothing is."""
    return image.getchannel("A").point(lambda alpha: 255 * (alpha > _HAZE)).getbbox()


def _fill(subject: Image.Image, canvas: tuple[int, int]) -> float:
    left, top, right, bottom = _visible(subject) or (0, 0, 0, 0)
    return 100 * max((right - left) / canvas[0], (bottom - top) / canvas[1])


def _layout(finish: Finish, subject: tuple[int, int]) -> Layout:
    if finish.canvas:
        canvas = finish.canvas
        sides = _whole_sides(finish, canvas)
        fitted = _scaled(subject, _scale_into(_room(canvas, sides), subject))
        return Layout(canvas, fitted, _placed(finish, canvas, fitted, sides))
    unscaled = round(_shorter_side(finish, subject), 6)
    sides = [round(in_pixels(each, unscaled)) for each in _sides(finish)]
    top, right, bottom, left = sides
    canvas = (subject[0] + left + right, subject[1] + top + bottom)
    scale = min(math.sqrt(MAX_CANVAS_PIXELS / (canvas[0] * canvas[1])), MAX_SIDE / max(canvas), 1)
    canvas, fitted = _scaled(canvas, scale), _scaled(subject, scale)
    sides = [int(each * scale) for each in sides]
    return Layout(canvas, fitted, _placed(finish, canvas, fitted, sides))


def _sides(finish: Finish) -> tuple[int | str, int | str, int | str, int | str]:
    margins = finish.margins
    return margins.top, margins.right, margins.bottom, margins.left


def _whole_sides(finish: Finish, canvas: tuple[int, int]) -> list[int]:
    return [_whole(each, min(canvas)) for each in _sides(finish)]


def _whole(length: int | str, shorter: int) -> int:
    """Return a margin in pixels; a percentage leaves at least one pixel for the subject."""
    if isinstance(length, int):
        return length
    return min(round(in_pixels(length, shorter)), (shorter - 1) // 2)


def _room(canvas: tuple[int, int], sides: Sequence[int]) -> tuple[int, int]:
    top, right, bottom, left = sides
    return max(canvas[0] - left - right, 1), max(canvas[1] - top - bottom, 1)


def _scale_into(room: tuple[int, int], subject: tuple[int, int]) -> float:
    return min(room[0] / subject[0], room[1] / subject[1])


def _placed(
    finish: Finish, canvas: tuple[int, int], subject: tuple[int, int], sides: Sequence[int]
) -> tuple[int, int]:
    """Return the left upper corner of the subject in what the margins leave."""
    top, _, _, left = sides
    words = finish.position.split("-")
    across = next((_ACROSS[word] for word in words if word in _ACROSS), 0.5)
    down = next((_DOWN[word] for word in words if word in _DOWN), 0.5)
    room = _room(canvas, sides)
    return left + int((room[0] - subject[0]) * across), top + int((room[1] - subject[1]) * down)


def _shorter_side(finish: Finish, subject: tuple[int, int]) -> float:
    """Return the shorter side of a canvas without a size.

    Its percentages are of that side itself: side = subject + pixels + parts × shorter side.
    """
    top, right, bottom, left = _sides(finish)
    found = []
    for side, pair in zip(subject, ((left, right), (top, bottom)), strict=True):
        pixels = sum(each for each in pair if isinstance(each, int))
        parts = sum(part_of(each) for each in pair if isinstance(each, str))
        found.append((side + pixels) / (1 - parts))
    return min(found)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(int(size[0] * scale + 1e-6), 1), max(int(size[1] * scale + 1e-6), 1)


def _usable(finish: Finish, image: bytes | None) -> bytes | None:
    """Return the background as `photos.prepare_photo` does; it is as untrusted as a photo."""
    key = finish.background_key
    if key is None:
        return None
    try:
        return photos.prepare_photo(image or b"", smallest=False).data
    except ImageError as error:
        # Without a reason: whoever wrote the instructions may not be allowed to read the image.
        raise LayerError(f"The background {key} cannot be used.") from error


def _background(finish: Finish, size: tuple[int, int], image: bytes | None) -> Image.Image:
    if image is not None:
        return _covering(Image.open(io.BytesIO(image), formats=["JPEG", "PNG", "WEBP"]), size)
    colour = finish.background
    if colour == "transparent":
        colour = "white" if finish.format == "jpeg" else "#00000000"
    return Image.new("RGBA", size, ImageColor.getcolor(colour, "RGBA"))


def _covering(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the middle of `image`, scaled so that it fills `size`."""
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (
        max(left, 0),
        max(top, 0),
        min(left + width, image.width),
        min(top + height, image.height),
    )
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS, box).convert("RGBA")


def _cast_shadow(
    canvas: Image.Image, subject: Image.Image, place: tuple[int, int], shadow: Shadow
) -> None:
    shorter = min(canvas.size)
    right, down = (round(in_pixels(each, shorter)) for each in shadow.offset)
    mask = Image.new("L", canvas.size)
    mask.paste(subject.getchannel("A"), (place[0] + right, place[1] + down))
    mask = mask.filter(ImageFilter.GaussianBlur(in_pixels(shadow.softness, shorter)))
    black = Image.new("RGBA", canvas.size, "black")
    black.putalpha(mask.point(lambda alpha: int(alpha * shadow.opacity)))
    canvas.alpha_composite(black)


def _saved(canvas: Image.Image, finish: Finish) -> bytes:
    """Return the image within `max_bytes`, first with less quality, then at 0.9 of its sides."""
    image = canvas
    if canvas.mode == "RGBA":
        image = canvas.convert("RGB") if finish.format == "jpeg" else without_idle_alpha(canvas)
    while True:
        for options in _encodings(finish):
            encoded = encode_within(image, finish.max_bytes or 1 << 62, **options)
            if encoded is not None:
                return encoded
        image = image.resize(_scaled(image.size, 0.9), Image.Resampling.LANCZOS)


def _encodings(finish: Finish) -> tuple[dict[str, Any], ...]:
    """Return Pillow's options, best first. PNG has no quality, so only its size can shrink."""
    stated = {"dpi": (finish.dpi, finish.dpi)} if finish.dpi else {}
    if finish.format == "png":
        return ({"format": "PNG", **stated},)
    if finish.format == "webp":
        return tuple({"format": "WEBP", "quality": quality} for quality in (90, 80, 65, 50))
    best = {"format": "JPEG", "quality": 95, "subsampling": "4:4:4", **stated}
    lower = ({"format": "JPEG", "quality": quality, **stated} for quality in (90, 80, 65, 50))
    return (best, *lower)
