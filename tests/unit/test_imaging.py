"""What is left alone, what is refused, and what Venice answers."""

import random
import struct
import subprocess
import sys
from functools import partial

import pytest
from PIL import Image

from image_drop.errors import (
    DamagedImageError,
    EmptyFileError,
    ImageError,
    LayerError,
    NotAnImageError,
    TooLargeError,
    TooSmallError,
)
from image_drop.imaging import conversion, photos
from image_drop.imaging.pixels import redrawn
from tests.support import pictures
from tests.support.pictures import exif, load, pixel, quadrants, save, srgb_by_littlecms, upright

# --- what is left alone ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", pictures.untouched())
def test_file_that_venice_takes_is_sent_untouched(kind: str) -> None:
    data = pictures.untouched()[kind]

    photo = photos.prepare_photo(data)

    assert photo.data is data
    assert photo.changes == ()
    assert (photo.width, photo.height) == (320, 240)
    assert photo.media_type == photos.media_type_of(data)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "profile", [srgb_by_littlecms(), pictures.rgb_profile(pictures.SRGB)], ids=["tables", "gamma"]
)
def test_image_with_srgb_profile_is_sent_untouched(name: str, profile: bytes) -> None:
    data = save(quadrants(), name, icc_profile=profile)
    assert photos.prepare_photo(data).data is data


def jpeg_with_profile_in_parts(count: int) -> bytes:
    """The last part comes first in the file."""
    plain, profile = save(quadrants(), "JPEG"), srgb_by_littlecms()
    size = -(-len(profile) // count)
    parts = [
        b"ICC_PROFILE\0" + bytes(((i + 1) % 256, count % 256)) + profile[i * size : (i + 1) * size]
        for i in range(count)
    ]
    segments = [b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part for part in parts]
    return plain[:2] + b"".join(reversed(segments)) + plain[2:]


@pytest.mark.parametrize("count", [3, 255])
def test_profile_in_several_segments_is_put_together_in_order(count: int) -> None:
    data = jpeg_with_profile_in_parts(count)
    assert photos.prepare_photo(data).data is data


def test_profile_in_more_parts_than_numbers_allow_is_damaged() -> None:
    with pytest.raises(DamagedImageError, match="The JPEG has over 255 parts of a profile"):
        photos.prepare_photo(jpeg_with_profile_in_parts(256))


def test_importing_module_leaves_pillow_alone() -> None:
    code = (
        "import sys, image_drop.imaging.photos\n"
        "print([m for m in sys.modules if m.startswith('PIL')])"
    )
    assert run(code) == "[]"


def test_importing_conversion_leaves_rare_decoders_alone() -> None:
    code = (
        "import sys, image_drop.imaging.conversion\n"
        "print([m for m in sys.modules if m in ('pillow_heif', 'PIL.ImageCms')])"
    )
    assert run(code) == "[]"


def run(code: str) -> str:
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, check=True)
    return done.stdout.decode().strip()


# --- limits ----------------------------------------------------------------------------------


FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF", "AVIF"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("size", "figures"),
    [((257, 255), "257 × 255 = 65,535 pixels"), ((2048, 63), "2,048 × 63 = 129,024 pixels")],
    ids=["too few pixels", "one short side"],
)
def test_image_below_smallest_is_refused_with_both_limits(
    name: str, size: tuple[int, int], figures: str
) -> None:
    both = "Venice accepts 65,536 to 33,177,600 pixels, with at least 64 on each side"
    with pytest.raises(TooSmallError, match=f"{figures}. {both}"):
        photos.prepare_photo(save(Image.new("RGB", size), name))


def test_side_of_64_pixels_is_enough() -> None:
    data = save(Image.new("RGB", (2048, 64)), "PNG")
    assert photos.prepare_photo(data).data is data


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (8, 63), (255, 255)])
def test_image_for_cut_out_may_have_any_small_size(name: str, size: tuple[int, int]) -> None:
    photo = photos.prepare_photo(save(Image.new("RGB", size, pictures.RED), name), smallest=False)

    assert photo.media_type in ("image/jpeg", "image/png", "image/webp")
    assert load(photo.data).size == (photo.width, photo.height) == size


@pytest.mark.parametrize("name", FORMATS)
def test_cut_out_of_too_narrow_image_is_refused(name: str) -> None:
    with pytest.raises(TooLargeError, match="101 times"):
        photos.prepare_photo(save(Image.new("RGB", (101, 1)), name), smallest=False)


@pytest.mark.parametrize("size", [(0, 0), (0, 300), (300, 0)])
def test_image_that_claims_to_have_no_pixels_is_damaged(size: tuple[int, int]) -> None:
    png = pictures.png(*size, 8, 2, b"")
    jpeg = bytearray(save(quadrants(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", *size[::-1])
    for data in (png, bytes(jpeg)):
        for read in (
            partial(photos.prepare_photo, smallest=False),
            photos.prepare_photo,
            photos.to_png,
        ):
            with pytest.raises(DamagedImageError, match=f"{size[0]} × {size[1]} pixels"):
                read(data)


def test_smallest_and_largest_size_are_sent_untouched() -> None:
    for size in ((256, 256), (7680, 4320)):
        data = save(Image.new("L", size), "JPEG")
        assert photos.prepare_photo(data).data is data


@pytest.mark.slow
@pytest.mark.parametrize("size", [(7680, 4321), (8000, 8000), (40_000, 900)])
def test_larger_image_is_shrunk_just_below_limit(size: tuple[int, int]) -> None:
    photo = photos.prepare_photo(save(Image.new("L", size), "PNG", compress_level=1))

    assert photo.changes == ("shrunk",)
    assert photos.MAX_PIXELS * 0.998 < photo.width * photo.height <= photos.MAX_PIXELS
    assert photo.width / photo.height == pytest.approx(size[0] / size[1], rel=0.002)


def test_shrinking_in_strips_equals_shrinking_at_once() -> None:
    noise = Image.effect_noise((900, 1400), 80).convert("RGB")
    noise.paste(quadrants(500, 900), (200, 300))
    strips = redrawn(noise, (613, 953))
    at_once = noise.resize((613, 953), Image.Resampling.LANCZOS)
    difference = Image.composite(strips, at_once, Image.new("L", (613, 953), 255))
    assert (
        max(abs(a - b) for a, b in zip(difference.tobytes(), at_once.tobytes(), strict=True)) <= 1
    )


def test_shrunk_transparent_image_has_no_dark_fringe() -> None:
    image = Image.new("RGBA", (600, 600), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (150, 150, 450, 450))
    small = redrawn(image, (97, 97))
    assert all(
        min(red, green, blue) >= 250
        for red, green, blue, alpha in (pixel(small, x, 48) for x in range(97))
        if alpha > 20
    )


def test_extreme_shape_is_refused_clearly() -> None:
    with pytest.raises(TooLargeError, match=r"10,000 × 64 = 640,000 pixels.*156 times.*100 times"):
        photos.prepare_photo(save(Image.new("L", (10_000, 64)), "PNG"))


def padded_png(size: int) -> bytes:
    data = save(quadrants(), "PNG")
    return pictures.with_chunk(data, b"teSt", b"x" * (size - len(data) - 12))


def test_byte_limit_is_exclusive() -> None:
    below, at = padded_png(photos.MAX_BYTES - 1), padded_png(photos.MAX_BYTES)
    assert photos.prepare_photo(below, keep_metadata=True).data is below

    photo = photos.prepare_photo(at, keep_metadata=True)
    assert len(photo.data) < 100_000
    assert photo.changes == ("compressed",)
    assert upright(load(photo.data))


def test_video_behind_photo_is_cut_where_it_makes_file_too_large() -> None:
    photo = save(quadrants(), "JPEG", comment="kept")
    prepared = photos.prepare_photo(photo + b"\0" * photos.MAX_BYTES, keep_metadata=True)
    assert prepared.data == photo
    assert prepared.changes == ("trailer-cut",)


def test_file_that_fits_without_its_metadata_is_not_compressed() -> None:
    photo = photos.prepare_photo(padded_png(photos.MAX_BYTES + 1))
    assert photo.data == save(quadrants(), "PNG")
    assert photo.changes == ("metadata-removed",)


@pytest.mark.slow
def test_result_over_byte_limit_loses_quality_before_size() -> None:
    noise = Image.frombytes("L", (5600, 5600), random.Random(1).randbytes(5600 * 5600))
    photo = conversion.to_photo(save(noise, "BMP"))

    assert len(photo.data) < photos.MAX_BYTES
    assert (photo.width, photo.height) == (5600, 5600)
    assert photo.changes == ("converted-from-bmp", "compressed")


# --- several images in one request -------------------------------------------------------------


def test_ten_files_of_together_100_mb_fit_into_one_request() -> None:
    photos.check_together([photo_of(10_000_000)] * 10)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([5] * 11, "are 11 files. The limit for one request is 10"),
        (
            [24_999_999] * 4 + [5],
            "100,000,001 bytes together. The limit for one request is 100,000,000",
        ),
    ],
)
def test_too_many_or_too_large_files_for_one_request_are_refused(
    sizes: list[int], message: str
) -> None:
    with pytest.raises(LayerError, match=message):
        photos.check_together([photo_of(size) for size in sizes])


def photo_of(size: int) -> photos.Photo:
    return photos.Photo(bytes(size), "image/png", 300, 300)


# --- what is refused -------------------------------------------------------------------------


def test_empty_file_is_refused() -> None:
    with pytest.raises(EmptyFileError):
        photos.prepare_photo(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is text",
        b"%PDF-1.7\n" + b"0" * 500,
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 100,
        b"PK\x03\x04" + b"\0" * 100,
        b"8BPS\0\x01" + b"\0" * 100,
        b"\0" * 1000,
        b"\xff\xd8",
    ],
)
def test_other_files_are_no_images_whatever_their_name(data: bytes) -> None:
    with pytest.raises(NotAnImageError, match=data[:4].hex(" ")):
        photos.prepare_photo(data)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["baseline JPEG", "progressive JPEG", "RGBA PNG", "lossy WebP"])
def test_file_that_is_cut_off_is_refused_before_any_call(kind: str, part: float) -> None:
    data = pictures.untouched()[kind]
    with pytest.raises(DamagedImageError, match="cut off"):
        photos.prepare_photo(data[: int(len(data) * part)])


@pytest.mark.parametrize("kind", ["heic", "avif", "lzw tiff", "bmp", "gif"])
def test_other_format_that_is_cut_off_is_refused(kind: str) -> None:
    data = pictures.convertible()[kind]
    with pytest.raises(ImageError):
        photos.prepare_photo(data[: len(data) // 2])


def test_thumbnail_does_not_make_cut_off_photo_look_whole() -> None:
    tags = Image.Exif()
    tags[0x010E] = "x" * 20
    thumbnail = tags.tobytes() + save(Image.new("RGB", (160, 120)), "JPEG")
    data = save(quadrants(), "JPEG", exif=thumbnail)
    with pytest.raises(DamagedImageError, match="cut off"):
        photos.prepare_photo(data[:-400])


def test_flipped_bit_in_png_is_found() -> None:
    data = bytearray(pictures.untouched()["RGB PNG"])
    data[data.index(b"IDAT") + 30] ^= 4
    with pytest.raises(DamagedImageError, match="checksum"):
        photos.prepare_photo(bytes(data))


# --- Venice's answer ---------------------------------------------------------------------------


def test_png_answer_is_stored_as_it_came() -> None:
    data = pictures.untouched()["RGBA PNG"]
    assert photos.to_png(data) is data


@pytest.mark.parametrize("kind", ["baseline JPEG", "lossy WebP", "lossless WebP", "grey JPEG"])
def test_other_answers_become_png(kind: str) -> None:
    png = photos.to_png(pictures.untouched()[kind])
    assert photos.media_type_of(png) == "image/png"
    assert upright(load(png).convert("RGB"), 14) or kind == "grey JPEG"


def test_transparency_of_answer_is_kept() -> None:
    png = load(photos.to_png(pictures.untouched()["transparent WebP"]))
    assert png.mode == "RGBA"
    assert pixel(png, 5, 120)[3] in range(120, 136)


def test_small_answer_is_answer() -> None:
    assert load(photos.to_png(save(Image.new("RGB", (64, 64)), "JPEG"))).size == (64, 64)


@pytest.mark.parametrize(
    "data", [b"", b"<html>busy</html>", b'{"error": "x"}', b"GIF89a" + b"\0" * 99]
)
def test_answer_that_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(NotAnImageError):
        photos.to_png(data)


@pytest.mark.parametrize("kind", ["RGB PNG", "baseline JPEG", "lossless WebP"])
def test_answer_that_is_cut_off_is_refused(kind: str) -> None:
    data = pictures.untouched()[kind]
    with pytest.raises(DamagedImageError):
        photos.to_png(data[:-20])


def test_answer_with_broken_picture_data_is_refused() -> None:
    data = bytearray(save(Image.effect_noise((300, 300), 50), "WEBP", lossless=True))
    data[60:-20] = b"\x55" * (len(data) - 80)
    with pytest.raises(DamagedImageError):
        photos.to_png(bytes(data))


@pytest.mark.parametrize("name", ["PNG", "JPEG"])
def test_answer_of_more_pixels_than_any_edit_has_is_refused(name: str) -> None:
    data = save(Image.new("L", (8200, 8100)), name)
    with pytest.raises(TooLargeError, match=r"8,200 × 8,100 = 66,420,000 .* limit is 66,355,200"):
        photos.to_png(data)


def test_sideways_answer_is_turned_upright() -> None:
    answer = save(pictures.lying_down(6), "PNG", exif=exif(6))
    image = load(photos.to_png(answer))
    assert upright(image)
    assert image.getexif().get(0x0112, 1) == 1


# --- types -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "image/avif"),
        (b"\0\0\0\x14ftypavis\0\0\0\0avis", "image/avif"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42iso2", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"MM\0*", "image/tiff"),
        (b"", None),
    ],
)
def test_media_type_is_told_by_first_bytes(start: bytes, expected: str | None) -> None:
    assert photos.media_type_of(start) == expected
