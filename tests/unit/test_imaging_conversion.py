"""What is converted shows the same picture: formats, colour, depth and transparency."""

import struct
from typing import Any

import pytest
from PIL import Image

from image_drop.imaging import conversion, photos
from image_drop.imaging.headers import is_srgb, read_orientation
from tests.support import pictures
from tests.support.pictures import (
    alike,
    corners,
    exif,
    load,
    pixel,
    quadrants,
    save,
    srgb_by_littlecms,
    upright,
)

# --- what is converted -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", pictures.convertible())
def test_other_files_are_converted_and_show_same_picture(kind: str) -> None:
    photo = conversion.to_photo(pictures.convertible()[kind])

    image = load(photo.data)
    assert photo.changes
    assert image.size == (photo.width, photo.height) == (320, 240)
    assert image.mode in ("L", "RGB")
    assert upright(image, tolerance=14)
    assert "icc_profile" not in image.info
    assert photos.prepare_photo(photo.data).data is photo.data


def test_conversion_runs_behind_prepare_in_its_own_process() -> None:
    photo = photos.prepare_photo(pictures.convertible()["heic"])

    assert photo.media_type == "image/jpeg"
    assert photo.changes == ("converted-from-heic",)
    assert upright(load(photo.data), tolerance=14)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("avif", ("converted-from-avif",)),
        ("animated gif", ("converted-from-gif", "first-frame", "rgb")),
        ("animated png", ("first-frame",)),
        ("animated webp", ("first-frame",)),
        ("two-page tiff", ("converted-from-tiff", "first-frame")),
        ("palette png", ("rgb",)),
        ("cmyk jpeg", ("rgb",)),
        ("P3 jpeg", ("srgb",)),
        ("rotated jpeg", ("rotated",)),
        ("cmyk tiff", ("converted-from-tiff", "rgb")),
    ],
)
def test_changes_say_what_was_done(kind: str, changes: tuple[str, ...]) -> None:
    assert conversion.to_photo(pictures.convertible()[kind]).changes == changes


@pytest.mark.parametrize("kind", ["tiff", "bmp", "gif", "palette png", "animated png", "lzw tiff"])
def test_lossless_input_stays_lossless(kind: str) -> None:
    photo = conversion.to_photo(pictures.convertible()[kind])

    assert photo.media_type == "image/png"
    assert corners(load(photo.data)) == [
        pictures.RED,
        pictures.GREEN,
        pictures.BLUE,
        pictures.WHITE,
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_every_orientation_comes_out_upright(name: str, orientation: int) -> None:
    fast = {"speed": 10} if name == "AVIF" else {}
    data = save(pictures.lying_down(orientation), name, exif=exif(orientation), **fast)

    photo = conversion.to_photo(data)

    image = load(photo.data)
    assert image.size == (photo.width, photo.height) == (320, 240)
    assert upright(image, tolerance=24)
    assert image.getexif().get(0x0112, 1) == 1


def test_big_endian_exif_is_understood() -> None:
    block = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"
    assert read_orientation(b"Exif\0\0" + block) == 8
    assert read_orientation(block.replace(b"\0\x08\0\0\0\0", b"\0\x09\0\0\0\0")) == 1


@pytest.mark.parametrize(
    "block",
    [b"", b"Exif\0\0", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"?" * 40],
)
def test_unreadable_exif_counts_as_upright(block: bytes) -> None:
    assert read_orientation(block) == 1


# --- colour ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_display_p3_becomes_srgb(name: str) -> None:
    colour = (200, 100, 60)
    # inverse(SRGB) · DISPLAY_P3 · (colour / 255) ** 2.2 = (0.6890, 0.1083, 0.0240), encoded
    expected = (216, 93, 43)
    every: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "AVIF": {"speed": 10, "quality": 95},
    }
    options = every.get(name, {})
    profile = pictures.rgb_profile(pictures.DISPLAY_P3)
    data = save(Image.new("RGB", (300, 300), colour), name, icc_profile=profile, **options)

    photo = conversion.to_photo(data)

    assert "srgb" in photo.changes
    assert alike(pixel(load(photo.data).convert("RGB"), 150, 150), expected, 5)


def test_transparency_survives_profile() -> None:
    image = Image.new("RGBA", (300, 300), (200, 100, 60, 90))
    data = save(image, "PNG", icc_profile=pictures.rgb_profile(pictures.ADOBE_RGB))

    photo = conversion.to_photo(data)

    found = pixel(load(photo.data), 5, 5)
    assert photo.media_type == "image/png"
    assert found[3] == 90
    assert found[0] > 215  # Adobe RGB's red is wider


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_profile_is_applied_and_grey_stays_grey(mode: str) -> None:
    image = Image.new(mode, (300, 300), 128 if mode == "L" else (128, 77))
    data = save(image, "PNG", icc_profile=pictures.grey_profile(1.0))

    photo = conversion.to_photo(data)

    result = load(photo.data)
    assert result.mode == mode
    grey, *alpha = pixel(result, 9, 9)
    assert abs(grey - 188) <= 2  # linear 0.5 in sRGB
    assert alpha == ([77] if mode == "LA" else [])


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_is_converted_with_its_own_profile(name: str) -> None:
    image = Image.new("CMYK", (300, 300), (255, 0, 0, 0))
    options = {"quality": 95} if name == "JPEG" else {}

    without = conversion.to_photo(save(image, name, **options))
    with_profile = conversion.to_photo(
        save(image, name, icc_profile=pictures.cmyk_profile(), **options)
    )

    cyan = pixel(load(without.data).convert("RGB"), 5, 5)
    orange = pixel(load(with_profile.data).convert("RGB"), 5, 5)
    assert alike(cyan, (0, 255, 255), 8)
    assert orange[0] > 200
    assert orange[2] < 110
    assert "srgb" in with_profile.changes


@pytest.mark.parametrize(
    "profile",
    [
        b"nonsense",
        b"\0" * 4000,
        pictures.rgb_profile(pictures.DISPLAY_P3)[:300],
        pictures.cmyk_profile(),
    ],
    ids=["text", "zeros", "cut off", "of another colour space"],
)
def test_unusable_profile_is_ignored(profile: bytes) -> None:
    photo = conversion.to_photo(save(quadrants(), "PNG", icc_profile=profile))
    assert "srgb" not in photo.changes
    assert upright(load(photo.data), tolerance=2)


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (srgb_by_littlecms(), True),
        (pictures.rgb_profile(pictures.SRGB, 2.2), True),
        (pictures.grey_profile(2.2), True),
        (pictures.rgb_profile(pictures.SRGB, 1.0), False),
        (pictures.rgb_profile(pictures.SRGB, 1.8), False),
        (pictures.rgb_profile(pictures.DISPLAY_P3), False),
        (pictures.rgb_profile(pictures.ADOBE_RGB), False),
        (pictures.grey_profile(1.0), False),
        (pictures.cmyk_profile(), False),
        (b"", False),
    ],
)
def test_srgb_is_told_by_its_numbers(profile: bytes, expected: bool) -> None:
    assert is_srgb(profile) is expected


# --- depth and transparency --------------------------------------------------------------------


@pytest.mark.parametrize("colour", [0, 2, 4, 6], ids=["grey", "RGB", "grey+alpha", "RGBA"])
def test_sixteen_bit_png_is_scaled_not_clipped(colour: int) -> None:
    photo = conversion.to_photo(pictures.deep_png(colour))

    image = load(photo.data)
    assert set(pixel(image, 7, 100)) == {100}
    assert ("A" in image.mode) == (colour in (4, 6))


def test_sixteen_bit_png_is_not_sent_as_it_is() -> None:
    assert photos.prepare_photo(pictures.deep_png(2)).changes == ("8-bit",)


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_sixteen_bit_tiff_is_scaled_not_clipped(mode: str) -> None:
    order = "<" if mode == "I;16" else ">"
    rows = b"".join(struct.pack(f"{order}H", y * 256) * 300 for y in range(256))
    photo = conversion.to_photo(save(Image.frombytes(mode, (300, 256), rows), "TIFF"))

    assert photo.changes == ("converted-from-tiff", "8-bit")
    assert [pixel(load(photo.data), 3, y) for y in (0, 100, 255)] == [(0,), (100,), (255,)]


def test_float_and_integer_samples_use_whole_range() -> None:
    for mode, values in (("F", (0.0, 0.5, 1.0)), ("I", (0, 50_000, 100_000))):
        image = Image.new(mode, (300, 300), values[0])
        image.paste(values[1], (0, 100, 300, 200))
        image.paste(values[2], (0, 200, 300, 300))
        result = load(conversion.to_photo(save(image, "TIFF")).data)
        found = [pixel(result, 9, y)[0] for y in (50, 150, 250)]
        assert alike(found, (0, 127, 255), 1)


def test_black_float_image_stays_black() -> None:
    photo = conversion.to_photo(save(Image.new("F", (300, 300), 0.0), "TIFF"))
    assert load(photo.data).getextrema() == (0, 0)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_grey_levels_become_eight_bits(depth: int) -> None:
    row = b"\0" + b"\xff" * (300 * depth // 8 + 1)
    photo = photos.prepare_photo(
        pictures.png(300, 300, depth, 0, row[: 1 + (300 * depth + 7) // 8] * 300)
    )
    assert load(photo.data).convert("L").getextrema() == (255, 255)


def transparent_gif() -> bytes:
    image = quadrants().quantize(4)
    return save(image, "GIF", transparency=pixel(image, 10, 10)[0])


def transparent_palette_png() -> bytes:
    image = quadrants().quantize(4)
    return save(image, "PNG", transparency=image.getpixel((10, 10)))


@pytest.mark.parametrize("data", [transparent_gif(), transparent_palette_png()], ids=["GIF", "PNG"])
def test_transparent_palette_entry_stays_transparent(data: bytes) -> None:
    image = load(conversion.to_photo(data).data)
    assert image.mode == "RGBA"
    assert pixel(image, 10, 10)[3] == 0
    assert pixel(image, 300, 200)[3] == 255


@pytest.mark.parametrize("colour", [0, 2])
def test_transparent_colour_of_deep_png_stays_transparent(colour: int) -> None:
    key = struct.pack(">H", 50 * 256) * (1 if colour == 0 else 3)
    image = load(conversion.to_photo(pictures.deep_png(colour, (b"tRNS", key))).data)
    assert pixel(image, 9, 50)[-1] == 0
    assert pixel(image, 9, 51)[-1] == 255


@pytest.mark.parametrize("name", ["TIFF", "AVIF", "HEIF"])
def test_transparency_is_kept(name: str) -> None:
    image = quadrants()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    options = {"speed": 10} if name == "AVIF" else {}

    photo = conversion.to_photo(save(image.convert("RGBA"), name, **options))

    result = load(photo.data)
    assert photo.media_type == "image/png"
    assert abs(pixel(result, 10, 120)[3] - pixel(image, 10, 120)[3]) <= 3


def test_alpha_that_hides_nothing_is_dropped() -> None:
    image = quadrants().convert("RGBA")
    assert load(conversion.to_photo(save(image, "TIFF")).data).mode == "RGB"
