"""What a photo tells besides its picture does not leave: every kind of metadata, in every place."""

import io
import random
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from image_drop.imaging import conversion, photos
from image_drop.imaging.canvas import render
from image_drop.imaging.parts import jpeg_segments, png_chunks
from image_drop.instructions.finish import Finish
from tests.support import pictures
from tests.support.pictures import chunk, exif, load, quadrants, save

SECRET = b"the secret of Rosa Luxemburg street 5"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

# What Pillow tells of these files when there is nothing but the picture.
HARMLESS = {
    "jfif", "jfif_version", "jfif_density", "jfif_unit", "dpi", "adobe", "adobe_transform",
    "progressive", "progression", "icc_profile", "gamma", "srgb", "chromaticity", "transparency",
    "background", "loop", "duration", "timestamp",
}  # fmt: skip


def camera_exif(orientation: int = 1) -> bytes:
    """Position, serial number, owner and maker note, as a camera writes them."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = SECRET.decode()  # make
    tags[0x013B] = SECRET.decode()  # artist
    tags.get_ifd(0x8769).update({0xA431: SECRET.decode(), 0x927C: SECRET})  # serial, maker note
    tags.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 27: SECRET})
    return tags.tobytes()


def xmp() -> bytes:
    return b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"


def mp4() -> bytes:
    return b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + struct.pack(">I4s", 8 + len(SECRET), b"mdat")


# --- JPEG ------------------------------------------------------------------------------------


def segment(code: int, content: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(content) + 2) + content


def preview() -> bytes:
    """A small JPEG, whose own end of image is a trap for whoever looks for the first one."""
    return save(Image.new("RGB", (16, 16)), "JPEG", comment=SECRET)


JPEG_SEGMENTS = {
    "EXIF": segment(0xE1, camera_exif()),
    "EXIF with a thumbnail": segment(0xE1, camera_exif() + preview()),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp()),
    "extended XMP": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + xmp()),
    "IPTC": segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + b"\0\x40\x1c\x02\x50" + SECRET),
    "comment": segment(0xFE, SECRET),
    "multi-picture index": segment(0xE2, b"MPF\0MM\0*\0\0\0\x08" + SECRET),
    "FlashPix": segment(0xE2, b"FPXR\0" + SECRET),
    "JFIF thumbnail": segment(
        0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\x04\x04" + SECRET + bytes(48 - len(SECRET))
    ),
    "JFIF extension": segment(0xE0, b"JFXX\0\x10" + preview()),
    "camera's own APP0": segment(0xE0, b"CIFF" + SECRET),
    "behind Adobe's words": segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01" + SECRET),
    "content credentials": segment(0xEB, b"JP\0\x01" + SECRET),
    "Picture Info": segment(0xEC, b"Ducky\0" + SECRET),
    "any other application's": segment(0xE7, SECRET),
    "reserved": segment(0xF3, SECRET),
}
JPEGS = {
    "baseline": save(quadrants(), "JPEG", icc_profile=SRGB),
    "progressive": save(quadrants(), "JPEG", progressive=True, quality=92),
    "grey": save(quadrants().convert("L"), "JPEG"),
    "with restarts": save(quadrants(), "JPEG", restart_marker_rows=1),
    "RGB without JFIF": save(quadrants(), "JPEG", keep_rgb=True),
}
TRAILERS = {
    "text": SECRET,
    "motion-photo video": mp4() + SECRET,
    "second picture": preview(),
    "padding and text": b"\0" * 4096 + SECRET,
}


def everywhere(part: bytes, data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """`data` with `part` put in at each of the places."""
    for place in places:
        yield data[:place] + part + data[place:]


@pytest.mark.parametrize("kind", JPEG_SEGMENTS)
def test_segment_of_jpeg_does_not_leave_from_any_place(kind: str) -> None:
    assert SECRET in JPEG_SEGMENTS[kind]
    for picture in JPEGS.values():
        places = (2, *(s.start for s in jpeg_segments(picture)))
        for data in everywhere(JPEG_SEGMENTS[kind], picture, places):
            assert_only_the_picture_leaves(data, picture)


def test_bytes_between_segments_of_jpeg_do_not_leave() -> None:
    for picture in JPEGS.values():
        places = [s.start for s in jpeg_segments(picture)]
        for data in everywhere(SECRET, picture, places[1:6]):
            assert_only_the_picture_leaves(data, picture)


@pytest.mark.parametrize("kind", TRAILERS)
@pytest.mark.parametrize("jpeg", JPEGS)
def test_nothing_behind_jpeg_leaves(jpeg: str, kind: str) -> None:
    assert_only_the_picture_leaves(JPEGS[jpeg] + TRAILERS[kind], JPEGS[jpeg])
    assert photos.prepare_photo(JPEGS[jpeg] + TRAILERS[kind]).data == JPEGS[jpeg]


def test_further_pictures_of_multi_picture_file_do_not_leave() -> None:
    data = save(quadrants(), "MPO", save_all=True, append_images=[Image.new("RGB", (320, 240))])
    photo = photos.prepare_photo(data)
    assert photo.changes == ("metadata-removed",)
    assert b"MPF" not in photo.data
    assert load(photo.data).tobytes() == load(data).tobytes()
    assert len(photo.data) < len(save(quadrants(), "JPEG")) + 50


# --- PNG -------------------------------------------------------------------------------------

PNG_CHUNKS = {
    "text": chunk(b"tEXt", b"Author\0" + SECRET),
    "compressed text": chunk(b"zTXt", SECRET + b"\0\0" + zlib.compress(SECRET)),
    "international text": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp()),
    "EXIF": chunk(b"eXIf", camera_exif().removeprefix(b"Exif\0\0")),
    "old EXIF": chunk(b"zxIf", camera_exif()),
    "suggested palette": chunk(b"sPLT", SECRET + b"\0\x08"),
    "calibration": chunk(b"pCAL", SECRET + b"\0"),
    "scale": chunk(b"sCAL", b"\x01" + SECRET),
    "content credentials": chunk(b"caBX", SECRET),
    "somebody's own": chunk(b"prVt", SECRET),
    "gamma that is no gamma": chunk(b"gAMA", SECRET),
}
PNGS = {
    "RGB": save(quadrants(), "PNG", icc_profile=SRGB),
    "RGBA": save(quadrants().convert("RGBA"), "PNG", dpi=(72, 72)),
    "grey with a transparent level": save(quadrants().convert("L"), "PNG", transparency=90),
    "in several pieces": save(Image.effect_noise((400, 400), 60), "PNG"),
    "with all that colours need": pictures.png(
        300, 300, 8, 2, (b"\0" + bytes(range(150)) * 6) * 300,
        (b"gAMA", struct.pack(">I", 45455)), (b"cHRM", bytes(32)), (b"sRGB", b"\0"),
        (b"sBIT", b"\x05\x06\x05"), (b"cICP", b"\x01\x0d\0\x01"), (b"bKGD", bytes(6)),
        (b"tRNS", struct.pack(">HHH", 3, 4, 5)), (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PNG_CHUNKS)
def test_chunk_of_png_does_not_leave_from_any_place(kind: str) -> None:
    assert SECRET in PNG_CHUNKS[kind]
    for picture in PNGS.values():
        places = (c.start for c in png_chunks(picture) if c.kind != b"IHDR")
        for data in everywhere(PNG_CHUNKS[kind], picture, places):
            assert_only_the_picture_leaves(data, picture)


def test_second_profile_of_png_does_not_leave() -> None:
    body = SECRET + b"\0\0" + zlib.compress(SRGB)
    picture = PNGS["RGB"]
    assert_only_the_picture_leaves(picture[:-12] + chunk(b"iCCP", body) + picture[-12:], picture)


def test_time_of_png_does_not_leave() -> None:
    data = pictures.with_chunk(PNGS["RGB"], b"tIME", b"\x07\xea\x01\x02\x03\x04\x05")
    assert photos.prepare_photo(data).data == PNGS["RGB"]


@pytest.mark.parametrize("kind", PNGS)
def test_nothing_behind_png_or_in_its_end_leaves(kind: str) -> None:
    for trailer in TRAILERS.values():
        assert_only_the_picture_leaves(PNGS[kind] + trailer, PNGS[kind])
        assert photos.prepare_photo(PNGS[kind] + trailer).data == PNGS[kind]
    assert_only_the_picture_leaves(PNGS[kind][:-12] + chunk(b"IEND", SECRET), PNGS[kind])


@pytest.mark.parametrize("kind", PNGS)
def test_png_without_metadata_is_sent_untouched(kind: str) -> None:
    assert photos.prepare_photo(PNGS[kind]).data is PNGS[kind]


# --- WebP ------------------------------------------------------------------------------------

WEBPS = {
    "lossy": save(quadrants(), "WEBP", exif=camera_exif(), xmp=xmp()),
    "lossless": save(quadrants(), "WEBP", lossless=True, exif=camera_exif()),
    "transparent": save(quadrants().convert("RGBA").rotate(9), "WEBP", xmp=xmp()),
    "with a profile": save(quadrants(), "WEBP", icc_profile=SRGB, xmp=xmp()),
}


def riff(data: bytes) -> bytes:
    """A WebP with its size set right."""
    return b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:]


@pytest.mark.parametrize("kind", WEBPS)
def test_exif_and_xmp_of_webp_do_not_leave(kind: str) -> None:
    assert SECRET in WEBPS[kind]
    assert_only_the_picture_leaves(WEBPS[kind], WEBPS[kind])


@pytest.mark.parametrize("kind", WEBPS)
def test_unknown_chunks_of_webp_and_its_tail_do_not_leave(kind: str) -> None:
    own = b"Rosa" + struct.pack("<I", len(SECRET)) + SECRET + b"\0"
    for data in (riff(WEBPS[kind] + own), WEBPS[kind] + SECRET, riff(WEBPS[kind] + SECRET[:7])):
        assert_only_the_picture_leaves(data, WEBPS[kind])


def test_webp_says_no_longer_that_it_has_what_was_removed() -> None:
    before, after = WEBPS["lossy"], photos.prepare_photo(WEBPS["lossy"]).data
    assert (before[12:16], before[20] & 0x0C) == (b"VP8X", 0x0C)
    assert (after[12:16], after[20] & 0x0C) == (b"VP8X", 0)


# --- all of them -----------------------------------------------------------------------------


def assert_only_the_picture_leaves(data: bytes, picture: bytes) -> None:
    """`picture`: the file that `data` was made from, for Pillow does not read all of `data`."""
    photo = photos.prepare_photo(data)

    before, after = readable(data, picture), load(photo.data)
    assert SECRET not in photo.data
    assert photo.changes == ("metadata-removed",)
    assert after.info.keys() <= HARMLESS
    assert not after.getexif()
    assert (after.mode, after.size) == (before.mode, before.size)
    assert after.tobytes() == before.tobytes()
    assert after.info.get("icc_profile") == before.info.get("icc_profile")
    assert photo.media_type == photos.media_type_of(data) == photos.media_type_of(photo.data)
    assert photos.prepare_photo(photo.data).data is photo.data


def readable(data: bytes, otherwise: bytes) -> Image.Image:
    try:
        return load(data)
    except (OSError, UserWarning):
        return load(otherwise)


@dataclass(frozen=True)
class PaddedJpeg:
    """A picture and the segments put into it, so that a failing test prints these and no file.

    `segments`: where (a number of one of its segments), code and content of each.
    """

    picture: str
    segments: tuple[tuple[int, int, bytes], ...]

    @property
    def data(self) -> bytes:
        data = JPEGS[self.picture]
        for place, code, content in self.segments:
            starts = [each.start for each in jpeg_segments(data)]
            at = starts[place % len(starts)]
            data = data[:at] + segment(code, content) + data[at:]
        return data


HEADS = [b"", b"JFIF\0", b"Exif\0\0", b"Adobe", b"MPF\0", b"\xff\xd9"]
CONTENTS = st.builds(
    lambda head, before, after: head + before + SECRET + after,
    st.sampled_from(HEADS),
    st.binary(max_size=40),
    st.binary(max_size=40),
)
PADDED_JPEGS = st.builds(
    PaddedJpeg,
    st.sampled_from(sorted(JPEGS)),
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from([*range(0xE0, 0xF0), 0xFE]), CONTENTS),
        min_size=1,
        max_size=5,
    ).map(tuple),
)


@settings(max_examples=100, deadline=None)
@given(PADDED_JPEGS)
def test_no_content_of_segment_makes_it_leave(jpeg: PaddedJpeg) -> None:
    assert_only_the_picture_leaves(jpeg.data, JPEGS[jpeg.picture])


EVERY_KIND = {
    "JPEG": b"".join((b"\xff\xd8", *JPEG_SEGMENTS.values(), JPEGS["baseline"][2:], SECRET)),
    "PNG": b"".join((PNGS["RGB"][:33], *PNG_CHUNKS.values(), PNGS["RGB"][33:], SECRET)),
    "WebP": WEBPS["lossy"] + SECRET,
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_metadata_leave_where_that_is_wished(kind: str) -> None:
    data = EVERY_KIND[kind]
    photo = photos.prepare_photo(data, keep_metadata=True)
    assert photo.data is data
    assert photo.changes == ()


def test_removal_from_photo_of_5_mb_takes_some_milliseconds() -> None:
    noise = Image.frombytes("L", (2600, 2600), random.Random(1).randbytes(2600 * 2600))
    photo = save(noise, "JPEG", quality=90, exif=camera_exif())
    assert len(photo) > 4_500_000

    begun = time.process_time()
    for _ in range(5):
        photos.prepare_photo(photo)
    assert (time.process_time() - begun) / 5 < 0.05


# --- what is converted -----------------------------------------------------------------------


def told(name: str, **options: Any) -> bytes:
    """A file that has to be converted and holds SECRET wherever Pillow can put it."""
    image = quadrants()
    match name:
        case "JPEG":
            options |= {"comment": SECRET, "xmp": xmp(), "exif": camera_exif(6)}
        case "PNG":
            text = PngInfo()
            text.add_text("Author", SECRET.decode())
            text.add_itxt("XML:com.adobe.xmp", xmp().decode())
            options |= {"pnginfo": text, "exif": camera_exif(6)}
        case "GIF":
            options |= {"comment": SECRET}
        case "TIFF":
            options |= {"description": SECRET.decode(), "artist": SECRET.decode()}
        case _:
            options |= {"exif": camera_exif(6), "xmp": xmp()}
    return save(image, name, **options)


CONVERTED = {
    **{name: told(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "HEIF", "AVIF")},
    "CMYK JPEG": save(quadrants().convert("CMYK"), "JPEG", comment=SECRET),
    "JPEG in Display P3": told("JPEG", icc_profile=pictures.rgb_profile(pictures.DISPLAY_P3)),
    "PNG with a profile that cannot be used": told("PNG", icc_profile=SECRET),
    "palette PNG": pictures.with_chunk(
        save(quadrants().quantize(8), "PNG"), b"tEXt", b"Author\0" + SECRET
    ),
}


@pytest.mark.parametrize("kind", CONVERTED)
def test_no_metadata_outlive_conversion(kind: str) -> None:
    data = CONVERTED[kind]
    assert SECRET in data or kind == "PNG with a profile that cannot be used"
    for convert in (conversion.to_photo, conversion.to_png):
        result = convert(data)
        assert_bare(result.data)


@pytest.mark.parametrize("kind", ["JPEG", "HEIF"])
def test_conversion_keeps_no_metadata_even_where_that_is_wished(kind: str) -> None:
    assert_bare(photos.prepare_photo(CONVERTED[kind], keep_metadata=True).data)


def assert_bare(data: bytes) -> None:
    image = load(data)
    assert SECRET not in data
    assert image.info.keys() <= HARMLESS - {"icc_profile"}
    assert not image.getexif()


# --- results ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*PNG_CHUNKS, "trailer"])
def test_result_tells_nothing_but_picture(kind: str) -> None:
    for png in [*PNGS.values(), save(quadrants().quantize(8), "PNG"), pictures.deep_png(2)]:
        told_by_venice = png[:33] + PNG_CHUNKS.get(kind, b"") + png[33:] + SECRET

        result = photos.to_png(told_by_venice)

        assert result == png
        assert load(result).tobytes() == load(told_by_venice).tobytes()


def test_result_keeps_everything_where_that_is_wished() -> None:
    data = EVERY_KIND["PNG"]
    assert photos.to_png(data, keep_metadata=True) is data


@pytest.mark.parametrize("form", ["png", "webp", "jpeg"])
@pytest.mark.parametrize("background", ["transparent", "white", "wood.jpg"])
def test_drawn_finish_tells_nothing_but_picture(form: str, background: str) -> None:
    finish = Finish.parse({"format": form, "background": background, "size": "400x300"})
    wood = {"JPEG": told("JPEG"), "PNG": EVERY_KIND["PNG"], "WebP": WEBPS["with a profile"]}
    for backdrop in wood.values() if background == "wood.jpg" else (None,):
        assert_bare(render(finish, EVERY_KIND["PNG"], backdrop).data)


def test_profile_of_background_does_not_become_that_of_result() -> None:
    wood = save(quadrants(), "PNG", icc_profile=SRGB)
    finish = Finish.parse({"background": "wood.png"})
    result = render(finish, save(quadrants(), "PNG"), wood).data
    assert "icc_profile" not in Image.open(io.BytesIO(result)).info


def test_orientation_that_is_upright_goes_with_rest() -> None:
    for name in ("JPEG", "PNG", "WEBP"):
        photo = photos.prepare_photo(save(quadrants(), name, exif=exif(1)))
        assert photo.changes == ("metadata-removed",)
        assert not load(photo.data).getexif()
