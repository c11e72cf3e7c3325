"""An image on its way to Venice and back: bytes in, bytes out.

A file that Venice accepts as it is goes there with its picture untouched and its metadata removed;
only its header is read for that. Pillow converts every other file in a separate process, see
`conversion_process`. HEIC and AVIF are always converted, although Venice accepts them: phones
write them turned, in Display P3 and full of metadata, and no reader that is short enough to trust
can exclude that.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from image_drop.errors import (
    EmptyFileError,
    LayerError,
    NotAnImageError,
    TooLargeError,
    TooSmallError,
)
from image_drop.imaging.headers import Header, is_srgb, media_type_of, read_header
from image_drop.imaging.limits import LIMITS, Limits
from image_drop.imaging.metadata import without_metadata

__all__ = [
    "LIMITS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MAX_READ_TOGETHER",
    "MIN_PIXELS",
    "MIN_SIDE",
    "Limits",
    "Photo",
    "check_together",
    "check_upscale",
    "media_type_of",
    "prepare_photo",
    "to_png",
]

# Venice's limits for edit and multi-edit. For background-remove it checks the bytes only, but the
# largest size applies there as well, because an image has to be decoded within our memory.
MIN_PIXELS = 65_536  # 256 × 256
MIN_SIDE = 64
MAX_PIXELS = 33_177_600  # 7680 × 4320
MAX_UPSCALED = 16_777_216  # pixels of the upscaler's result; Venice lowers the scale to fit
MIN_SCALE = 2  # below, it would cost money and change next to nothing
MAX_BYTES = 25_000_000  # exclusive: "under 25 MB", read as the smaller of its two meanings
MAX_FILES = 10  # in one multipart request

# Our own limit, because Venice names none: no edit model can do anything with a line.
MAX_RATIO = 100

# The largest known edit has 16,777,216 pixels. Twice the largest input leaves room for future
# models, and takes 4 × 66 MB to open.
MAX_RESULT_PIXELS = 2 * MAX_PIXELS

# Bytes of a multi-edit's images, as sent and as stored in the bucket. In a function of 1,024 MB:
# 120 for its imports + 660 for a conversion + 100 prepared + 140 being read. Once all are prepared,
# the body of the request takes 2 × 100.
MAX_TOGETHER = 100_000_000
MAX_READ_TOGETHER = 140_000_000


@dataclass(frozen=True)
class Photo:
    """An image as it is sent to Venice.

    `changes`: short, stable words for what was changed in the file, () for nothing:
    `converted-from-<format>`, `first-frame`, `8-bit`, `rgb` (from CMYK, Lab or a palette), `srgb`
    (from the embedded colour profile), `rotated`, `shrunk`, `compressed` (to fit `MAX_BYTES`),
    `metadata-removed` (from a file whose picture is unchanged; a conversion never keeps any),
    `trailer-cut` (from a file that keeps its metadata: a video or depth map that a phone has put
    after the image), `re-encoded` (a rare coding, nothing else).
    """

    data: bytes
    media_type: str
    width: int
    height: int
    changes: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal digits; it takes 3 ms for 5 MB."""
        return hashlib.sha256(self.data).hexdigest()


def prepare_photo(
    data: bytes,
    *,
    smallest: bool = True,
    keep_metadata: bool = False,
    limits: Limits = LIMITS,
) -> Photo:
    """Return the image as Venice accepts it, with as few changes as possible.

    The picture of an 8-bit JPEG (also a progressive one: every decoder reads it, and converting
    would cost quality), PNG or WebP is sent untouched if it is grey or RGB(A), one frame,
    upright, in sRGB and within the limits. A palette PNG is converted, because that loses nothing
    and not every decoder resolves a palette by itself.

    `smallest`: refuse an image below the smallest size of edit and multi-edit; background-remove
    has none. `keep_metadata`: send all bytes of an untouched file; otherwise send only picture and
    colour profile. `limits`: of a conversion. Raise `EmptyFileError`, `NotAnImageError`,
    `DamagedImageError`, `TooSmallError` or `TooLargeError`.
    """
    if not data:
        raise EmptyFileError("The file has 0 bytes.")
    if media_type_of(data) is None:
        raise NotAnImageError(
            f"The file has {len(data):,} bytes and begins with {data[:8].hex(' ')}. "
            "No supported image format begins like this."
        )
    header = read_header(data)
    if header:
        check_size(header.width, header.height, smallest=smallest)
        if _is_fit(header) and (photo := _untouched(data, header, keep_metadata)):
            return photo
    return _converted("prepare" if smallest else "prepare-any-size", data, limits)


def to_png(data: bytes, *, keep_metadata: bool = False, limits: Limits = LIMITS) -> bytes:
    """Return Venice's answer as PNG, without metadata unless `keep_metadata`.

    A PNG keeps its pixels and colour chunks byte for byte. A JPEG, a WebP and a turned PNG are
    converted, with their transparency. A PNG is complete when all its chunks are there and their
    checksums are right. Raise `NotAnImageError`, `DamagedImageError`, or `TooLargeError` beyond
    `MAX_RESULT_PIXELS`.
    """
    header = read_header(data)
    if header is None:
        raise NotAnImageError(f"The {len(data):,} bytes are not a PNG, JPEG or WebP.")
    if header.width * header.height > MAX_RESULT_PIXELS:
        raise TooLargeError(
            f"The result is {header.width:,} × {header.height:,} = "
            f"{header.width * header.height:,} pixels. The limit is {MAX_RESULT_PIXELS:,}."
        )
    if header.media_type != "image/png":
        return _converted("to-png", data, limits).data
    if keep_metadata:
        return data
    if header.orientation != 1:
        return _converted("to-png", data, limits).data
    return without_metadata(data, header.media_type)


def check_size(width: int, height: int, *, smallest: bool) -> None:
    """Raise `TooSmallError` or `TooLargeError` for a size that shrinking cannot correct."""
    figures = f"The image is {width:,} × {height:,} = {width * height:,} pixels"
    if smallest and (width * height < MIN_PIXELS or min(width, height) < MIN_SIDE):
        raise TooSmallError(
            f"{figures}. Venice accepts {MIN_PIXELS:,} to {MAX_PIXELS:,} pixels, with at least "
            f"{MIN_SIDE} on each side."
        )
    ratio = max(width, height) // min(width, height)
    if ratio > MAX_RATIO:
        raise TooLargeError(
            f"{figures}, and one side is {ratio:,} times the other. The limit is {MAX_RATIO} "
            "times. Crop the image."
        )


def check_upscale(photo: Photo) -> None:
    """Raise `TooLargeError` for a photo that Venice's upscaler would not make twice as large."""
    pixels = photo.width * photo.height
    if pixels * MIN_SCALE**2 > MAX_UPSCALED:
        raise TooLargeError(
            f"The image is {photo.width:,} × {photo.height:,} = {pixels:,} pixels. Venice's "
            f"upscaler makes up to {MAX_UPSCALED:,} pixels, so it can make an image of up to "
            f"{MAX_UPSCALED // MIN_SCALE**2:,} pixels {MIN_SCALE} times as wide and high."
        )


def check_together(photos: Sequence[Photo]) -> None:
    """Raise `LayerError` when an image and its layers are too many or too large for one request.

    The limits are `MAX_FILES` files and `MAX_TOGETHER` bytes together. To stay within the memory,
    check after each photo that is prepared, and read at most `MAX_READ_TOGETHER` bytes of input.
    """
    if len(photos) > MAX_FILES:
        raise LayerError(
            f"The image and its layers are {len(photos)} files. The limit for one request is "
            f"{MAX_FILES}. Remove some layers."
        )
    size = sum(len(photo.data) for photo in photos)
    if size > MAX_TOGETHER:
        raise LayerError(
            f"The image and its layers have {size:,} bytes together. The limit for one request is "
            f"{MAX_TOGETHER:,}. Save some of them smaller."
        )


def _is_fit(header: Header) -> bool:
    return (
        header.ordinary
        and header.orientation == 1
        and header.width * header.height <= MAX_PIXELS
        and (not header.profile or is_srgb(header.profile))
    )


def _untouched(data: bytes, header: Header, keep_metadata: bool) -> Photo | None:
    """Return the picture as it is, or None if it has too many bytes."""
    kept, changes = data, tuple[str, ...]()
    if not keep_metadata:
        kept = without_metadata(data, header.media_type)
        changes = () if kept is data else ("metadata-removed",)
    elif len(data) >= MAX_BYTES > header.end:
        kept, changes = data[: header.end], ("trailer-cut",)
    if len(kept) >= MAX_BYTES:
        return None
    return Photo(kept, header.media_type, header.width, header.height, changes)


def _converted(task: str, data: bytes, limits: Limits) -> Photo:
    from image_drop.imaging.conversion_process import convert  # few photos need it

    outcome, image = convert(task, data, limits)
    return Photo(image, outcome.media_type, outcome.width, outcome.height, outcome.changes)
