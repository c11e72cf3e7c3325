"""Change the pixels of a decoded image: size, depth, mode and colour space."""

import io
import math
from typing import Any

from PIL import Image

# Pillow's modes whose samples are not changed; all others are converted to one of them.
PLAIN = {"L", "LA", "RGB", "RGBA", "CMYK"}
DEEP = {"I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
_STRIP = 256  # rows that are worked on at a time


def redrawn(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image in that size and in a plain mode.

    It works strip by strip, so that there is never more than one full copy of the image. As a
    whole, a 60-megapixel RGBA image would need 241 MB more to multiply its colours by their alpha,
    179 MB for the horizontal pass, and 133 MB twice for the result.
    """
    transparent = "transparency" in image.info
    if image.size == size and image.mode in PLAIN and not transparent:
        return image
    extrema = image.getextrema() if image.mode in ("I", "F") else (0, 65_536)
    scale = image.height / size[1]
    reach = 0 if image.size == size else math.ceil(3 * scale) + 1  # of Lanczos, in rows
    result: Image.Image | None = None
    for top in range(0, size[1], _STRIP):
        bottom = min(top + _STRIP, size[1])
        first = max(math.floor(top * scale) - reach, 0)
        last = min(math.ceil(bottom * scale) + reach, image.height)
        strip = _plain(image.crop((0, first, image.width, last)), extrema)
        if image.size != size:
            box = (0, top * scale - first, image.width, min(bottom * scale, last) - first)
            strip = strip.resize((size[0], bottom - top), Image.Resampling.LANCZOS, box)
        result = result or Image.new(strip.mode, size)
        result.paste(strip, (0, top))
    assert result is not None
    return result


def _plain(image: Image.Image, extrema: Any) -> Image.Image:
    """Return the image with 8 bits per sample and no palette.

    Deeper samples are scaled, because Pillow alone would clip them.
    """
    transparency = image.info.get("transparency")
    if image.mode in DEEP:
        # 32-bit integers and floats define no white, so the brightest sample becomes white.
        low, high = extrema
        factor = 256 / (high - low) if image.mode.startswith("I;") else 255 / (high - low or 1)
        wide = image if image.mode == "F" else image.convert("I")
        image = wide.point(lambda value: value * factor - low * factor).convert("L")
    if transparency is None:
        modes = {"1": "L", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}
        return image if image.mode in PLAIN else image.convert(modes.get(image.mode, "RGB"))
    if isinstance(transparency, int) and transparency > 255:
        transparency >>= 8
    elif isinstance(transparency, tuple):
        transparency = tuple(v >> 8 if max(transparency) > 255 else v for v in transparency)
    image.info["transparency"] = transparency
    return image.convert("LA" if image.mode in ("1", "L") else "RGBA")


def in_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, bool]:
    """Return the image in sRGB, and whether the profile was used; a broken profile is ignored."""
    from PIL import ImageCms  # 5 ms, and few images need it

    alpha = image.getchannel("A") if image.mode == "LA" else None
    source = image.convert("L") if alpha else image
    try:
        source = ImageCms.profileToProfile(  # type: ignore[assignment]
            source,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGBA" if image.mode == "RGBA" else "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, ValueError, OSError, TypeError):
        return image, False
    if image.mode in ("L", "LA"):
        source = source.convert("L")
    if alpha:
        source.putalpha(alpha)
    return source, True


def without_idle_alpha(image: Image.Image) -> Image.Image:
    """Return the image without its alpha channel if that is opaque everywhere."""
    if image.mode in ("LA", "RGBA") and image.getextrema()[-1] == (255, 255):
        return image.convert(image.mode[:-1])
    return image
