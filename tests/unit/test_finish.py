"""Finishing an edit: how it is described, and what comes out of it."""

import json
import subprocess
import sys
from datetime import date

import msgspec
import pytest
from PIL import Image, ImageDraw

from image_drop.errors import DamagedImageError, InvalidValueError, LayerError
from image_drop.imaging import photos
from image_drop.imaging.canvas import enlargement, render
from image_drop.imaging.result_check import check_result
from image_drop.instructions import finish as finishing
from image_drop.instructions.finish import Finish
from image_drop.instructions.presets import PRESETS, Preset, Rules
from tests.support import pictures
from tests.support.pictures import alike, load, pixel, save

ORANGE = (240, 130, 20)


def cutout(
    width: int = 400, height: int = 300, box: tuple[int, int, int, int] = (100, 50, 300, 150)
) -> bytes:
    """An orange rectangle, 200 × 100, on a transparent ground."""
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    image.paste((*ORANGE, 255), box)
    return save(image, "PNG")


def finished(png: bytes, **keys: object) -> Image.Image:
    return load(render(Finish.parse(keys), png).data)


def subject_box(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Where the orange is."""
    red, _, blue = image.convert("RGB").split()
    mask = Image.composite(
        red.point(lambda v: 255 * (v > 200)),
        Image.new("L", image.size),
        blue.point(lambda v: 255 * (v < 90)),
    )
    return mask.getbbox()


# --- words -----------------------------------------------------------------------------------


def test_empty_finish_changes_nothing_that_is_visible() -> None:
    image = finished(cutout())
    assert image.size == (400, 300)
    assert image.tobytes() == load(cutout()).tobytes()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"format": "gif"}, r"finish\.format is 'gif'. Allowed: \"png\", \"webp\" or \"jpeg\""),
        ({"preset": "ebuy"}, r"finish\.preset is 'ebuy'. Allowed: amazon, shopify, .* your own"),
        ({"trim": "yes"}, r"finish\.trim is 'yes'. Allowed: true or false"),
        ({"margin": "50%"}, r"finish\.margin is '50%'. Allowed: .*\"49\.99%\""),
        ({"margin": -1}, r"finish\.margin is -1"),
        ({"margin": True}, r"finish\.margin is True"),
        ({"size": "2000"}, r"finish\.size is '2000'. Allowed: .*\"2000x2000\""),
        ({"size": "0x100"}, r"finish\.size is '0x100'"),
        ({"size": "10001x10"}, r"finish\.size is 10001x10, .*10,000"),
        ({"size": "9000x9000"}, r"81,000,000 pixels.*16,000,000"),
        ({"size": "100x100", "margin": 50}, r"finish\.margin is 50 .* up to 49"),
        ({"background": "whit"}, r"finish\.background is 'whit', neither a colour nor"),
        ({"background": ""}, r"finish\.background is ''"),
        ({"background": "#12"}, r"finish\.background is '#12'"),
        ({"max_bytes": 5}, r"finish\.max_bytes is 5. Allowed: 10,000 to 50,000,000"),
        ({"shadow": 3}, r"finish\.shadow is 3"),
        ({"marign": 3}, r"finish has no key 'marign'\. Did you mean 'margin'\?"),
        ({"x": 3}, r"finish has no key 'x'\. Its keys are: trim, margin, size"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(keys: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Finish.parse(keys)


@pytest.mark.parametrize("value", [None, 3, [], True])
def test_finish_has_to_be_object_or_preset(value: object) -> None:
    with pytest.raises(InvalidValueError, match="must be an object such as"):
        Finish.parse(value)


def test_name_of_preset_is_enough() -> None:
    assert Finish.parse("amazon") == Finish.parse({"preset": "amazon"})
    with pytest.raises(InvalidValueError, match="Allowed"):
        Finish.parse("Amazon")


@pytest.mark.parametrize("preset", PRESETS)
def test_own_keys_win_over_preset(preset: str) -> None:
    finish = Finish.parse({"preset": preset, "format": "webp", "margin": 10})
    assert (finish.format, finish.margin, finish.trim) == ("webp", 10, True)


@pytest.mark.parametrize(
    ("background", "key"),
    [
        ("transparent", None),
        ("#fff", None),
        ("#A0B1C2", None),
        ("ivory", None),
        ("White", None),
        ("studio/wood.jpg", "studio/wood.jpg"),
        ("wood.png", "wood.png"),
    ],
)
def test_background_is_colour_or_key(background: str, key: str | None) -> None:
    assert Finish.parse({"background": background}).background_key == key


def test_schema_describes_every_key_and_agrees_with_parse() -> None:
    schema = msgspec.json.schema(Finish)["$defs"]["Finish"]

    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Finish.__struct_fields__)
    assert all(field["description"] for field in schema["properties"].values())
    assert schema["properties"]["format"]["enum"] == ["jpeg", "png", "webp"]
    assert "4999" in json.dumps(schema["properties"]["margin"])


def test_reading_finish_does_not_import_pillow() -> None:
    code = (
        "import sys; from image_drop.instructions.finish import Finish\n"
        "Finish.parse({'preset': 'amazon', 'background': '#123456'})\n"
        "Finish.parse({'background': 'studio/wood.jpg'})\n"
        "print('PIL.Image' in sys.modules)"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=path, capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


# --- frame -----------------------------------------------------------------------------------


def test_trim_cuts_to_subject() -> None:
    image = finished(cutout(), trim=True)
    assert image.size == (200, 100)
    assert image.mode == "RGB"  # nothing transparent is left


def test_trim_does_not_keep_haze_around_subject() -> None:
    picture = load(cutout())
    picture.putpixel((2, 2), (0, 0, 0, 5))
    assert finished(save(picture, "PNG"), trim=True).size == (200, 100)


def test_trim_leaves_image_without_alpha_or_subject() -> None:
    assert finished(save(pictures.quadrants(), "PNG"), trim=True).size == (320, 240)
    assert finished(cutout(box=(0, 0, 0, 0)), trim=True).size == (400, 300)


def test_margin_in_pixels_is_added_on_each_side() -> None:
    assert finished(cutout(), trim=True, margin=30).size == (260, 160)


def test_margin_in_per_cent_is_of_new_canvas() -> None:
    image = finished(cutout(), trim=True, margin="10%", background="white")
    assert image.size == (224, 124)  # 100 / (1 - 2 × 0.1) = 125: 12 on each side
    assert subject_box(image) is not None


@pytest.mark.parametrize("size", ["500x500", "800x300", "300x900", "1200x1000"])
def test_subject_is_fitted_and_centred_on_canvas(size: str) -> None:
    image = finished(cutout(), trim=True, size=size, margin="8%", background="white")

    width, height = (int(side) for side in size.split("x"))
    margin = round(0.08 * min(width, height))
    box = subject_box(image)
    assert image.size == (width, height)
    assert box is not None
    left, top, right, bottom = box
    assert abs(left - (width - right)) <= 2
    assert abs(top - (height - bottom)) <= 2
    assert abs((right - left) / (bottom - top) - 2) < 0.05
    assert min(left, top) == pytest.approx(margin, abs=2)


@pytest.mark.slow
def test_canvas_without_size_stays_within_cap() -> None:
    png = save(Image.new("L", (5000, 3000)), "PNG")
    result = render(Finish.parse({"margin": 4999, "format": "jpeg"}), png).data
    width, height = load(result).size
    assert width * height <= finishing.MAX_CANVAS_PIXELS
    assert max(width, height) <= finishing.MAX_SIDE


# --- background and shadow ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("background", "expected"),
    [("#ffffff", (255, 255, 255)), ("#102030", (16, 32, 48)), ("ivory", (255, 255, 240))],
)
def test_background_colour_is_exact(background: str, expected: tuple[int, ...]) -> None:
    image = finished(cutout(), background=background)
    assert image.mode == "RGB"
    assert pixel(image, 5, 5) == expected
    assert pixel(image, 200, 100) == ORANGE


def test_half_transparent_subject_lets_background_through() -> None:
    png = save(Image.new("RGBA", (300, 300), (255, 0, 0, 128)), "PNG")
    assert alike(pixel(finished(png, background="white"), 5, 5), (255, 127, 127), 1)
    assert pixel(finished(png), 5, 5) == (255, 0, 0, 128)


@pytest.mark.parametrize("kind", ["baseline JPEG", "RGBA PNG", "lossy WebP"])
def test_background_image_covers_canvas(kind: str) -> None:
    finish = Finish.parse({"background": "studio/wood.jpg", "size": "600x300"})
    image = load(render(finish, cutout(), pictures.untouched()[kind]).data)
    assert image.size == (600, 300)
    assert image.mode == "RGB"
    if kind == "baseline JPEG":
        assert alike(pixel(image, 20, 20), pictures.RED, 8)
        assert alike(pixel(image, 580, 280), pictures.WHITE, 8)


def test_background_in_any_format_can_be_used() -> None:
    finish = Finish.parse({"background": "studio.heic"})
    image = load(render(finish, cutout(), pictures.convertible()["heic"]).data)
    assert alike(pixel(image, 20, 20), pictures.RED, 12)


def test_background_may_be_single_pixel() -> None:
    finish = Finish.parse({"background": "sky.png"})
    image = load(render(finish, cutout(), save(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).data)
    assert pixel(image, 5, 5) == (1, 2, 3)


@pytest.mark.parametrize(
    "background", [None, b"", b"no image", save(Image.new("L", (999, 9)), "PNG"), b"\xff\xd8\xff"]
)
def test_unusable_background_is_named_and_nothing_of_it_is_told(background: bytes | None) -> None:
    finish = Finish.parse({"background": "studio/wood.jpg"})
    with pytest.raises(LayerError) as caught:
        render(finish, cutout(), background)
    assert caught.value.detail == "The background studio/wood.jpg cannot be used."


def test_shadow_is_soft_and_below_subject() -> None:
    keys = {"size": "500x500", "margin": "20%", "trim": True, "background": "white"}
    plain, shaded = finished(cutout(), **keys), finished(cutout(), shadow=True, **keys)

    left, top, right, bottom = subject_box(plain) or (0, 0, 0, 0)
    middle = (left + right) // 2
    below = [pixel(shaded, middle, bottom + step)[0] for step in (2, 8, 16, 60)]
    assert pixel(plain, middle, bottom + 2) == (255, 255, 255)
    assert below == sorted(below)
    assert below[0] < 230
    assert below[-1] == 255
    assert pixel(shaded, middle, top - 12)[0] > below[1]
    assert pixel(shaded, middle, (top + bottom) // 2) == ORANGE


def test_shadow_on_transparent_canvas_is_transparent_black() -> None:
    image = finished(cutout(), shadow=True)
    *colour, alpha = pixel(image, 200, 152)
    assert colour == [0, 0, 0]
    assert 0 < alpha < 100


# --- formats and bytes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "media_type", "suffix"),
    [("png", "image/png", ".png"), ("webp", "image/webp", ".webp"), ("jpeg", "image/jpeg", ".jpg")],
)
def test_format_decides_type_and_ending(name: str, media_type: str, suffix: str) -> None:
    finish = Finish.parse({"format": name})
    result = render(finish, cutout()).data
    assert (finish.media_type, finish.suffix) == (media_type, suffix)
    assert photos.media_type_of(result) == media_type
    assert load(result).size == (400, 300)


def test_webp_keeps_transparency() -> None:
    image = finished(cutout(), format="webp")
    assert image.mode == "RGBA"
    assert pixel(image, 5, 5)[3] == 0


def test_jpeg_puts_white_where_nothing_else_is_said() -> None:
    image = finished(cutout(), format="jpeg")
    assert alike(pixel(image, 5, 5), (255, 255, 255), 1)
    blue = finished(cutout(), format="jpeg", background="#0000ff")
    assert alike(pixel(blue, 5, 5), (0, 0, 255), 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["png", "webp", "jpeg"])
def test_result_is_no_larger_than_max_bytes(name: str) -> None:
    noise = save(Image.effect_noise((400, 400), 100).convert("RGB"), "PNG")
    result = render(Finish.parse({"format": name, "max_bytes": 20_000}), noise).data
    assert len(result) <= 20_000
    assert load(result).width <= 400


@pytest.mark.slow
def test_quality_gives_way_before_size() -> None:
    noise = save(Image.effect_noise((900, 900), 60).convert("RGB"), "PNG")
    best = len(render(Finish.parse({"format": "jpeg"}), noise).data)
    result = render(Finish.parse({"format": "jpeg", "max_bytes": best // 2}), noise).data
    assert load(result).size == (900, 900)


def test_damaged_png_is_refused() -> None:
    with pytest.raises(DamagedImageError):
        render(Finish.parse("square-white"), cutout()[:-300])


# --- the shops ---------------------------------------------------------------------------------


def product() -> bytes:
    image = Image.new("RGBA", (1024, 1024), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((300, 200, 700, 900), fill=(*ORANGE, 255))
    return save(image, "PNG")


def test_amazon_preset_meets_amazons_rules() -> None:
    result = render(Finish.parse("amazon"), product()).data

    image = load(result)
    left, top, right, bottom = subject_box(image) or (0, 0, 0, 0)
    assert image.format == "JPEG"
    assert 1600 <= max(image.size) <= 10_000
    assert pixel(image, 2, 2) == pixel(image, 1997, 1997) == (255, 255, 255)
    assert max(right - left, bottom - top) >= 0.85 * 2000
    assert len(result) <= 10_000_000


def test_shopify_preset_meets_shopifys_rules() -> None:
    result = render(Finish.parse("shopify"), product()).data
    assert load(result).size == (2048, 2048)
    assert len(result) < 20_000_000


def test_square_white_preset_is_white_square_of_2000_pixels() -> None:
    image = finished(product(), preset="square-white")
    assert image.size == (2000, 2000)
    assert image.format == "PNG"
    assert pixel(image, 0, 0) == (255, 255, 255)


# --- presets of the shops, and the check ---------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_result_of_preset_passes_its_own_rules(preset: str) -> None:
    finish = Finish.parse(preset)
    drawn = render(finish, cutout())
    assert finish.checked_against
    assert check_result(finish.checked_against, drawn.data, drawn.fill) == "passed"


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_each_figure_of_preset_has_source_and_date(preset: Preset) -> None:
    assert set(preset.sources) == set(msgspec.to_builtins(preset.rules))
    for source in preset.sources.values():
        assert source.page
        assert date.fromisoformat(source.read)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"size": "900x900"}, "size 900x900: longest side under 1000"),
        ({"margin": "20%"}, "fill 60.0 percent: under 85"),
        ({"background": "#fefefe"}, "background #fefefe in a corner: not #ffffff"),
        ({"format": "webp"}, "format webp: not jpeg or png"),
        ({"format": "png", "background": "transparent"}, "background transparent in a corner"),
    ],
)
def test_check_says_what_amazon_would_refuse(keys: dict[str, object], told: str) -> None:
    finish = Finish.parse({"preset": "amazon", **keys})
    drawn = render(finish, cutout())
    assert told in check_result(PRESETS["amazon"].rules, drawn.data, drawn.fill)


def test_check_of_bytes_shape_and_pixels() -> None:
    drawn = render(Finish.parse({"size": "60x40", "background": "#abc"}), cutout())
    rules = Rules(
        square=True, min_shortest=50, max_longest=50, max_pixels=9, max_bytes=9, max_fill=10
    )
    told = check_result(rules, drawn.data, drawn.fill)
    for problem in ("not square", "under 50", "over 50", "over 9 pixels", "over 9", "over 10"):
        assert problem in told


def test_rules_of_your_own_win_over_those_of_preset() -> None:
    finish = Finish.parse({"preset": "amazon", "rules": {"min_longest": 10}})
    assert finish.checked_against == Rules(min_longest=10)


# --- margins, position, shadow, dpi, channels ----------------------------------------------------


def test_each_side_has_its_own_margin() -> None:
    sides = {"top": 10, "right": 20, "bottom": "10%", "left": 40}
    image = finished(cutout(), trim=True, margin=sides, background="white")
    assert image.size == (260, 122)  # (100 + 10) / (1 - 0.1) = 122
    assert subject_box(image) == (40, 10, 240, 110)


def test_margins_that_leave_no_room_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="no room"):
        Finish.parse({"size": "100x100", "margin": {"top": 60, "bottom": 40}})
    assert Finish.parse({"size": "100x100", "margin": {"top": 60, "bottom": 39}})


@pytest.mark.parametrize(
    ("size", "position", "corner"),
    [
        ("200x400", "center", (0, 100)),
        ("200x400", "top", (0, 0)),
        ("200x400", "bottom-left", (0, 200)),
        ("500x200", "right", (300, 0)),
        ("500x200", "top-left", (0, 0)),
    ],
)
def test_subject_is_put_where_position_says(
    size: str, position: str, corner: tuple[int, int]
) -> None:
    png = cutout(200, 200, (0, 0, 200, 200))
    box = subject_box(finished(png, size=size, position=position, background="white"))
    assert box is not None
    assert box[:2] == corner


def test_shadow_as_true_is_shadow_with_defaults() -> None:
    keys = {"size": "300x300", "margin": "20%", "background": "white"}
    plain, object_ = finished(cutout(), shadow=True, **keys), finished(cutout(), shadow={}, **keys)
    assert plain.tobytes() == object_.tobytes()


def test_shadow_has_softness_opacity_and_offset() -> None:
    keys = {"size": "300x300", "margin": "30%", "trim": True, "background": "white"}
    hard = {"softness": 0, "opacity": 1, "offset": [40, "20%"]}
    image = finished(cutout(), shadow=hard, **keys)
    box = subject_box(image)
    assert box is not None
    assert pixel(image, box[2] + 20, box[3] + 40) == (0, 0, 0)
    assert pixel(image, box[2] + 45, box[3] + 40) == (255, 255, 255)
    with pytest.raises(InvalidValueError, match="opacity"):
        Finish.parse({"shadow": {"opacity": 2}})


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_dpi_is_in_file(form: str) -> None:
    image = finished(cutout(), dpi=300, format=form)
    assert tuple(round(each) for each in image.info["dpi"]) == (300, 300)


def test_webp_has_no_dpi() -> None:
    with pytest.raises(InvalidValueError, match="WebP"):
        Finish.parse({"dpi": 300, "format": "webp"})


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_channels_alpha_is_mask_alone(form: str) -> None:
    keys = {"channels": "alpha", "background": "red", "shadow": True, "format": form}
    image = finished(cutout(), **keys).convert("RGB")
    assert image.size == (400, 300)
    assert min(pixel(image, 200, 100)) > 250
    assert max(pixel(image, 20, 20)) < 5


# --- enlarged by Venice ----------------------------------------------------------------------


def test_enlargement_is_that_of_trimmed_subject_in_its_room() -> None:
    cut_out = Image.new("RGBA", (400, 400))
    cut_out.paste((200, 90, 10, 255), (100, 150, 300, 250))  # 200 x 100
    keys: dict[str, object] = {"size": "800x800", "margin": 100, "trim": True}
    png = save(cut_out, "PNG")
    assert enlargement(Finish.parse(keys), png) == 3.0  # 200 to 600
    assert enlargement(Finish.parse(keys | {"trim": False}), png) == 1.5
    assert enlargement(Finish.parse({"trim": True}), png) == 1.0


@pytest.mark.parametrize("opaque", [True, False])
def test_enlarged_cut_out_stays_cut_out(opaque: bool) -> None:
    cut_out = Image.new("RGBA", (100, 100))
    cut_out.paste((200, 90, 10, 255), (0, 0, 50, 100))
    larger = cut_out.resize((200, 200))
    larger.paste((10, 90, 200), (0, 0, 100, 200), larger.crop((0, 0, 100, 200)))
    sent_back = larger.convert("RGB") if opaque else larger
    finish = Finish.parse({"size": "200x200", "upscale": "auto"})

    drawn = load(render(finish, save(cut_out, "PNG"), larger=save(sent_back, "PNG")).data)

    assert pixel(drawn, 20, 100)[:3] == (10, 90, 200)  # of the larger picture
    assert pixel(drawn, 180, 100)[3] == 0
