"""The check of a finished result against the rules of its preset."""

import io
from collections.abc import Iterator

from PIL import Image, ImageColor

from image_drop.instructions.presets import Rules

PASSED = "passed"
_LOSSY = 3  # by which a compressed colour may differ in a channel; white stays exactly white


def check_result(rules: Rules, data: bytes, fill: float) -> str:
    """Return `passed`, or what the result breaks, in words of ASCII.

    `fill`: percent of the width or height that the subject takes, see `canvas.Drawn`.
    """
    with Image.open(io.BytesIO(data), formats=["PNG", "WEBP", "JPEG"]) as image:
        problems = [*_of_size(rules, image), *_of_file(rules, image, data), *_of_fill(rules, fill)]
        if rules.background:
            problems += _of_background(rules.background, image)
    return "; ".join(problems) or PASSED


def _of_size(rules: Rules, image: Image.Image) -> Iterator[str]:
    size = f"size {image.width}x{image.height}"
    longest, shortest = max(image.size), min(image.size)
    if rules.min_longest and longest < rules.min_longest:
        yield f"{size}: longest side under {rules.min_longest}"
    if rules.min_shortest and shortest < rules.min_shortest:
        yield f"{size}: shortest side under {rules.min_shortest}"
    if rules.max_longest and longest > rules.max_longest:
        yield f"{size}: longest side over {rules.max_longest}"
    if rules.max_pixels and image.width * image.height > rules.max_pixels:
        yield f"{size}: over {rules.max_pixels} pixels"
    if rules.square and longest != shortest:
        yield f"{size}: not square"


def _of_file(rules: Rules, image: Image.Image, data: bytes) -> Iterator[str]:
    if rules.max_bytes and len(data) > rules.max_bytes:
        yield f"bytes {len(data)}: over {rules.max_bytes}"
    form = str(image.format).lower()
    if rules.formats and form not in rules.formats:
        yield f"format {form}: not {' or '.join(rules.formats)}"


def _of_fill(rules: Rules, fill: float) -> Iterator[str]:
    if rules.min_fill and fill < rules.min_fill:
        yield f"fill {fill:.1f} percent: under {rules.min_fill:g}"
    if rules.max_fill and fill > rules.max_fill:
        yield f"fill {fill:.1f} percent: over {rules.max_fill:g}"


def _of_background(wanted: str, image: Image.Image) -> Iterator[str]:
    colour = ImageColor.getrgb(wanted)
    slack = 0 if min(colour) == 255 else _LOSSY
    right, bottom = image.width - 1, image.height - 1
    pixels = image.convert("RGBA")
    for corner in ((0, 0), (right, 0), (0, bottom), (right, bottom)):
        found = pixels.getpixel(corner)
        assert isinstance(found, tuple)
        off = max(abs(one - other) for one, other in zip(found[:3], colour[:3], strict=True))
        if found[3] != 255 or off > slack:
            shown = "transparent" if found[3] != 255 else "#{:02x}{:02x}{:02x}".format(*found[:3])
            yield f"background {shown} in a corner: not {wanted}"
            return
