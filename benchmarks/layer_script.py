"""The guide's script with the layer's parts: what Image Drop does with a photo, without AWS.

VENICE_BASE_URL=… VENICE_API_KEY=… python benchmarks/layer_script.py photo.jpg edited.png
"""

import os
import sys
import time
from pathlib import Path

from image_drop.imaging import photos
from image_drop.instructions.schema import Instructions, Mode
from image_drop.venice.client import Venice, longest_call


def edit(photo: str, edited: str) -> None:
    """Edit one photo as the functions do: check it, send it, check the answer."""
    wanted = Instructions(mode=Mode.EDIT, prompt="Remove the cup")
    venice = Venice(os.environ["VENICE_BASE_URL"], lambda: os.environ["VENICE_API_KEY"], time.time)
    prepared = [photos.prepare_photo(Path(photo).read_bytes())]
    answer = venice.edit(wanted, prepared, seconds=longest_call(wanted))
    Path(edited).write_bytes(photos.to_png(answer.data))


def prepare(photo: str, prepared: str) -> None:
    """Only prepare the photo for Venice."""
    Path(prepared).write_bytes(photos.prepare_photo(Path(photo).read_bytes()).data)


if __name__ == "__main__":
    edit(sys.argv[1], sys.argv[2])
