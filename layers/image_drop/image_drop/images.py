"""An image on its way to Venice and back: bytes in, bytes out.

A file that Venice takes as it is goes there untouched, and only its header is read for that.
Every other file is converted by Pillow in a process of its own, `image_drop.conversion`, that the
kernel stops at `CONVERSION_MEMORY` and `CONVERSION_SECONDS`: whatever a hostile file does to a
decoder, the function goes on and writes a report.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from signal import SIGKILL, SIGXCPU

import msgspec

from image_drop.errors import (
    DamagedImageError,
    EmptyFileError,
    ImageDropError,
    ImageError,
    NotAnImageError,
    TooLargeError,
    TooSmallError,
)
from image_drop.image_headers import Header, is_srgb, media_type_of, read_header

__all__ = ["MAX_BYTES", "MAX_PIXELS", "MIN_PIXELS", "Photo", "media_type_of", "prepare", "to_png"]

# What Venice takes (POST /image/edit, /image/multi-edit, /image/background-remove).
MIN_PIXELS = 65_536  # 256 × 256
MAX_PIXELS = 33_177_600  # 7680 × 4320
MAX_BYTES = 25_000_000  # exclusive: "under 25 MB", read as the smaller of its two meanings

# Our own limit, for Venice names none: no edit model makes anything of a line.
MAX_RATIO = 100

# 1,024 MB function: 1,024 - 120 for its imports - 200 for the largest file - 44 in reserve.
# The sums for each format stand in image_drop.conversion.
CONVERSION_MEMORY = 660_000_000
CONVERSION_SECONDS = 10  # of CPU


_ERRORS: dict[str, type[ImageError]] = {
    known.__name__: known
    for known in (NotAnImageError, DamagedImageError, TooSmallError, TooLargeError)
}


@dataclass(frozen=True)
class Photo:
    """What is sent to Venice.

    `changes` says in short, stable words what was done to the original, () if nothing:
    `converted-from-<format>`, `first-frame`, `8-bit`, `rgb` (from CMYK, Lab or a palette), `srgb`
    (from the embedded colour profile), `rotated`, `shrunk`, `compressed` (to fit `MAX_BYTES`),
    `trailer-cut` (video or depth map that a phone had put behind the image), `re-encoded` (a rare
    coding, nothing else).
    """

    data: bytes
    media_type: str
    width: int
    height: int
    changes: tuple[str, ...] = ()


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """First line of what the conversion process writes; the bytes of the image follow it."""

    error: str = ""
    detail: str = ""
    media_type: str = ""
    width: int = 0
    height: int = 0
    changes: tuple[str, ...] = ()


def prepare(data: bytes, *, seconds: int = CONVERSION_SECONDS) -> Photo:
    """The image as Venice takes it, with as little changed as possible.

    Sent untouched: 8-bit JPEG (progressive ones too: every decoder reads them, and converting
    would cost quality), PNG and WebP, grey or RGB(A), one frame, upright, in sRGB, within the
    limits. A palette PNG is converted, because that loses nothing and not every decoder turns
    a palette into colours by itself.

    `seconds`: of CPU for a conversion, whole ones. Raises `EmptyFileError`, `NotAnImageError`,
    `DamagedImageError`, `TooSmallError` or `TooLargeError`.
    """
    if not data:
        raise EmptyFileError("The file has 0 bytes.")
    if media_type_of(data) is None:
        raise NotAnImageError(
            f"The first of the file's {len(data):,} bytes are {data[:8].hex(' ')}: "
            "no image format begins like this."
        )
    header = read_header(data)
    if header:
        check_size(header.width, header.height)
        if _is_fit(header):
            if len(data) < MAX_BYTES:
                return Photo(data, header.media_type, header.width, header.height)
            if header.end < MAX_BYTES:
                image = data[: header.end]
                changes = ("trailer-cut",)
                return Photo(image, header.media_type, header.width, header.height, changes)
    return _converted("prepare", data, seconds)


def to_png(data: bytes) -> bytes:
    """Venice's answer as PNG: a PNG untouched, a JPEG or WebP converted with its transparency.

    A PNG counts as whole when all its chunks are there and their checksums are right.
    Raises `NotAnImageError` or `DamagedImageError`.
    """
    header = read_header(data)
    if header is None:
        raise NotAnImageError(f"The {len(data):,} bytes are no PNG, JPEG or WebP.")
    if header.media_type == "image/png":
        return data
    return _converted("to-png", data, CONVERSION_SECONDS).data


def check_size(width: int, height: int) -> None:
    """Raise `TooSmallError` or `TooLargeError` for a size that no shrinking can make right."""
    figures = f"The image is {width:,} × {height:,} = {width * height:,} pixels"
    if width * height < MIN_PIXELS:
        raise TooSmallError(f"{figures}; Venice takes {MIN_PIXELS:,} to {MAX_PIXELS:,}.")
    ratio = max(width, height) // min(width, height)
    if ratio > MAX_RATIO:
        raise TooLargeError(
            f"{figures}, and one side is {ratio:,} times the other; up to {MAX_RATIO} times can be "
            "edited. Crop it."
        )


def _is_fit(header: Header) -> bool:
    return (
        header.ordinary
        and header.orientation == 1
        and header.width * header.height <= MAX_PIXELS
        and (not header.profile or is_srgb(header.profile))
    )


def _converted(task: str, data: bytes, seconds: int) -> Photo:
    """What `image_drop.conversion` makes of `data`; the errors raised there are raised here.

    Raises `ImageDropError` when the process itself does not work, for which no image is to blame.
    """
    process = subprocess.run(  # noqa: S603 - our own interpreter, our own module
        [sys.executable, "-S", "-P", "-m", "image_drop.conversion", task, str(seconds)],
        input=data,
        capture_output=True,
        check=False,
        env=_environment(),
    )
    if process.returncode in (-SIGXCPU, -SIGKILL):
        raise TooLargeError(
            f"Decoding the {len(data):,} bytes takes more than {seconds} seconds of CPU "
            f"or {CONVERSION_MEMORY:,} bytes of memory."
        )
    if process.returncode < 0:
        raise DamagedImageError(
            f"The {len(data):,} bytes begin as {media_type_of(data)} and crash its decoder "
            f"(signal {-process.returncode})."
        )
    if process.returncode > 0:
        last = process.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ImageDropError(f"The conversion process does not work: {last}")
    line, _, image = process.stdout.partition(b"\n")
    outcome = msgspec.json.decode(line, type=Outcome)
    if outcome.error:
        raise _ERRORS[outcome.error](outcome.detail)
    return Photo(image, outcome.media_type, outcome.width, outcome.height, outcome.changes)


def _environment() -> dict[str, str]:
    """Where Python and its libraries are, and nothing else: no credentials near a decoder."""
    found = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    # One malloc arena: each further one takes address space that counts as memory.
    return found | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "1"}
