"""Small pictures in every format and mode, made by Pillow or, where it cannot, byte by byte."""

import io
import struct
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import pillow_heif
from PIL import Image, ImageCms, ImageDraw

pillow_heif.register_heif_opener()

RED, GREEN, BLUE, WHITE = (220, 40, 40), (40, 180, 60), (50, 70, 210), (245, 245, 245)

D50 = (0.9642, 1.0, 0.8249)
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))


def quadrants(width: int = 320, height: int = 240) -> Image.Image:
    """Red and green above, blue and white below: tells every turn and mirror image apart."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(WHITE, (width // 2, height // 2, width, height))
    return image


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """Return the bands of a pixel, of images with several and of those with one."""
    found = image.getpixel((x, y))
    assert found is not None
    return found if isinstance(found, tuple) else (round(found),)


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """RGB in the middle of each quarter: top left, top right, bottom left, bottom right."""
    rgb, (w, h) = image.convert("RGB"), image.size
    points = [
        (w // 4, h // 4),
        (3 * w // 4, h // 4),
        (w // 4, 3 * h // 4),
        (3 * w // 4, 3 * h // 4),
    ]
    return [pixel(rgb, *point) for point in points]


def alike(found: Sequence[int], expected: Sequence[int], tolerance: int = 6) -> bool:
    return all(abs(f - e) <= tolerance for f, e in zip(found, expected, strict=True))


def upright(image: Image.Image, tolerance: int = 6) -> bool:
    """Whether it shows `quadrants` as they are."""
    expected = (RED, GREEN, BLUE, WHITE)
    return all(
        alike(found, colour, tolerance)
        for found, colour in zip(corners(image), expected, strict=True)
    )


def save(image: Image.Image, name: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, name, **options)
    return target.getvalue()


def load(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@cache
def photo(name: str = "shoe", size: tuple[int, int] = (320, 260), form: str = "JPEG") -> bytes:
    """Return a product shot: something dark red in the middle of white.

    Each name gives other pixels, which tell its calls apart.
    """
    image = Image.new("RGB", size, "white")
    width, height = size
    draw = ImageDraw.Draw(image)
    draw.rectangle((width * 0.25, height * 0.25, width * 0.75, height * 0.75), fill="darkred")
    checksum = zlib.crc32(name.encode())
    for bit in range(32):  # as black and white squares: JPEG makes similar colours the same
        if checksum >> bit & 1:
            draw.rectangle((8 * bit, 0, 8 * bit + 7, 7), fill="black")
    return save(image, form)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def lying_down(orientation: int) -> Image.Image:
    """`quadrants` as a camera stores them that writes this EXIF orientation beside them."""
    turn = TURNS[orientation]
    return quadrants() if turn is None else quadrants().transpose(turn)


# --- PNG, byte by byte -----------------------------------------------------------------------


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]
) -> bytes:
    """A PNG of filtered `rows`, with `extra` chunks before the picture data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header (8 + 25 bytes)."""
    return data[:33] + chunk(kind, body) + data[33:]


def deep_png(colour: int, *extra: tuple[bytes, bytes]) -> bytes:
    """16 bits per sample, 300 × 256: rows go from 0 to 65,280 in steps of 256."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    rows = b"".join(b"\0" + struct.pack(">H", y * 256) * samples * 300 for y in range(256))
    return png(300, 256, 16, colour, rows, *extra)


# --- colour profiles -------------------------------------------------------------------------


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", name, offset + len(body), len(content))
        body += content
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    header = struct.pack(
        ">I4s4s4s4s4s12s4s28s12s48s",
        128 + len(table) + len(body),
        b"lcms",
        b"\x02\x10\0\0",
        kind,
        space,
        connection,
        b"\x07\xe9\0\x01\0\x01\0\0\0\0\0\0",
        b"acsp",
        b"\0" * 28,
        _numbers(D50),
        b"\0" * 48,
    )
    return header + table + body


def _numbers(values: Sequence[float]) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65_536) for value in values))


def _text(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * 79


def _gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(primaries: Sequence[Sequence[float]], gamma: float = 2.2) -> bytes:
    """Three primaries (D50-adapted XYZ) and a gamma."""
    tags = {b"desc": _text(b"test"), b"wtpt": b"XYZ \0\0\0\0" + _numbers(D50)}
    for name, xyz in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[name + b"XYZ"] = b"XYZ \0\0\0\0" + _numbers(xyz)
        tags[name + b"TRC"] = _gamma(gamma)
    return _profile(b"RGB ", b"XYZ ", tags)


def srgb_by_littlecms() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey_profile(gamma: float) -> bytes:
    tags = {b"desc": _text(b"grey"), b"wtpt": b"XYZ \0\0\0\0" + _numbers(D50)}
    return _profile(b"GRAY", b"XYZ ", {**tags, b"kTRC": _gamma(gamma)})


def cmyk_profile() -> bytes:
    """An ink set in which cyan is orange, so that using the profile cannot be mistaken."""
    ramp = bytes(range(256))
    grid = b""
    for corner in range(16):  # the last ink varies fastest; Lab with 8 bits
        cyan, black = corner & 8, corner & 1
        grid += bytes(
            (20 if black else 170 if cyan else 255, 160 if cyan else 128, 128 + 60 * bool(cyan))
        )
    matrix = _numbers((1, 0, 0, 0, 1, 0, 0, 0, 1))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + grid + ramp * 3
    return _profile(b"CMYK", b"Lab ", {b"desc": _text(b"ink"), b"A2B0": table, b"A2B1": table})


# --- one of each -----------------------------------------------------------------------------


@cache
def untouched() -> dict[str, bytes]:
    """Files that Venice takes as they are."""
    rgb = quadrants()
    rgba, grey = rgb.copy(), rgb.convert("L")
    rgba.putalpha(Image.linear_gradient("L").resize(rgb.size))
    return {
        "baseline JPEG": save(rgb, "JPEG", quality=90),
        "progressive JPEG": save(rgb, "JPEG", progressive=True, quality=90),
        "4:4:4 JPEG": save(rgb, "JPEG", subsampling=0),
        "grey JPEG": save(grey, "JPEG"),
        "JPEG with restart markers": save(rgb, "JPEG", restart_marker_rows=1),
        "RGB PNG": save(rgb, "PNG"),
        "RGBA PNG": save(rgba, "PNG"),
        "grey PNG": save(grey, "PNG"),
        "grey PNG with alpha": save(rgba.convert("LA"), "PNG"),
        "lossy WebP": save(rgb, "WEBP"),
        "lossless WebP": save(rgb, "WEBP", lossless=True),
        "transparent WebP": save(rgba, "WEBP"),
    }


@cache
def convertible() -> dict[str, bytes]:
    """Files that show `quadrants` and have to be converted."""
    rgb = quadrants()
    blank = Image.new("RGB", rgb.size)
    animation: dict[str, Any] = {"save_all": True, "append_images": [blank, blank]}
    return {
        "heic": save(rgb, "HEIF", quality=90),
        "avif": save(rgb, "AVIF", quality=90, speed=10),
        "tiff": save(rgb, "TIFF"),
        "lzw tiff": save(rgb, "TIFF", compression="tiff_lzw"),
        "jpeg tiff": save(rgb, "TIFF", compression="jpeg", quality=95),
        "two-page tiff": save(rgb, "TIFF", save_all=True, append_images=[blank]),
        "bmp": save(rgb, "BMP"),
        "palette bmp": save(rgb.convert("P", palette=Image.Palette.ADAPTIVE), "BMP"),
        "gif": save(rgb, "GIF"),
        "animated gif": save(rgb, "GIF", **animation),
        "animated png": save(rgb, "PNG", **animation),
        "animated webp": save(rgb, "WEBP", lossless=True, **animation),
        "animated avif": save(rgb, "AVIF", quality=90, speed=10, **animation),
        "palette png": save(rgb.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        "P3 jpeg": save(rgb, "JPEG", quality=95, icc_profile=rgb_profile(SRGB, 2.0)),
        "rotated jpeg": save(lying_down(6), "JPEG", quality=95, exif=exif(6)),
        "cmyk tiff": save(rgb.convert("CMYK"), "TIFF"),
        "cmyk jpeg": save(rgb.convert("CMYK"), "JPEG", quality=95),
        "ycbcr tiff": save(rgb.convert("YCbCr"), "TIFF"),
        "lab tiff": save(_lab(rgb), "TIFF"),
    }


def _lab(image: Image.Image) -> Image.Image:
    return image.convert("LAB")
