"""Photographs of any size, as a camera would make them.

    python -m benchmarks.photos FOLDER

A photograph that scikit-image carries is enlarged and gets the noise of a sensor, which is what
fills the files of a camera; then it is saved in the best JPEG quality that the wanted size allows.
"""

import io
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops

from image_drop_local.demo.photo_cases import photographs

NOISE = 12.0  # standard deviation, of 255: a camera at night


@dataclass(frozen=True)
class Size:
    """`max_bytes`: the file is as close below that as JPEG's quality allows."""

    name: str
    width: int
    height: int
    max_bytes: int


# Venice takes up to 33,177,600 pixels and 25,000,000 bytes: the first three are sent untouched.
SIZES = (
    Size("0.3 MB", 1024, 768, 300_000),
    Size("5 MB", 4032, 3024, 5_000_000),  # a phone's 12 megapixels
    Size("24 MB", 7008, 4672, 24_000_000),  # a full-frame camera's 33 megapixels
)
LARGE = Size("60 megapixels", 9504, 6336, 30_000_000)  # as the largest of them make


def write(size: Size, target: Path) -> None:
    """Return a JPEG of that size, which takes a few seconds for the larger ones."""
    with Image.open(photographs() / "coffee.png") as photo:
        image = photo.convert("RGB").resize((size.width, size.height), Image.Resampling.BICUBIC)
    noise = Image.effect_noise(image.size, NOISE).convert("RGB")
    image = ImageChops.add(image, noise, offset=-128)
    low, high = 30, 100  # qualities
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(_jpeg(image, middle)) <= size.max_bytes
        low, high = (middle, high) if fits else (low, middle - 1)
    target.write_bytes(_jpeg(image, low))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


if __name__ == "__main__":
    for wanted in (*SIZES, LARGE):
        write(wanted, Path(sys.argv[1]) / f"{wanted.name}.jpg")
