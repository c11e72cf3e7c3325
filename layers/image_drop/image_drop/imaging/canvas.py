"""Draw a finish: subject, shadow and background on a canvas, saved within its byte limit."""

import io
import math
from typing import Any

from PIL import Image, ImageColor, ImageFilter

from image_drop.errors import ImageError, LayerError, TooLargeError
from image_drop.imaging import photos
from image_drop.imaging.conversion import decoding, encode_within
from image_drop.imaging.pixels import without_idle_alpha
from image_drop.instructions.finish import MAX_CANVAS_PIXELS, MAX_SIDE, Finish

# A soft shadow, in parts of the canvas's shorter side.
_SHADOW_BLUR = 0.02
_SHADOW_DROP = 0.015
_SHADOW_STRENGTH = 0.35

# Alpha up to this belongs to the haze that a cut-out leaves around its subject.
_HAZE = 8


def render(finish: Finish, png: bytes, background_image: bytes | None = None) -> bytes:
    """Return `png` framed and saved as `finish` says.

    `background_image`: the file that `finish.background_key` names, in any supported format.
    Raise `LayerError` when it cannot be used, `ImageError` when `png` cannot.
    """
    backdrop = _usable(finish, background_image)
    with decoding(png):
        subject = _subject(png)
        if finish.trim:
            subject = _trimmed(subject)
        canvas_size, subject_size = _layout(finish, subject.size)
        subject = subject.resize(subject_size, Image.Resampling.LANCZOS)
        canvas = _background(finish, canvas_size, backdrop)
        canvas.info.clear()  # Pillow would save the background's comment and profile
        left = (canvas_size[0] - subject_size[0]) // 2
        top = (canvas_size[1] - subject_size[1]) // 2
        if finish.shadow:
            _cast_shadow(canvas, subject, left, top)
        canvas.alpha_composite(subject, (left, top))
        return _saved(canvas, finish)


def _subject(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png), formats=["PNG"])
    if image.width * image.height > photos.MAX_PIXELS:
        raise TooLargeError(
            f"The result is {image.width:,} × {image.height:,} pixels. A finish is limited to "
            f"{photos.MAX_PIXELS:,} pixels."
        )
    return image.convert("RGBA")


def _trimmed(image: Image.Image) -> Image.Image:
    """Return the image without its transparent edges, or as it is if nothing is visible."""
    visible = image.getchannel("A").point(lambda alpha: 255 * (alpha > _HAZE))
    box = visible.getbbox()
    return image.crop(box) if box else image


def _layout(finish: Finish, subject: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size of the canvas, and of the subject in it."""
    if finish.canvas:
        margin = _margin(finish, min(finish.canvas))
        room = (finish.canvas[0] - 2 * margin, finish.canvas[1] - 2 * margin)
        return finish.canvas, _scaled(subject, min(room[0] / subject[0], room[1] / subject[1]))
    shorter = min(subject)
    if isinstance(finish.margin, str):
        part = _part(finish.margin)  # margin = part × (shorter + 2 × margin)
        margin = round(part * shorter / (1 - 2 * part))
    else:
        margin = finish.margin
    canvas = (subject[0] + 2 * margin, subject[1] + 2 * margin)
    scale = min(math.sqrt(MAX_CANVAS_PIXELS / (canvas[0] * canvas[1])), MAX_SIDE / max(canvas), 1)
    return _scaled(canvas, scale), _scaled(subject, scale)


def _margin(finish: Finish, shorter: int) -> int:
    """Return the pixels on each side, which leave at least one pixel for the subject."""
    wanted = finish.margin if isinstance(finish.margin, int) else _part(finish.margin) * shorter
    return min(round(wanted), (shorter - 1) // 2)


def _part(percent: str) -> float:
    return float(percent.removesuffix("%")) / 100


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


def _cast_shadow(canvas: Image.Image, subject: Image.Image, left: int, top: int) -> None:
    shorter = min(canvas.size)
    mask = Image.new("L", canvas.size)
    mask.paste(subject.getchannel("A"), (left, top + round(shorter * _SHADOW_DROP)))
    mask = mask.filter(ImageFilter.GaussianBlur(shorter * _SHADOW_BLUR))
    shadow = Image.new("RGBA", canvas.size, "black")
    shadow.putalpha(mask.point(lambda alpha: int(alpha * _SHADOW_STRENGTH)))
    canvas.alpha_composite(shadow)


def _saved(canvas: Image.Image, finish: Finish) -> bytes:
    """Return the image within `max_bytes`, first with less quality, then at 0.9 of its sides."""
    image = canvas.convert("RGB") if finish.format == "jpeg" else without_idle_alpha(canvas)
    while True:
        for options in _encodings(finish.format):
            encoded = encode_within(image, finish.max_bytes or 1 << 62, **options)
            if encoded is not None:
                return encoded
        image = image.resize(_scaled(image.size, 0.9), Image.Resampling.LANCZOS)


def _encodings(name: str) -> tuple[dict[str, Any], ...]:
    """Return Pillow's options, best first. PNG has no quality, so only its size can shrink."""
    if name == "png":
        return ({"format": "PNG"},)
    if name == "webp":
        return tuple({"format": "WEBP", "quality": quality} for quality in (90, 80, 65, 50))
    best = {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"}
    return (best, *({"format": "JPEG", "quality": quality} for quality in (90, 80, 65, 50)))
