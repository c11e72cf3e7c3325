"""The pictures that the simulated Venice makes, and the images that it fetches."""

import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import skimage
from PIL import Image, ImageChops, ImageStat

from image_drop_local.simulator import Simulator, most_in
from tests.support.pictures import pixel
from tests.support.simulator_requests import KEY, LAYER, edit, opened, part, picture, remove, text

PHOTOS = Path(skimage.__file__).parent / "data"


def test_cut_out_of_product_on_white_is_transparent_around_it() -> None:
    with Simulator() as venice:
        cut = opened(remove(venice))
    assert (cut.mode, cut.size) == ("RGBA", (300, 260))
    width, height = cut.size
    corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]
    assert [pixel(cut, *corner)[3] for corner in corners] == [0, 0, 0, 0]
    assert pixel(cut, 150, 130) == (130, 20, 30, 255)
    assert any(0 < alpha < 255 for alpha, _ in enumerate(cut.getchannel("A").histogram()) if _)


@pytest.mark.parametrize("photo", ["coffee.png", "astronaut.png", "chelsea.png", "coins.png"])
def test_cut_out_of_photograph_keeps_some_and_clears_some(photo: str) -> None:
    with Simulator() as venice:
        files = [("image", part((PHOTOS / photo).read_bytes()))]
        answer = requests.post(
            f"{venice.url}/image/background-remove", headers=KEY, files=files, timeout=10
        )
    alpha = opened(answer).getchannel("A").histogram()
    assert alpha[0] / sum(alpha) > 0.05
    assert alpha[255] / sum(alpha) > 0.05


def test_picture_without_any_background_still_gets_transparency() -> None:
    for colour in ("white", "black"):
        out = io.BytesIO()
        Image.new("RGB", (300, 300), colour).save(out, "PNG")
        with Simulator() as venice:
            answer = requests.post(
                f"{venice.url}/image/background-remove",
                headers=KEY,
                json={"image": text(out.getvalue())},
                timeout=10,
            )
        alpha = opened(answer).getchannel("A")
        assert pixel(alpha, 0, 0) == (0,)
        assert pixel(alpha, 150, 150) == (255,)


def colours_of(image: Image.Image) -> list[tuple[int, Any]]:
    """How often each colour is there."""
    found = image.getcolors(1_000_000)
    assert found
    return [*found]


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean over all pixels and channels, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


PROMPTS = [
    "a red sky",
    "winter",
    "make it gold",
    "as a poster",
    "ink drawing",
    "at night",
    "mosaic",
]


def test_edit_is_visibly_different_and_follows_from_prompt() -> None:
    photo = (PHOTOS / "astronaut.png").read_bytes()
    original = Image.open(io.BytesIO(photo)).convert("RGB")
    with Simulator() as venice:
        edits = [opened(edit(venice, image=text(photo), prompt=prompt)) for prompt in PROMPTS]
        again = opened(edit(venice, image=text(photo), prompt=PROMPTS[0]))
    assert all(difference(original, edited) > 10 for edited in edits)
    assert again.tobytes() == edits[0].tobytes()
    assert len({edited.tobytes() for edited in edits}) == len(PROMPTS)
    assert edits[0].info["Software"] == "Image Drop's Venice simulator"


def test_edit_is_marked_as_simulation_in_its_corner() -> None:
    out = io.BytesIO()
    Image.new("RGB", (600, 400), (90, 140, 90)).save(out, "PNG")
    with Simulator() as venice:
        edited = opened(edit(venice, image=text(out.getvalue())))
    tones = [tone for _, tone in colours_of(edited.crop((500, 370, 600, 400)).convert("L"))]
    assert max(tones) - min(tones) > 60


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_every_format_names_its_maker(form: str) -> None:
    with Simulator() as venice:
        edited = opened(edit(venice, output_format=form))
    assert edited.getexif()[0x0131] == "Image Drop's Venice simulator"


def test_aspect_ratio_shapes_answer() -> None:
    with Simulator() as venice:
        wide = opened(edit(venice, aspect_ratio="16:9"))
        assert wide.width / wide.height == pytest.approx(16 / 9, rel=0.02)


def test_photo_stays_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter to the right
    out = io.BytesIO()
    Image.new("RGB", (400, 300), "navy").save(out, "JPEG", exif=exif)
    with Simulator() as venice:
        assert opened(edit(venice, image=text(out.getvalue()))).size == (300, 400)


def test_multi_edit_shows_every_layer() -> None:
    layer = io.BytesIO()
    Image.new("RGB", (300, 300), (0, 250, 0)).save(layer, "PNG")
    overlay = io.BytesIO()
    badge = Image.new("RGBA", (300, 260), (0, 0, 0, 0))
    badge.paste((250, 0, 250, 255), (100, 150, 200, 240))
    badge.save(overlay, "PNG")
    with Simulator() as venice:
        answer = requests.post(
            f"{venice.url}/image/multi-edit",
            headers=KEY,
            data={"prompt": "put them together"},
            files=[LAYER, ("images", part(layer.getvalue())), ("images", part(overlay.getvalue()))],
            timeout=10,
        )
    colours = {colour for _, colour in colours_of(opened(answer).convert("RGB"))}
    assert {(0, 250, 0), (250, 0, 250)} <= colours


def test_thirty_megapixels_take_less_than_two_seconds() -> None:
    large = part(picture("JPEG", size=(6500, 4700)), "large.jpg", "image/jpeg")
    with Simulator() as venice:
        for endpoint, data in (("edit", {"prompt": "red"}), ("background-remove", {})):
            started = time.monotonic()
            answer = requests.post(
                f"{venice.url}/image/{endpoint}",
                headers=KEY,
                data=data,
                files=[("image", large)],
                timeout=10,
            )
            assert answer.status_code == 200
            assert time.monotonic() - started < 2


def test_ready_made_pictures_keep_up_with_600_calls_per_minute() -> None:
    """80 calls of 0.2 s, 20 at once: 0.8 s if nothing else takes time."""
    with Simulator(limit=1000, latency=0.2, pictures="fast") as venice:
        started = time.monotonic()
        with ThreadPoolExecutor(20) as clients:
            answers = list(clients.map(lambda _: edit(venice), range(80)))
        assert {answer.status_code for answer in answers} == {200}
        assert time.monotonic() - started < 8  # 600 a minute
        assert most_in(venice.calls) == 80
        assert opened(answers[0]).format == "PNG"


# Images by URL


class _Shelf(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/boat.png")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(picture(size=(400, 300)))

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def shelf() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Shelf) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_local_url_is_fetched_and_any_other_gets_placeholder(shelf: str) -> None:
    with Simulator() as venice:
        assert opened(edit(venice, image=f"{shelf}/boat.png?X-Amz-Signature=1")).size == (400, 300)
        assert opened(edit(venice, image="https://nowhere.invalid/boat.png")).size == (512, 512)
        assert edit(venice, image=f"{shelf}/moved.png").status_code == 404
        assert edit(venice, image="http://127.0.0.1:9/closed.png").status_code == 404
