"""What `make demo` drops: photographs that scikit-image carries, each instructed in another way."""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, ImageOps

from image_drop.imaging.photos import MAX_PIXELS
from image_drop.uploads import FOLDER_FILE
from image_drop_cli.upload.events import NotSent
from image_drop_cli.upload.folders import LocalFile, local_files

CUT_OUT = {"mode": "background-remove"}
FAILS_FIRST = ("rocket.jpg", "launch at sunset")  # key and prompt; its first call meets a 503
SIDEWAYS = 6  # the EXIF orientation of a phone that was held upright: turn by 90 degrees
MARGIN = 18  # pixels from the watermark to the edges


@dataclass(frozen=True)
class Case:
    """One file of the demo. `how` it is instructed, `why` it is among the others.

    `variants` are the results that it must have; `refused` is the code of the report that it must
    have instead.
    """

    file: LocalFile
    how: str
    why: str
    variants: tuple[str | None, ...] = (None,)
    refused: str | None = None


def photographs() -> Path:
    """Return the folder of scikit-image's photographs; the package itself is not imported."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("scikit-image is not installed: run `uv sync`")
    return Path(spec.submodule_search_locations[0]) / "data"


def needed_first(folder: Path) -> list[LocalFile]:
    """Return the folder file and the layer that the images of their folders need."""
    return [_folder_file(folder, "products/"), _watermark(folder)]


def cases(folder: Path) -> Iterator[Case]:
    """Yield all files of the demo. Those that have to be made are written into `folder`."""
    photos = photographs()
    key, prompt = FAILS_FIRST
    yield Case(
        LocalFile(photos / "rocket.jpg", key, metadata={"mode": "edit", "prompt": prompt}),
        "user metadata: edit",
        "its first call meets a 503 and is tried again",
    )
    yield Case(
        LocalFile(photos / "coffee.png", "products/coffee.png"),
        "folder file: background-remove",
        "a folder as a drop box",
    )
    yield Case(
        LocalFile(photos / "camera.png", "products/camera.png"),
        "folder file: background-remove",
        "the same drop box; a grey photo",
    )
    yield Case(
        LocalFile(
            photos / "astronaut.png",
            "portraits/astronaut.png",
            _json({"prompt": "a fine ink drawing on cream paper"}),
        ),
        "sidecar: edit",
        "a prompt of any length fits into a sidecar",
    )
    yield Case(
        LocalFile(
            _sideways(photos / "chelsea.png", folder),
            "phone/cat.jpg",
            tags={"mode": "edit", "prompt": "turn the cat into a comic hero"},
        ),
        "object tags: edit",
        "stored sideways; its EXIF says which way is up",
    )
    yield Case(
        LocalFile(
            photos / "motorcycle_left.png",
            "posters/motorcycle.png",
            _json(
                {
                    "mode": "multi-edit",
                    "prompt": "a travel poster from the fifties",
                    "layers": ["_layers/watermark.png"],
                }
            ),
        ),
        "sidecar: multi-edit",
        "with a transparent layer from _layers/",
    )
    yield Case(
        LocalFile(_heic(photos / "retina.jpg", folder), "phone/eye.heic", tags=CUT_OUT),
        "object tags: background-remove",
        "HEIC, which Venice does not read",
    )
    yield Case(
        LocalFile(
            _oversized(photos / "moon.png", folder),
            "scans/moon.jpg",
            _json({"prompt": "the moon in a cold blue light"}),
        ),
        "sidecar: edit",
        f"more than the {MAX_PIXELS:,} pixels that Venice takes",
    )
    yield Case(
        LocalFile(
            photos / "coffee.png",
            "shop/cup.png",
            _json({**CUT_OUT, "variants": {"cutout": {}, "amazon": {"finish": "amazon"}}}),
        ),
        "sidecar: two variants",
        "cut out, and finished for a marketplace",
        variants=("cutout", "amazon"),
    )
    yield Case(
        LocalFile(_text(folder), "notes.jpg", tags=CUT_OUT),
        "object tags: background-remove",
        "a text that is named like a photo",
        refused="not_an_image",
    )


def own(photos: Path, folder: Path) -> Iterator[LocalFile | NotSent]:
    """Yield a person's own photos, each to be cut out unless a file next to it says otherwise."""
    yield _folder_file(folder, "photos/")
    yield from local_files([photos], "photos")


def _json(instructions: Mapping[str, Any]) -> bytes:
    return json.dumps(instructions).encode()


def _folder_file(folder: Path, prefix: str) -> LocalFile:
    path = folder / "cut-out.json"
    path.write_bytes(_json(CUT_OUT))
    return LocalFile(path, prefix + FOLDER_FILE)


def _watermark(folder: Path) -> LocalFile:
    """Return a small logo in the corner of an otherwise transparent sheet of the photo's size."""
    with Image.open(photographs() / "motorcycle_left.png") as photo:
        sheet = Image.new("RGBA", photo.size)
    with Image.open(photographs() / "logo.png") as image:
        logo = image.convert("RGBA").resize((120, 120), Image.Resampling.LANCZOS)
    round_mask = Image.radial_gradient("L").resize(logo.size).point(lambda v: 255 * (v < 178))
    place = (sheet.width - logo.width - MARGIN, MARGIN)
    sheet.paste(logo, place, round_mask)
    path = folder / "watermark.png"
    sheet.save(path)
    return LocalFile(path, "posters/_layers/watermark.png")


def _sideways(photo: Path, folder: Path) -> Path:
    path = folder / "cat.jpg"
    with Image.open(photo) as image:
        exif = Image.Exif()
        exif[0x0112] = SIDEWAYS
        image.transpose(Image.Transpose.ROTATE_90).save(path, quality=92, exif=exif)
    return path


def _heic(photo: Path, folder: Path) -> Path:
    path = folder / "eye.heic"
    with Image.open(photo) as image:
        smaller = ImageOps.contain(image, (1000, 1000))  # its encoder is slow
    pillow_heif.from_pillow(smaller).save(path, quality=80)
    return path


def _oversized(photo: Path, folder: Path) -> Path:
    path = folder / "moon.jpg"
    with Image.open(photo) as image:
        side = 6000  # 6,000 × 6,000 = 36,000,000 pixels
        image.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=80)
    return path


def _text(folder: Path) -> Path:
    path = folder / "notes.jpg"
    path.write_text("Remember to ask for the real photo of the new shoe.\n")
    return path
