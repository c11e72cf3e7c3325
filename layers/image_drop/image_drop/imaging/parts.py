"""The parts of a JPEG, PNG or WebP file, by their offsets, without decoding them.

`headers` reads its facts from them, and `metadata` copies those that make the picture. Nothing is
copied here. Every walk is linear in the file's size and ends after `MAX_PARTS`. Sources: ITU T.81
annex B (JPEG), the PNG specification (third edition), RFC 9649 (WebP).
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from image_drop.errors import DamagedImageError

MAX_PARTS = 200_000  # a 200 MB PNG in the usual chunks of 8 KB has 25,000
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
_STANDALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))  # without a length; 00 is not a marker
# Any marker in use except the restarts, D0 to D7, ends the picture data of a scan. In the data
# itself, FF is always followed by 00.
_SCAN_END = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")


class Segment(NamedTuple):
    """A JPEG's marker segment; a start of scan includes its picture data."""

    code: int  # second byte of the marker
    start: int  # of the marker
    content: int  # after marker and length
    length: int  # of the content, without the picture data of a scan
    end: int  # first byte behind the segment


class Chunk(NamedTuple):
    """A PNG's or WebP's chunk."""

    kind: bytes  # four letters
    start: int  # of the whole chunk
    content: int
    length: int  # of the content
    end: int  # first byte behind the whole chunk, checksum and padding included


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments after the start of image; the last one is the end of image.

    Bytes between segments belong to none, because decoders skip them. Raise `DamagedImageError`
    for a file that is cut off or has more than `MAX_PARTS` segments.
    """
    position, size = 2, len(data)
    for _ in range(MAX_PARTS):
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= size:
            _cut_off("JPEG", data)
        code = data[position + 1]
        if code == END_OF_IMAGE:
            yield Segment(code, position, position + 2, 0, position + 2)
            return
        if code in _STANDALONE or code == 0xFF:
            position += 1 if code == 0xFF else 2
            continue
        length, end = _extent(data, position)
        if code == START_OF_SCAN:
            end = _end_of_scan(data, end)
        yield Segment(code, position, position + 4, length, end)
        position = end
    raise DamagedImageError(f"The JPEG has more than {MAX_PARTS:,} segments.")


def _extent(data: bytes, start: int) -> tuple[int, int]:
    """Return the length of a segment's content, and its end."""
    length = int.from_bytes(data[start + 2 : start + 4])
    end = start + 2 + length
    if start + 4 > len(data) or end > len(data):
        _cut_off("JPEG", data)
    if length < 2:  # it counts its own two bytes
        raise DamagedImageError(f"The JPEG is damaged at byte {start:,}: wrong length.")
    return length - 2, end


def _end_of_scan(data: bytes, start: int) -> int:
    found = _SCAN_END.search(data, start)
    if found is None:
        _cut_off("JPEG", data, "before an end marker")
    return found.start()


def png_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks; the last one is IEND. Raise the same as `jpeg_segments`."""
    position = len(PNG_SIGNATURE)
    for _ in range(MAX_PARTS):
        if position + 12 > len(data):
            _cut_off("PNG", data)
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            _cut_off("PNG", data)
        yield Chunk(kind, position, position + 8, length, end)
        if kind == b"IEND":
            return
        position = end
    raise DamagedImageError(f"The PNG has more than {MAX_PARTS:,} chunks.")


def webp_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks in the RIFF container. Raise the same as `jpeg_segments`."""
    whole = webp_end(data)
    position = 12
    for _ in range(MAX_PARTS):
        if position + 8 > whole:
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        end = position + 8 + length
        if end > whole:
            _cut_off("WebP", data)
        end = min(end + length % 2, whole)  # some writers omit the last padding byte
        yield Chunk(kind, position, position + 8, length, end)
        position = end
    raise DamagedImageError(f"The WebP has more than {MAX_PARTS:,} chunks.")


def webp_end(data: bytes) -> int:
    """Return the offset of the first byte after the RIFF container."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        _cut_off("WebP", data, f"and should have {end:,}")
    return end


def _cut_off(name: str, data: bytes, missing: str = "before the end of the image") -> NoReturn:
    raise DamagedImageError(f"The {name} is cut off after {len(data):,} bytes, {missing}.")
