"""One picture of many photos before and after, with a checkerboard behind transparency."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pillow_heif
from PIL import Image, ImageDraw, ImageFont, ImageOps

COLUMNS = 2
FRAME = (400, 300)  # of each picture
GAP = 28
CAPTION = 64
TITLE = 76
BACKGROUND, CARD, MAT = "#f2f1ed", "#ffffff", "#e4e2dc"
INK, FAINT, ALARM = "#1f2328", "#6b7078", "#b3261e"
SQUARE = 14  # of the checkerboard
MAX_PIXELS = 200_000_000  # of a file to show; the demo's largest has 35 million
FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf")
PLAIN = str.maketrans({"×": "x", "–": "-", "—": "-", "ß": "ss", "æ": "ae", "ø": "o", "Ø": "O"})

type Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Pair:
    """A file before and after, with its two names and a caption.

    `after`: a picture, or the text of a report.
    """

    before: Path
    after: Path | str
    name_before: str
    name_after: str
    caption: str


def draw(pairs: Sequence[Pair], title: str) -> Image.Image:
    """Return the sheet of all pairs, two in a row."""
    pillow_heif.register_heif_opener()
    card = (2 * FRAME[0] + GAP // 2, FRAME[1] + CAPTION)
    rows = -(-len(pairs) // COLUMNS)
    columns = min(COLUMNS, len(pairs)) or 1
    width = columns * (card[0] + GAP) + GAP
    sheet = Image.new("RGB", (width, TITLE + rows * (card[1] + GAP)), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, TITLE // 2), legible(title, _font(26)), INK, _font(26), anchor="lm")
    for number, pair in enumerate(pairs):
        left = GAP + number % COLUMNS * (card[0] + GAP)
        top = TITLE + number // COLUMNS * (card[1] + GAP)
        pen.rounded_rectangle((left, top, left + card[0], top + card[1]), 10, CARD)
        after = _shown(pair.after) if isinstance(pair.after, Path) else _written(pair.after, ALARM)
        for picture, name in ((_shown(pair.before), pair.name_before), (after, pair.name_after)):
            sheet.paste(picture, (left, top))
            pen.text(
                (left + 12, top + FRAME[1] + 12), _cut(name, 17, FRAME[0] - 24), INK, _font(17)
            )
            left += FRAME[0] + GAP // 2
        place = (left - card[0] - GAP // 2 + 12, top + FRAME[1] + 37)
        pen.text(place, _cut(pair.caption, 14, card[0] - 24), FAINT, _font(14))
    return sheet


def _shown(path: Path) -> Image.Image:
    """Return the picture in a frame, upright; a plain card if the file is not a picture."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                return _written(f"{image.width:,} × {image.height:,} pixels", FAINT)
            image.draft("RGB", (2 * FRAME[0], 2 * FRAME[1]))
            upright = ImageOps.exif_transpose(image)
            upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return _written("Not a picture", FAINT)
    upright = ImageOps.contain(upright, FRAME, Image.Resampling.LANCZOS)
    frame = Image.new("RGB", FRAME, MAT)
    place = ((FRAME[0] - upright.width) // 2, (FRAME[1] - upright.height) // 2)
    if upright.mode == "RGBA":
        frame.paste(_checkerboard(upright.size), place)
        frame.paste(upright, place, upright)
    else:
        frame.paste(upright, place)
    return frame


def _checkerboard(size: tuple[int, int]) -> Image.Image:
    tile = Image.new("L", (2, 2), 255)
    tile.putpixel((0, 0), 222)
    tile.putpixel((1, 1), 222)
    tile = tile.resize((2 * SQUARE, 2 * SQUARE), Image.Resampling.NEAREST)
    board = Image.new("L", size)
    for left in range(0, size[0], 2 * SQUARE):
        for top in range(0, size[1], 2 * SQUARE):
            board.paste(tile, (left, top))
    return board


def _written(text: str, colour: str) -> Image.Image:
    """Return a card with a text; its first line is a heading of that colour."""
    card = Image.new("RGB", FRAME, MAT)
    pen = ImageDraw.Draw(card)
    heading, _, rest = legible(text, _font(19)).partition("\n")
    pen.multiline_text((24, 26), _wrapped(heading, 19), colour, _font(19), spacing=6)
    lines = _wrapped(heading, 19).count("\n") + 1
    pen.multiline_text((24, 40 + 27 * lines), _wrapped(rest, 15), INK, _font(15), spacing=6)
    return card


def _wrapped(text: str, size: int) -> str:
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and _font(size).getlength(longer) > FRAME[0] - 48:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines[:11])


def _cut(text: str, size: int, room: int) -> str:
    """Return the text, shortened in the middle if it does not fit."""
    text = legible(text, _font(size))
    if _font(size).getlength(text) <= room:
        return text
    keep = len(text) - 2
    while keep > 8 and _font(size).getlength(f"{text[: keep // 2]}…{text[-keep // 2 :]}") > room:
        keep -= 2
    return f"{text[: keep // 2]}…{text[-keep // 2 :]}"


def legible(text: str, font: Font) -> str:
    """Return the text with characters that the font lacks as plainer letters or as `?`."""
    text = unicodedata.normalize("NFC", text)  # macOS writes ü as two characters
    return "".join(each if _has(font, each) else _plainer(each, font) for each in text)


def _plainer(character: str, font: Font) -> str:
    decomposed = unicodedata.normalize("NFKD", character.translate(PLAIN))
    letters = [each for each in decomposed if not unicodedata.combining(each)]
    return "".join(each if _has(font, each) else "?" for each in letters)


def _has(font: Font, character: str) -> bool:
    """Return whether the font has a glyph: no font has U+FFFF, so that shows its placeholder."""
    if character == "\n":
        return True
    shown, missing = font.getmask(character), font.getmask("\uffff")
    return (shown.size, bytes(shown)) != (missing.size, bytes(missing))


@cache
def _font(size: int) -> Font:
    """Return a font of this machine with most letters, or Pillow's own, which has only ASCII."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
