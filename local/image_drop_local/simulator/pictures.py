"""The simulator's pictures: real edits by Pillow, so that you see that something happened.

They only resemble Venice's: a cut-out has true transparency, an edit is a change that depends on
the prompt. Every edit has a small mark in its corner, and every file names its maker.
"""

import hashlib
import io
import math
from collections.abc import Callable
from functools import cache
from itertools import chain
from statistics import median

from PIL import (
    Image,
    ImageChops,
    ImageDraw,
    ImageEnhance,
    ImageFilter,
    ImageFont,
    ImageOps,
    PngImagePlugin,
)

SOFTWARE = "Image Drop's Venice simulator"
EXIF_SOFTWARE = 0x0131
LONG_SIDE = {"1K": 1024, "2K": 2048, "4K": 4096}  # of an edit, in pixels
CUT_OUT_LONG_SIDE = 2048  # a cut-out keeps its size up to here, so that a large photo takes < 2 s
CANNED_SIZE = (256, 256)  # the fewest pixels that the endpoints take, so that an answer can be sent
FLOOD_SIDE = 256  # the flood runs on a small copy: Pillow's floodfill is a Python loop
TOLERANCE = 60  # of the flood: sum of the differences of the three channels, 0 to 765
MIN_SUBJECT, MAX_SUBJECT = 0.10, 0.95  # of the picture; outside, the flood found no subject

SUBJECT_SHARE = 0.15  # of the largest island: smaller ones are crumbs, not subjects

type Colour = tuple[int, int, int]
type Effect = Callable[[Image.Image, Colour], Image.Image]


class UnreadableImageError(Exception):
    """Raised when the header of an image was good and its pixels are not."""


def edit(
    images: tuple[bytes, ...], prompt: str, *, aspect_ratio: str, resolution: str, form: str
) -> bytes:
    """Return the first image changed by `prompt`, and the others on it. `form`: png, jpeg, webp."""
    side = LONG_SIDE.get(resolution, LONG_SIDE["1K"])
    base, *layers = (_open(data, side) for data in images)
    digest = hashlib.sha256(prompt.encode()).digest()
    effect, colour = EFFECTS[digest[0] % len(EFFECTS)], (digest[1], digest[2], digest[3])
    picture = _flat(_cropped(base, aspect_ratio))
    original, picture = picture, effect(picture, colour)
    for place, layer in enumerate(layers):
        picture = _laid_over(original, picture, layer, place)
    _mark(picture)
    return _encoded(picture, form)


def cut_out(data: bytes) -> bytes:
    """Return a PNG in which everything that a flood from the border reaches is transparent.

    If the flood reaches almost nothing or almost everything, an ellipse with a soft edge replaces
    the subject, so that the result always has transparency.
    """
    picture = _flat(_open(data, CUT_OUT_LONG_SIDE))
    subject = _subject(picture)
    picture.putalpha(subject)
    return _encoded(picture, "png")


def enlarged(data: bytes, scale: float) -> bytes:
    """Return a PNG of the picture at a larger scale."""
    size = enlarged_size(data, scale)
    picture = _open(data, max(size)).resize(size, Image.Resampling.LANCZOS)
    _mark(picture)
    return _encoded(picture, "png")


def enlarged_size(data: bytes, scale: float) -> tuple[int, int]:
    """Return the size of the picture at a scale."""
    with Image.open(io.BytesIO(data)) as image:
        return int(image.width * scale), int(image.height * scale)


@cache
def blank(size: tuple[int, int]) -> bytes:
    """Return a ready-made answer of that size for measurements of everything but the picture."""
    return _encoded(Image.new("RGB", size, (70, 110, 160)), "png")


def placeholder(url: str) -> bytes:
    """Return 512 × 512 pixels instead of a picture on the internet, coloured by its URL."""
    digest = hashlib.sha256(url.partition("?")[0].encode()).digest()
    picture = Image.new("RGB", (512, 512), (240, 240, 240))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((96, 96, 416, 416), fill=(digest[0], digest[1], digest[2]))
    draw.rectangle((216, 216, 296, 296), fill=(digest[3], digest[4], digest[5]))
    return _encoded(picture, "png")


@cache
def canned(form: str, *, transparent: bool) -> bytes:
    """Return a small ready-made answer for measurements of everything but the picture."""
    picture = Image.new("RGB", CANNED_SIZE, (70, 110, 160))
    if transparent:
        picture.putalpha(_ellipse(picture.size))
    return _encoded(picture, form)


def to_jpeg(data: bytes) -> bytes:
    return _encoded(_flat(_open(data, LONG_SIDE["4K"])), "jpeg")


def _open(data: bytes, long_side: int) -> Image.Image:
    """Return the image upright and no larger than `long_side`; decode a JPEG at a smaller scale."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("RGB", (long_side, long_side))
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.mode not in ("RGB", "RGBA", "L"):
                has_alpha = upright.has_transparency_data
                upright = upright.convert("RGBA" if has_alpha else "RGB")
            upright.thumbnail((long_side, long_side), reducing_gap=2.0)
            return upright
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError("The pixels of the image cannot be read") from error


def _flat(image: Image.Image) -> Image.Image:
    """Return the image as RGB, with white for transparency."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _cropped(image: Image.Image, aspect_ratio: str) -> Image.Image:
    if aspect_ratio == "auto":
        return image
    across, down = (int(part) for part in aspect_ratio.split(":"))
    scale = min(image.width / across, image.height / down)
    size = (max(1, round(across * scale)), max(1, round(down * scale)))
    return ImageOps.fit(image, size, Image.Resampling.BILINEAR)


def _encoded(picture: Image.Image, form: str) -> bytes:
    out = io.BytesIO()
    if form == "png":
        text = PngImagePlugin.PngInfo()
        text.add_text("Software", SOFTWARE)
        picture.save(out, "PNG", pnginfo=text, compress_level=2)
    else:
        exif = Image.Exif()
        exif[EXIF_SOFTWARE] = SOFTWARE
        picture.save(out, form.upper(), quality=88, exif=exif)
    return out.getvalue()


# The cut-out


def _subject(picture: Image.Image) -> Image.Image:
    """Return the mask (L) of the subject, at the picture's size."""
    small = picture.copy()
    small.thumbnail((FLOOD_SIDE, FLOOD_SIDE))
    mask = _flooded(small.filter(ImageFilter.MedianFilter(3)))
    core = mask.filter(ImageFilter.MinFilter(9))  # without crumbs and threads
    kept, solid = (each.histogram()[255] / (mask.width * mask.height) for each in (mask, core))
    if solid < MIN_SUBJECT or kept > MAX_SUBJECT:
        return _ellipse(picture.size)
    mask = _without_crumbs(mask.filter(ImageFilter.MinFilter(5)))
    mask = mask.filter(ImageFilter.MaxFilter(5))
    mask = mask.resize(picture.size, Image.Resampling.BICUBIC)
    mask = mask.filter(ImageFilter.GaussianBlur(max(picture.size) / FLOOD_SIDE * 0.6))
    return mask.point(_steep)


def _without_crumbs(mask: Image.Image) -> Image.Image:
    """Return the mask without islands that are much smaller than the largest."""
    islands = []
    while (place := mask.tobytes().find(b"\xff")) >= 0:
        ImageDraw.floodfill(mask, (place % mask.width, place // mask.width), 128)
        islands.append(mask.point(lambda value: 255 if value == 128 else 0))
        mask = mask.point(lambda value: 0 if value == 128 else value)
    largest = max(island.histogram()[255] for island in islands)
    for island in islands:
        if island.histogram()[255] >= SUBJECT_SHARE * largest:
            mask = ImageChops.lighter(mask, island)
    return mask


def _steep(value: float) -> float:
    """Return a steeper value, which moves a blurred edge inwards, off the background's fringe."""
    return min(255.0, max(0.0, (value - 110) * 255 / 110))


def _flooded(small: Image.Image) -> Image.Image:
    """Return what a flood does not reach, from border points of about the border's usual colour."""
    reached = (255, 0, 254)  # a colour that photographs hardly have
    width, height = small.size
    border = list(
        chain(
            ((x, y) for x in range(0, width, 4) for y in (0, height - 1)),
            ((x, y) for y in range(0, height, 4) for x in (0, width - 1)),
        )
    )
    colours = {point: _colour(small, point) for point in border}
    usual = tuple(median(colour[band] for colour in colours.values()) for band in range(3))
    flood = small.copy()
    for point, colour in colours.items():
        near = sum(abs(a - b) for a, b in zip(colour, usual, strict=True)) <= 2 * TOLERANCE
        if near and _colour(flood, point) != reached:
            ImageDraw.floodfill(flood, point, reached, thresh=TOLERANCE)
    difference = ImageChops.difference(flood, Image.new("RGB", flood.size, reached))
    red, green, blue = difference.split()
    distance = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return distance.point(lambda value: 255 if value else 0)


def _colour(image: Image.Image, point: tuple[int, int]) -> Colour:
    colour = image.getpixel(point)
    assert isinstance(colour, tuple)
    return (int(colour[0]), int(colour[1]), int(colour[2]))


def _ellipse(size: tuple[int, int]) -> Image.Image:
    width, height = size
    mask = Image.new("L", size, 0)
    inset = (width * 0.12, height * 0.08, width * 0.88, height * 0.92)
    ImageDraw.Draw(mask).ellipse(inset, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(min(size) / 60))


# The edits


def _duotone(picture: Image.Image, colour: Colour) -> Image.Image:
    grey = ImageOps.autocontrast(picture.convert("L"), cutoff=1)
    dark = (colour[0] // 3, colour[1] // 3, colour[2] // 3)
    light = (255 - colour[0] // 4, 255 - colour[1] // 4, 255 - colour[2] // 4)
    return ImageOps.colorize(grey, dark, light)


def _poster(picture: Image.Image, colour: Colour) -> Image.Image:
    vivid = ImageEnhance.Color(ImageOps.posterize(picture, 2)).enhance(1.8)
    return Image.blend(vivid, Image.new("RGB", picture.size, colour), 0.15)


def _ink(picture: Image.Image, colour: Colour) -> Image.Image:
    """Return dark lines on pale `colour`."""
    edges = picture.convert("L").filter(ImageFilter.SMOOTH).filter(ImageFilter.FIND_EDGES)
    lines = ImageOps.invert(ImageOps.autocontrast(edges, cutoff=2))
    paper = (255 - colour[0] // 6, 255 - colour[1] // 6, 255 - colour[2] // 6)
    return ImageOps.colorize(lines, (25, 25, 40), paper)


def _comic(picture: Image.Image, colour: Colour) -> Image.Image:
    return ImageChops.multiply(_poster(picture, colour), _ink(picture, (0, 0, 0)))


def _sunset(picture: Image.Image, colour: Colour) -> Image.Image:
    warm = Image.new("RGB", picture.size, (255, 120 + colour[0] // 8, 40))
    graded = ImageChops.multiply(ImageEnhance.Contrast(picture).enhance(1.3), warm)
    return Image.composite(picture.point(lambda v: v // 3), graded, _vignette(picture.size))


def _night(picture: Image.Image, colour: Colour) -> Image.Image:
    cold = Image.new("RGB", picture.size, (40, 70, 160 + colour[2] // 4))
    dark = ImageChops.multiply(ImageEnhance.Color(picture).enhance(0.5), cold)
    return ImageEnhance.Brightness(dark).enhance(1.4)


def _mosaic(picture: Image.Image, colour: Colour) -> Image.Image:
    tiles = 40 + colour[0] % 40
    scale = tiles / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    tiny = ImageEnhance.Color(picture.resize(size, Image.Resampling.BOX)).enhance(1.9)
    return tiny.resize(picture.size, Image.Resampling.NEAREST)


EFFECTS: tuple[Effect, ...] = (_duotone, _poster, _ink, _comic, _sunset, _night, _mosaic)


def _vignette(size: tuple[int, int]) -> Image.Image:
    """Return a mask that is white at the corners and black in the middle."""
    return Image.radial_gradient("L").resize(size).point(lambda value: max(0, value - 90))


def _laid_over(
    original: Image.Image, picture: Image.Image, layer: Image.Image, place: int
) -> Image.Image:
    """Return the picture with a layer: a transparent one covers, a grey one masks, others inset."""
    if layer.mode == "RGBA" and layer.getchannel("A").getextrema()[0] == 0:
        fitted = ImageOps.fit(layer, picture.size)
        return Image.alpha_composite(picture.convert("RGBA"), fitted).convert("RGB")
    if layer.mode == "L":
        return Image.composite(picture, original, ImageOps.fit(layer, picture.size))
    inset = ImageOps.contain(_flat(layer), (picture.width // 3, picture.height // 3))
    framed = ImageOps.expand(inset, border=max(2, picture.width // 200), fill="white")
    gap = picture.width // 40
    across = (gap + place * (framed.width + gap)) % max(1, picture.width - framed.width)
    picture.paste(framed, (across, gap))
    return picture


def _mark(picture: Image.Image) -> None:
    """Write a small "simulation" into the lower right corner."""
    size = max(10, round(math.sqrt(picture.width * picture.height) / 50))
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(picture, "RGBA")
    corner = (picture.width - size // 2, picture.height - size // 2)
    left, top, right, bottom = draw.textbbox(corner, "simulation", font=font, anchor="rs")
    pad = size // 4
    draw.rectangle((left - pad, top - pad, right + pad, bottom + pad), fill=(0, 0, 0, 110))
    draw.text(corner, "simulation", font=font, anchor="rs", fill=(255, 255, 255, 210))
