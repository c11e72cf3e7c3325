"""Remove everything but the picture from a file, without decoding it.

A photo holds more than its picture: where it was taken and by whom, the camera's serial number, a
thumbnail of what was cropped away, seconds of video after it. Only parts from a short list are
copied, so unknown kinds of metadata are removed as well. Kept are the parts that make the pixels,
and the ICC profile. Removed are EXIF, XMP, IPTC, comments, texts, times, previews, further images
of a multi-picture file, and anything between the parts or after the end of the image. EXIF's
orientation is removed too, so an image has to be upright (`Header.orientation` 1).
"""

import struct
from collections.abc import Iterator

from image_drop.imaging.parts import (
    END_OF_IMAGE,
    PNG_SIGNATURE,
    START_OF_SCAN,
    jpeg_segments,
    png_chunks,
    webp_chunks,
)

# The frame headers C0 to CF, with the Huffman and arithmetic tables among them; DQT, DNL, DRI.
_JPEG_PICTURE = frozenset((*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, START_OF_SCAN, END_OF_IMAGE))
_JFIF, _ICC, _ADOBE = 0xE0, 0xE2, 0xEE  # application segments that change what pixels look like

_PNG_PICTURE = (b"IHDR", b"PLTE", b"IDAT")
# Chunks that define the meaning of the samples, each with the most bytes that its definition
# allows: a longer one carries something else.
_PNG_MEANING = {
    b"iCCP": 1 << 31,
    b"sRGB": 1,
    b"gAMA": 4,
    b"cHRM": 32,
    b"cICP": 4,
    b"mDCV": 24,
    b"cLLI": 8,
    b"sBIT": 4,
    b"tRNS": 256,
    b"bKGD": 6,
    b"pHYs": 9,
}
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

_WEBP_PICTURE = (b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L")
_WEBP_METADATA_FLAGS = 0x08 | 0x04  # of VP8X: EXIF, XMP

type Piece = bytes | memoryview


def without_metadata(data: bytes, media_type: str) -> bytes:
    """Return a JPEG, PNG or WebP of one frame without its metadata, the picture byte for byte.

    Return `data` itself, without a copy, if there is nothing to remove. Raise `DamagedImageError`.
    """
    pieces = {"image/jpeg": _of_jpeg, "image/png": _of_png, "image/webp": _of_webp}[media_type]
    kept = list(pieces(data))
    return data if sum(map(len, kept)) == len(data) else b"".join(kept)


def _of_jpeg(data: bytes) -> Iterator[Piece]:
    view = memoryview(data)
    yield view[:2]
    for code, start, content, length, end in jpeg_segments(data):
        if code in _JPEG_PICTURE:
            yield view[start:end]
        elif code == _JFIF and length >= 14 and data.startswith(b"JFIF\0", content):
            # Version and density, and a thumbnail of 0 × 0 pixels instead of the real one.
            yield b"\xff\xe0\0\x10" + data[content : content + 12] + b"\0\0"
        elif code == _ADOBE and length >= 12 and data.startswith(b"Adobe", content):
            yield b"\xff\xee\0\x0e" + data[content : content + 12]
        elif code == _ICC and data.startswith(b"ICC_PROFILE\0", content):
            yield view[start:end]


def _of_png(data: bytes) -> Iterator[Piece]:
    view = memoryview(data)
    yield PNG_SIGNATURE
    seen = set()  # each of these chunks is allowed once
    for kind, start, _, length, end in png_chunks(data):
        if kind in _PNG_PICTURE:
            yield view[start:end]
        elif kind not in seen and length <= _PNG_MEANING.get(kind, -1):
            seen.add(kind)
            yield view[start:end]
    yield _PNG_END


def _of_webp(data: bytes) -> Iterator[Piece]:
    view, chunks = memoryview(data), dict[bytes, Piece]()
    for kind, start, content, length, end in webp_chunks(data):
        if kind == b"VP8X" and length >= 10:
            flags = data[content] & ~_WEBP_METADATA_FLAGS
            body = bytes((flags,)) + data[content + 1 : content + 10]
            chunks.setdefault(kind, struct.pack("<4sI", kind, 10) + body)
        elif kind in _WEBP_PICTURE:
            chunks.setdefault(kind, view[start:end])
    size = 4 + sum(map(len, chunks.values()))
    yield struct.pack("<4sI4s", b"RIFF", size, b"WEBP")
    yield from chunks.values()
