"""Convert any image to one that Venice accepts, in a separate process for each image.

    python -m image_drop.imaging.conversion TASK SECONDS  < image  > a line of JSON, the new image

The process confines itself before it decodes anything, so that no decoder has to be trusted. It
has limited memory and CPU time, and can neither open nor write a file, not even the parent's
environment in /proc. The kernel enforces this, whatever a file makes a decoder do. Within the
memory, these sizes can be decoded. N is the number of pixels; Pillow keeps RGB and RGBA in 4 bytes
a pixel:

    limit                         660 MB
    - interpreter and Pillow       30 MB
    - a second copy, shrunk       133 MB   33,177,600 × 4
    - the file itself              60 MB   or its real size
    = for the decoder             437 MB

    PNG, GIF, BMP, TIFF   4 × N   109 MP
    WebP                 16 × N    27 MP   Pillow's two copies, the decoder's two canvases
    HEIC, AVIF            8 × N    54 MP   Pillow's copy, the decoder's RGB and its YCbCr
    JPEG                  4 × N   109 MP; in several scans (progressive) 3 to 6 × N more. A larger
                                  one is decoded at 1/2, 1/4 or 1/8 of its sides; then CPU time is
                                  the limit, MAX_JPEG_PIXELS.
"""

import io
import json
import math
import resource
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from errno import EMFILE
from functools import partial
from importlib import import_module
from typing import Any, BinaryIO

from PIL import Image

from image_drop.errors import DamagedImageError, ImageError, NotAnImageError, TooLargeError
from image_drop.imaging.headers import is_srgb, media_type_of, read_header, read_orientation
from image_drop.imaging.limits import CONVERSION_MEMORY
from image_drop.imaging.photos import MAX_BYTES, MAX_PIXELS, Photo, check_size
from image_drop.imaging.pixels import DEEP, PLAIN, in_srgb, redrawn, without_idle_alpha

MAX_JPEG_PIXELS = 400_000_000  # twice the largest phone's
THUMBNAIL_PIXELS = 420 * 420  # about as many as a tile of the console has on a fine screen

_BASE_MEMORY = 30_000_000 + MAX_PIXELS * 4

# Media type → Pillow's name of the format, the module that reads it, its bytes a pixel (above).
_FORMATS = {
    "image/jpeg": ("JPEG", "PIL.MpoImagePlugin", 4),  # a JPEG may turn out to be an MPO
    "image/png": ("PNG", "PIL.PngImagePlugin", 4),
    "image/webp": ("WEBP", "PIL.WebPImagePlugin", 16),
    "image/gif": ("GIF", "PIL.GifImagePlugin", 4),
    "image/bmp": ("BMP", "PIL.BmpImagePlugin", 4),
    "image/tiff": ("TIFF", "PIL.TiffImagePlugin", 4),
    "image/avif": ("AVIF", "PIL.AvifImagePlugin", 8),
    "image/heic": ("HEIF", "pillow_heif", 8),
}
_LOSSLESS = ("image/png", "image/gif", "image/bmp", "image/tiff")
_SENT_AS_IS = ("image/jpeg", "image/png", "image/webp")

# EXIF orientation → the change that makes the image upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112


def to_photo(data: bytes, *, smallest: bool = True) -> Photo:
    """Return the image within Venice's limits: upright, sRGB, 8 bits, one frame, no metadata.

    Transparency is kept. `smallest`: as for `photos.prepare_photo`. Raise `DamagedImageError`,
    `NotAnImageError`, `TooSmallError` or `TooLargeError`.
    """
    check = partial(check_size, smallest=smallest)
    with decoding(data):
        image, changes = _normalised(_opened(data, check), data, MAX_PIXELS)
        encoded, media_type, size, words = _encoded(image, media_type_of(data) in _LOSSLESS)
    why = "compressed" if len(data) >= MAX_BYTES else "re-encoded"
    return Photo(encoded, media_type, *size, tuple(changes + words) or (why,))


def to_png(data: bytes) -> Photo:
    """Return the image as PNG in sRGB, in its own size, without metadata, transparency kept.

    Raises as `to_photo` does.
    """
    with decoding(data):
        image, changes = _normalised(_opened(data, None), data, max_pixels=sys.maxsize)
        target = io.BytesIO()
        image.save(target, "PNG", compress_level=1)
    return Photo(target.getvalue(), "image/png", *image.size, tuple(changes))


def to_thumbnail(data: bytes) -> Photo:
    """Return the image small, as JPEG, or as PNG if it has transparency. Raises as `to_photo`."""
    with decoding(data):
        image, changes = _normalised(_opened(data, None), data, THUMBNAIL_PIXELS)
        target = io.BytesIO()
        if image.mode in ("LA", "RGBA"):
            image.save(target, "PNG", compress_level=6)
            return Photo(target.getvalue(), "image/png", *image.size, tuple(changes))
        image.save(target, "JPEG", quality=82)
    return Photo(target.getvalue(), "image/jpeg", *image.size, tuple(changes))


# --- decoding ------------------------------------------------------------------------------


@contextmanager
def decoding(data: bytes) -> Iterator[None]:
    """Turn any error of Pillow and its codecs in the body into one of ours; ignore warnings."""
    media_type = media_type_of(data)
    if media_type is None:
        raise NotAnImageError(f"The {len(data):,} bytes do not begin like any image format.")
    name = _FORMATS[media_type][0]
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # sizes are checked here, exactly
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except ImageError:
        raise
    except MemoryError:
        raise TooLargeError(
            f"Decoding the {name} file of {len(data):,} bytes needs more than "
            f"{CONVERSION_MEMORY:,} bytes of memory."
        ) from None
    except Exception as error:
        if isinstance(error, ImportError) or getattr(error, "errno", None) == EMFILE:
            raise  # `_import_all_for` lacks a module; the image is not at fault
        # Malformed files make decoders raise nearly every class that Python has.
        raise DamagedImageError(
            f"The {name} file of {len(data):,} bytes cannot be decoded ({type(error).__name__})."
        ) from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _opened(data: bytes, check: Callable[[int, int], None] | None) -> Image.Image:
    """Return the image with its header read, its size checked and its pixels not yet decoded."""
    name, module, _ = _FORMATS[media_type_of(data) or ""]
    _load_plugin(module)
    image = Image.open(io.BytesIO(data), formats=[name])
    if check:
        check(*image.size)
    return image


def _load_plugin(module: str) -> None:
    plugin: Any = import_module(module)
    if module == "pillow_heif":
        plugin.options.DECODE_THREADS = 1
        plugin.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    elif module == "PIL.AvifImagePlugin":
        plugin.DEFAULT_MAX_THREADS = 1


def _normalised(image: Image.Image, data: bytes, max_pixels: int) -> tuple[Image.Image, list[str]]:
    """Return the image decoded, upright, in sRGB, within `max_pixels`, and the changes made."""
    media_type = media_type_of(data) or ""
    changes = []
    if media_type not in _SENT_AS_IS:
        changes.append(f"converted-from-{media_type.removeprefix('image/')}")
    if media_type != "image/jpeg" and getattr(image, "is_animated", False):
        changes.append("first-frame")  # a JPEG's further frames are previews and depth maps
    orientation = _orientation(image)
    profile = image.info.get("icc_profile") or b""
    full_size = image.size
    _make_fit(image, media_type, data)
    image.load()
    upright = orientation == 1 or media_type == "image/tiff"  # Pillow turns a TIFF while loading

    if image.mode in DEEP or (media_type == "image/png" and image.mode != "P" and data[24] != 8):
        changes.append("8-bit")  # data[24]: bits per sample
    elif image.mode not in PLAIN or image.mode == "CMYK":
        changes.append("rgb")
    size = _reduced(image.size, max_pixels)
    if size not in (full_size, full_size[::-1]):
        changes.append("shrunk")
    image = redrawn(image, size)
    if profile and not is_srgb(profile):
        image, used = in_srgb(image, profile)
        changes += ["srgb"] if used else []
    if image.mode == "CMYK":
        image = image.convert("RGB")
    image = without_idle_alpha(image)
    if orientation != 1:
        changes.append("rotated")
    image = image if upright else image.transpose(_UPRIGHT[orientation])
    image.info.clear()  # Pillow saves comments and profiles that it finds there
    return image, changes


def _orientation(image: Image.Image) -> int:
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return read_orientation(image.info.get("exif") or b"")
    value = tags.get(_ORIENTATION_TAG, 1)
    return value if value in _UPRIGHT else 1


def _make_fit(image: Image.Image, media_type: str, data: bytes) -> None:
    """Refuse an image that does not fit into memory; have a JPEG decoded smaller if that helps.

    A lower resolution is used only if the full one does not fit, because it costs sharpness.
    """
    name, _, bytes_per_pixel = _FORMATS[media_type]
    pixels = image.width * image.height
    room = CONVERSION_MEMORY - _BASE_MEMORY - len(data)
    limit = MAX_JPEG_PIXELS if name == "JPEG" else max(room // bytes_per_pixel, 0)
    figures = f"The image is {image.width:,} × {image.height:,} = {pixels:,} pixels"
    if pixels > limit:
        raise TooLargeError(
            f"{figures}. The limit for a {name} file of {len(data):,} bytes is {limit:,} pixels."
        )
    if name == "JPEG":
        header = read_header(data)
        buffered = header.buffered if header else 0
        for scale in (1, 2, 4, 8):
            if pixels * bytes_per_pixel // scale**2 + buffered <= room:
                image.draft(None, (image.width // scale, image.height // scale))
                return
        raise TooLargeError(
            f"{figures}. Decoding its several scans needs {buffered:,} bytes in addition to the "
            f"pixels, and {max(room, 0):,} are free. Save it as a baseline (not progressive) JPEG."
        )


def _reduced(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    width, height = size
    scale = min(math.sqrt(max_pixels / (width * height)), 1)
    return (width, height) if scale == 1 else (int(width * scale) or 1, int(height * scale) or 1)


# --- encoding ------------------------------------------------------------------------------


class _FullError(Exception):
    """Raised when an encoder has written more than the limit."""


class _Bounded(io.BytesIO):
    """A buffer that stops an encoder as soon as its output is too large."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self.limit:
            raise _FullError
        return super().write(data)


def encode_within(image: Image.Image, max_bytes: int, **options: Any) -> bytes | None:
    """Return `image` saved with Pillow's `options`, or None if that exceeds `max_bytes`."""
    target = _Bounded(max_bytes)
    try:
        image.save(target, **options)
    except _FullError:
        return None
    return target.getvalue()


def _encoded(image: Image.Image, lossless: bool) -> tuple[bytes, str, tuple[int, int], list[str]]:
    """Return bytes below `MAX_BYTES`, media type, size and changes, in the best quality that fits.

    If none fits, shrink the image to 0.8 of its sides until one does.
    """
    words: list[str] = []
    while True:
        for media_type, options in _encodings(image, lossless):
            encoded = encode_within(image, MAX_BYTES - 1, **options)
            if encoded is not None:
                return encoded, media_type, image.size, words
            words = words or ["compressed"]
        image = redrawn(image, (int(image.width * 0.8), int(image.height * 0.8)))
        words = ["compressed", "shrunk"]


def _encodings(image: Image.Image, lossless: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the media type and Pillow's options of each encoding to try, best first.

    Transparency is kept in PNG only, because encoding a large WebP needs 30 bytes a pixel.
    """
    alpha = image.mode in ("LA", "RGBA")
    if alpha or lossless:
        yield "image/png", {"format": "PNG", "compress_level": 1}
    if not alpha:
        yield "image/jpeg", {"format": "JPEG", "quality": 95, "subsampling": "4:4:4"}
        for quality in (92, 85, 75):
            yield "image/jpeg", {"format": "JPEG", "quality": quality, "subsampling": "4:2:0"}


# --- the process ---------------------------------------------------------------------------

_TASKS: Mapping[str, Callable[[bytes], Photo]] = {
    "prepare": to_photo,
    "prepare-any-size": partial(to_photo, smallest=False),
    "to-png": to_png,
    "thumbnail": to_thumbnail,
}


def main(task: str, seconds: int, source: BinaryIO, target: BinaryIO) -> None:
    """Confine this process, then do `task` with the image from `source`."""
    _limit_resources(seconds)
    data = source.read()
    _import_all_for(data)
    _close_the_file_system()
    image = b""
    outcome: Mapping[str, Any]  # as conversion_process.Outcome, without importing that
    try:
        photo = _TASKS[task](data)
    except ImageError as error:
        outcome = {"error": type(error).__name__, "detail": error.detail}
    except MemoryError:
        detail = f"The file needs more than {CONVERSION_MEMORY:,} bytes of memory."
        outcome = {"error": "TooLargeError", "detail": detail}
    else:
        image = photo.data
        outcome = {
            "media_type": photo.media_type,
            "width": photo.width,
            "height": photo.height,
            "changes": photo.changes,
        }
    target.write(json.dumps(outcome).encode() + b"\n")
    target.write(image)


def _limit_resources(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # does not apply to pipes
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (CONVERSION_MEMORY, CONVERSION_MEMORY))


def _import_all_for(data: bytes) -> None:
    """Import in advance what Pillow would import during its work."""
    Image.preinit()
    import_module("PIL.ImageCms")
    if media_type := media_type_of(data):
        _load_plugin(_FORMATS[media_type][1])


def _close_the_file_system() -> None:
    """Allow no descriptors beyond those that are open: source and target."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer, sys.stdout.buffer)
