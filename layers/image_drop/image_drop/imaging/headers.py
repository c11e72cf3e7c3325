"""The facts in the header of a JPEG, PNG or WebP, and whether the file is complete.

These few facts allow an image to go to Venice untouched, at a cost far below that of a decoder:
nothing is decoded or copied, and Pillow is not even imported. Sources: ITU T.81 (JPEG), the PNG
specification (third edition), RFC 9649 (WebP), Exif 2.32 and ICC.1:2022.
"""

import struct
import zlib
from dataclasses import dataclass

from image_drop.errors import DamagedImageError
from image_drop.imaging.parts import (
    END_OF_IMAGE,
    PNG_SIGNATURE,
    START_OF_SCAN,
    jpeg_segments,
    png_chunks,
    webp_chunks,
    webp_end,
)

MAX_PROFILE_BYTES = 4_000_000  # the largest printer profiles in use are below 3 MB
MAX_PROFILE_PARTS = 255  # of a JPEG: one byte says how many there are

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (PNG_SIGNATURE, "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
}


@dataclass(frozen=True, slots=True)
class Header:
    """The facts that decide whether an image can be sent as it is.

    `ordinary`: 8 bits per sample, grey or RGB with or without alpha, no palette, one frame.
    `orientation`: EXIF, 1 (upright) to 8. `profile`: the ICC profile, empty if there is none.
    `end`: offset of the first byte after the image; phones put video and depth maps there.
    `buffered`: bytes that a decoder has to hold in addition to the pixels (the coefficients of a
    JPEG with several scans).
    """

    media_type: str
    width: int
    height: int
    ordinary: bool
    orientation: int
    profile: bytes
    end: int
    buffered: int = 0


def media_type_of(data: bytes) -> str | None:
    """Return the media type by the first bytes; names and Content-Type are not reliable."""
    for magic, media_type in _MAGIC:
        if data.startswith(magic):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return _iso_media_type(data[: min(int.from_bytes(data[:4]), 256)])
    return None


def _iso_media_type(box: bytes) -> str | None:
    brands = [box[8:12], *(box[i : i + 4] for i in range(16, len(box), 4))]
    known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    # "mif1" alone only means "an image in this container"; an AVIF file also has its own brand.
    return "image/avif" if "image/avif" in known else next(iter(known), None)


def read_header(data: bytes) -> Header | None:
    """Return the header of a complete JPEG, PNG or WebP, or None for anything else.

    Raise `DamagedImageError` when the file is cut off, its structure is broken or it has no
    pixels.
    """
    media_type = media_type_of(data)
    readers = {"image/jpeg": _read_jpeg, "image/png": _read_png, "image/webp": _read_webp}
    if media_type not in readers:
        return None
    try:
        header = readers[media_type](data)
    except (struct.error, IndexError):
        raise _damaged(media_type, "has a header that is too short") from None
    if header.width * header.height == 0:
        raise _damaged(media_type, f"has a size of {header.width:,} × {header.height:,} pixels")
    return header


def _name(media_type: str) -> str:
    return media_type.removeprefix("image/").upper().replace("WEBP", "WebP")


def _damaged(media_type: str, what: str) -> DamagedImageError:
    return DamagedImageError(f"The {_name(media_type)} {what}.")


# --- JPEG ----------------------------------------------------------------------------------

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # DHT, JPG, DAC
_ORDINARY_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended sequential, progressive


def _read_jpeg(data: bytes) -> Header:
    marker, frame, first_scan, exif, profile_parts = 0, b"", b"", b"", list[bytes]()
    for code, _, content, length, end in jpeg_segments(data):
        if code in _START_OF_FRAME and not frame:
            marker, frame = code, data[content : content + length]
        elif code == START_OF_SCAN and not first_scan:
            first_scan = data[content : content + length]
        elif code == 0xE1 and not exif and data.startswith(b"Exif\0\0", content):
            exif = data[content : content + length]
        elif code == 0xE2 and data.startswith(b"ICC_PROFILE\0", content):
            if len(profile_parts) == MAX_PROFILE_PARTS:
                raise _damaged("image/jpeg", f"has over {MAX_PROFILE_PARTS} parts of a profile")
            profile_parts.append(data[content + 12 : content + length])
        elif code == END_OF_IMAGE:
            whole = end
    if not frame or not first_scan:
        raise _damaged("image/jpeg", "ends before it has any picture data")
    precision, height, width, components = struct.unpack_from(">BHHB", frame)
    in_one_scan = marker in (0xC0, 0xC1) and first_scan[0] == components
    return Header(
        media_type="image/jpeg",
        width=width,
        height=height,
        ordinary=marker in _ORDINARY_FRAMES and precision == 8 and components in (1, 3),
        orientation=read_orientation(exif),
        # First byte: which part of how many.
        profile=b"".join(part[2:] for part in sorted(profile_parts, key=lambda part: part[:1])),
        end=whole,
        buffered=0 if in_one_scan else _coefficient_bytes(width, height, components, frame),
    )


def _coefficient_bytes(width: int, height: int, components: int, frame: bytes) -> int:
    """Return the bytes of a JPEG's coefficients: 2 for each sample of all components."""
    factors = [divmod(frame[7 + 3 * i], 16) for i in range(components)]
    across = max((h for h, _ in factors), default=0) or 1
    down = max((v for _, v in factors), default=0) or 1
    return sum(2 * (width * h // across + 8) * (height * v // down + 8) for h, v in factors)


# --- PNG -----------------------------------------------------------------------------------

_KNOWN_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def _read_png(data: bytes) -> Header:
    view, kinds, end = memoryview(data), set[bytes](), 0
    exif, profile = b"", b""
    if data[8:16] != b"\0\0\0\rIHDR":
        raise _damaged("image/png", "does not begin with its header")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    for kind, start, content, length, end in png_chunks(data):
        # Upper case: a critical chunk, which no decoder may skip.
        if kind[:1].isupper() and zlib.crc32(view[start + 4 : end - 4]) != _checksum(data, end):
            raise _damaged("image/png", f"is damaged at byte {start:,}: wrong checksum")
        if kind not in kinds:  # the others must not be repeated, so only the first one counts
            if kind == b"iCCP":
                profile = _inflated_profile(data[content : content + length])
            elif kind == b"eXIf":
                exif = data[content : content + length]
            kinds.add(kind)
    if b"IDAT" not in kinds:
        raise _damaged("image/png", "has no picture data")
    extra = {kind for kind in kinds if kind[:1].isupper()} - _KNOWN_CRITICAL
    return Header(
        media_type="image/png",
        width=width,
        height=height,
        # Colour 3 is a palette.
        ordinary=depth == 8 and colour in (0, 2, 4, 6) and b"acTL" not in kinds and not extra,
        orientation=read_orientation(exif),
        profile=profile,
        end=end,
    )


def _checksum(data: bytes, end: int) -> int:
    return int.from_bytes(data[end - 4 : end])


def _inflated_profile(body: bytes) -> bytes:
    """Return the profile in an iCCP chunk (name, NUL, method, zlib stream), or nothing."""
    try:
        compressed = body[body.index(b"\0") + 2 :]
        return zlib.decompressobj().decompress(compressed, MAX_PROFILE_BYTES)
    except (ValueError, zlib.error):
        return b""


# --- WebP ----------------------------------------------------------------------------------


def _read_webp(data: bytes) -> Header:
    chunks = dict[bytes, bytes]()
    for kind, _, content, length, _ in webp_chunks(data):
        if kind not in chunks:
            wanted = length if kind in (b"EXIF", b"ICCP") else min(length, 10)
            chunks[kind] = data[content : content + wanted]
    width, height = _webp_size(chunks)
    return Header(
        media_type="image/webp",
        width=width,
        height=height,
        ordinary=b"ANIM" not in chunks and b"ANMF" not in chunks,
        orientation=read_orientation(chunks.get(b"EXIF", b"")),
        profile=chunks.get(b"ICCP", b""),
        end=webp_end(data),
    )


def _webp_size(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    if b"VP8 " not in chunks and b"VP8L" not in chunks and b"ANMF" not in chunks:
        raise _damaged("image/webp", "has no picture data")
    if extended := chunks.get(b"VP8X"):
        low, middle, high = struct.unpack_from("<HHH", extended, 4)  # two numbers of 24 bits
        return (low | (middle & 0xFF) << 16) + 1, (middle >> 8 | high << 8) + 1
    if lossless := chunks.get(b"VP8L"):
        (bits,) = struct.unpack_from("<I", lossless, 1)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", chunks.get(b"VP8 ", b""), 6)
    return width & 0x3FFF, height & 0x3FFF


# --- metadata that all of them carry ---------------------------------------------------------


def read_orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none or it cannot be read.

    EXIF is a small TIFF file: byte order, offset of the first directory, entries of 12 bytes.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, _type, _count, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_SRGB_PRIMARIES = (  # of the D50-adapted profile, as in IEC 61966-2-1 profiles: X, Y, Z
    (b"rXYZ", (0.4361, 0.2225, 0.0139)),
    (b"gXYZ", (0.3851, 0.7169, 0.0971)),
    (b"bXYZ", (0.1431, 0.0606, 0.7141)),
)
_SRGB_MIDDLE = 0.2140  # linear light of the value 0.5: ((0.5 + 0.055) / 1.055) ** 2.4


def is_srgb(profile: bytes) -> bool:
    """Return whether an ICC profile is sRGB, or its grey; by its numbers, because names vary.

    Every primary must be within 0.002 and the middle of the tone curve within 0.005. A colour then
    differs by at most 2 of 255. A gamma of 2.2 passes.
    """
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        tags = {
            profile[entry : entry + 4]: struct.unpack_from(">I", profile, entry + 4)[0]
            for entry in range(132, 132 + 12 * min(count, 100), 12)
        }
        if profile[16:20] == b"GRAY":
            return abs(_curve_middle(profile, tags[b"kTRC"]) - _SRGB_MIDDLE) <= 0.005
        return (
            profile[16:20] == b"RGB "
            and abs(_curve_middle(profile, tags[b"gTRC"]) - _SRGB_MIDDLE) <= 0.005
            and all(_near(profile, tags[tag], xyz) for tag, xyz in _SRGB_PRIMARIES)
        )
    except (struct.error, KeyError, OverflowError, ZeroDivisionError):
        return False


def _near(profile: bytes, offset: int, expected: tuple[float, ...]) -> bool:
    values = struct.unpack_from(">3i", profile, offset + 8)
    return all(abs(v / 65_536 - e) <= 0.002 for v, e in zip(values, expected, strict=True))


def _curve_middle(profile: bytes, offset: int) -> float:
    """Return a tone curve's value at 0.5; 0 for kinds that no sRGB profile uses."""
    kind, _, count = struct.unpack_from(">4sII", profile, offset)
    if kind == b"curv" and count > 1:
        middle = struct.unpack_from(">2H", profile, offset + 12 + 2 * ((count - 1) // 2))
        return float(sum(middle[: 2 - count % 2]) / (2 - count % 2) / 65_535)
    if kind == b"curv":
        gamma = struct.unpack_from(">H", profile, offset + 12)[0] / 256 if count else 1.0
        return float(0.5**gamma)
    if kind == b"para" and count >> 16 in (0, 3):
        numbers = [n / 65_536 for n in struct.unpack_from(">3i", profile, offset + 12)]
        gamma, a, b = numbers if count >> 16 else (numbers[0], 1.0, 0.0)
        return float(max(a / 2 + b, 0.0) ** gamma)
    return 0.0
