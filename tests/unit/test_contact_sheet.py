"""The names on the contact sheet can be read, whatever letters the font has."""

import pytest
from PIL import ImageFont

from image_drop_cli.contact_sheet import FONTS, draw, legible

NAMES = "Küche – 3 × 4 Größe “Äpfel” ½ Ålesund œuvre 東京 a\u0308.jpg… 🙂"


def fonts() -> list[ImageFont.FreeTypeFont]:
    """Pillow's own font, and those of this machine that the sheet would take."""
    own = ImageFont.load_default(17)
    assert isinstance(own, ImageFont.FreeTypeFont)
    found = [own]
    for name in FONTS:
        try:
            found.append(ImageFont.truetype(name, 17))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("font", fonts(), ids=lambda font: " ".join(font.getname()))
def test_no_letter_is_drawn_as_box_of_missing_glyph(font: ImageFont.FreeTypeFont) -> None:
    box = font.getmask("\uffff")
    shown = [font.getmask(each) for each in legible(NAMES, font)]
    assert all((each.size, bytes(each)) != (box.size, bytes(box)) for each in shown)


def test_letters_that_font_lacks_become_plainer_ones() -> None:
    ascii_only = ImageFont.load_default(17)
    assert legible("Küche – 3 × 4, Größe: ½", ascii_only) == "Kuche - 3 x 4, Grosse: 1⁄2"
    assert legible("ku\u0308che", ascii_only) == "kuche"
    assert legible("東京", ascii_only) == "??"


def test_letters_that_font_has_are_kept() -> None:
    assert legible("shoe_1 (front)…\nsecond line", ImageFont.load_default(17)) == (
        "shoe_1 (front)…\nsecond line"
    )


def test_name_in_any_script_can_be_on_sheet() -> None:
    assert draw([], NAMES) != draw([], "")
