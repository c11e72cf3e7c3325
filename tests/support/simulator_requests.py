"""Requests to the simulated Venice as a program without the layer's client makes them."""

import base64
import io
from functools import cache
from typing import Any

import requests
from PIL import Image, ImageDraw

from image_drop_local.simulator import Simulator

KEY = {"Authorization": "Bearer a-key"}


@cache
def picture(form: str = "PNG", size: tuple[int, int] = (300, 260), mode: str = "RGB") -> bytes:
    """A product shot: something dark red in the middle of white."""
    image = Image.new("RGB", size, "white")
    width, height = size
    box = (width * 0.25, height * 0.25, width * 0.75, height * 0.75)
    ImageDraw.Draw(image).rectangle(box, fill=(130, 20, 30))
    out = io.BytesIO()
    image.convert(mode).save(out, form)
    return out.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def part(data: bytes, name: str = "photo.png", kind: str = "image/png") -> tuple[str, bytes, str]:
    return (name, data, kind)


def opened(answer: requests.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(answer.content))
    image.load()
    return image


IMAGE = text(picture())
PART = ("image", part(picture()))
LAYER = ("images", part(picture()))
PLAIN: dict[str, Any] = {
    "data": b"hello",
    "headers": {**KEY, "Content-Type": "text/plain"},
}


def edit_body(**changes: Any) -> dict[str, Any]:
    return {"json": {"image": IMAGE, "prompt": "a red sky", **changes}}


def multi_body(**changes: Any) -> dict[str, Any]:
    return {"json": {"images": [IMAGE], "prompt": "a red sky", **changes}}


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


MINUTE = 60 * 29_000_000  # the start of a fixed window


def edit(venice: Simulator, **changes: Any) -> requests.Response:
    key = changes.pop("key", "a-key")
    return requests.post(
        f"{venice.url}/image/edit",
        headers={"Authorization": f"Bearer {key}"},
        timeout=changes.pop("timeout", 10),
        **edit_body(**changes),
    )


def remove(venice: Simulator) -> requests.Response:
    return requests.post(
        f"{venice.url}/image/background-remove", headers=KEY, files=[PART], timeout=10
    )
