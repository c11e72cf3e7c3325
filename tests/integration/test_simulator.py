"""The simulated Venice over real HTTP: what it takes and refuses, its limits, faults, pictures.

The table of requests is the conformance table of the three image endpoints; the ids are its own.
"""

import base64
import hashlib
import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import requests
import skimage
from PIL import Image, ImageChops, ImageDraw, ImageStat

from image_drop.errors import Charge, ImageDropError, NoAnswerError
from image_drop.imaging.photos import Photo
from image_drop.instructions.schema import Instructions, Mode
from image_drop.venice.client import Venice
from image_drop_local.simulator import Simulator, most_in

KEY = {"Authorization": "Bearer a-key"}
SIMULATOR = (sys.executable, "-m", "image_drop_local.simulator", "--port", "0")
PHOTOS = Path(skimage.__file__).parent / "data"
URL = "https://pictures.example/boat.jpg"
PRESIGNED = (
    "https://drop.s3.us-east-1.amazonaws.com/a%20b.jpg?X-Amz-Signature=0a1b&X-Amz-Expires=60"
)


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


# The conformance table

IMAGE = text(picture())
PART = ("image", part(picture()))
LAYER = ("images", part(picture()))
HEIC = ("image", part(picture("HEIF"), "photo.heic", "image/heic"))
HEIC_LAYER = ("images", HEIC[1])
AVIF = ("image", part(picture("AVIF"), "photo.avif", "image/avif"))
FOUR = [IMAGE] * 4
PLAIN: dict[str, Any] = {
    "data": b"hello",
    "headers": {**KEY, "Content-Type": "text/plain"},
}


def edit_body(**changes: Any) -> dict[str, Any]:
    return {"json": {"image": IMAGE, "prompt": "a red sky", **changes}}


def multi_body(**changes: Any) -> dict[str, Any]:
    return {"json": {"images": [IMAGE], "prompt": "a red sky", **changes}}


@dataclass(frozen=True)
class Row:
    """`status` under the OpenAPI file, and under the newer documents where they differ."""

    id: str
    endpoint: str
    request: dict[str, Any]
    status: int
    newer: int | None = None
    kind: str = "image/png"


TABLE = [
    Row("E-V1", "edit", edit_body(), 200),
    Row(
        "E-V2",
        "edit",
        edit_body(image=URL, aspect_ratio="16:9", output_format="webp"),
        200,
        kind="image/webp",
    ),
    Row(
        "E-V3",
        "edit",
        edit_body(model="gpt-image-2-edit", resolution="2K"),
        200,
        kind="image/jpeg",
    ),
    Row("E-V4", "edit", {"data": {"prompt": "a red sky"}, "files": [PART]}, 200),
    Row(
        "E-V5",
        "edit",
        edit_body(safe_mode=False, enhance_prompt=True, disable_prompt_optimization_thinking=True),
        200,
    ),
    Row("E-V7", "edit", edit_body(output_format="jpg"), 200, kind="image/jpeg"),
    Row("E-I1", "edit", {"json": {"image": IMAGE}}, 400),
    Row("E-I2", "edit", {"json": {"prompt": "a red sky"}}, 400),
    Row("E-I3", "edit", edit_body(prompt=""), 400),
    Row("E-I4", "edit", edit_body(prompt="x" * 32_769, model="nano-banana-2-edit"), 400),
    Row("E-I5", "edit", edit_body(aspect_ratio="5:7"), 400),
    Row("E-I6", "edit", edit_body(quality="high", model="gpt-image-2-edit"), 400),
    Row("E-I7", "edit", edit_body(output_format="gif"), 400),
    Row("E-I8", "edit", edit_body(image=text(picture(size=(100, 100)))), 400),
    Row("E-I9", "edit", edit_body(safe_mode="yes"), 400),
    Row("E-V8-alias", "edit", edit_body(model="qwen-edit"), 200),
    Row("E-V9-heic", "edit", {"data": {"prompt": "red"}, "files": [HEIC]}, 200),
    Row("E-V9-avif", "edit", {"data": {"prompt": "red"}, "files": [AVIF]}, 200),
    Row("E-I11", "edit", edit_body(model="no-such-edit"), 400),
    Row("E-I17-side", "edit", edit_body(image=text(picture(size=(2000, 63)))), 400),
    Row("E-I18-media", "edit", edit_body(image="http://127.0.0.1:9/closed.png"), 404),
    Row("E-I12", "edit", {"files": [PART]}, 400),
    Row("E-I13", "edit", {"data": {"prompt": "red", "seed": "7"}, "files": [PART]}, 400),
    Row("E-I14", "edit", PLAIN, 400),
    Row("E-I15", "edit", {**edit_body(), "headers": {}}, 402),
    Row(
        "E-I15-bad-key",
        "edit",
        {**edit_body(), "headers": {"Authorization": "Bearer revoked"}},
        401,
    ),
    Row(
        "E-I16",
        "edit",
        {
            "data": {"prompt": "red"},
            "files": [("image", part(picture(size=(6000, 6000), mode="L")))],
        },
        400,
        422,
    ),
    Row("M-V1", "multi-edit", multi_body(), 200),
    Row(
        "M-V2",
        "multi-edit",
        multi_body(images=[URL, f"data:image/png;base64,{IMAGE}"]),
        200,
    ),
    Row("M-V3", "multi-edit", {"data": {"prompt": "red"}, "files": [LAYER, LAYER]}, 200),
    Row(
        "M-V4",
        "multi-edit",
        multi_body(modelId="gpt-image-2-edit", quality="medium", resolution="2K"),
        200,
        kind="image/jpeg",
    ),
    Row(
        "M-V5",
        "multi-edit",
        multi_body(images=[IMAGE, IMAGE, IMAGE], output_format="webp"),
        200,
        kind="image/webp",
    ),
    Row("M-V6", "multi-edit", {"data": {"prompt": "red"}, "files": [LAYER]}, 200),
    Row("M-I1", "multi-edit", multi_body(images=[]), 400),
    Row("M-I2", "multi-edit", {"json": {"prompt": "red"}}, 400),
    Row("M-I3", "multi-edit", multi_body(images=IMAGE), 400),
    Row("M-I4", "multi-edit", multi_body(model="firered-image-edit"), 400),
    Row("M-I5", "multi-edit", multi_body(modelId="gpt-image-2-edit", quality="ultra"), 400),
    Row("M-I6", "multi-edit", {"json": {"images": [IMAGE]}}, 400),
    Row("M-I7", "multi-edit", multi_body(images=FOUR), 400),
    Row("M-I8", "multi-edit", multi_body(resolution="12345678901"), 400),
    Row("M-I9", "multi-edit", multi_body(images=[12]), 400),
    Row(
        "M-I10",
        "multi-edit",
        {"files": [("prompt", (None, "red")), ("images", (None, URL))]},
        400,
    ),
    Row("M-I11", "multi-edit", multi_body(modelId="luma-uni-1-edit"), 400),
    Row("M-I12", "multi-edit", {"files": [("prompt", (None, "red"))]}, 400),
    Row("M-I13-plain", "multi-edit", PLAIN, 400),
    Row("M-I14-empty", "multi-edit", {}, 415),
    Row("M-I15-files", "multi-edit", {"data": {"prompt": "red"}, "files": [LAYER] * 11}, 400),
    Row("M-V7-resolution", "multi-edit", multi_body(resolution="2K"), 200),
    Row("M-V8-heic", "multi-edit", {"data": {"prompt": "red"}, "files": [LAYER, HEIC_LAYER]}, 200),
    Row("B-V1", "background-remove", {"json": {"image_url": URL}}, 200),
    Row("B-V2", "background-remove", {"json": {"image": IMAGE}}, 200),
    Row(
        "B-V3",
        "background-remove",
        {"files": [("image", part(picture("JPEG"), "p.jpg", "image/jpeg"))]},
        200,
    ),
    Row("B-V4", "background-remove", {"json": {"image_url": PRESIGNED}}, 200),
    Row(
        "B-V5",
        "background-remove",
        {"files": [("image", part(picture("WEBP"), "p.webp", "image/webp"))]},
        200,
    ),
    Row("B-V6-small", "background-remove", {"files": [("image", part(picture(size=(9, 9))))]}, 200),
    Row("B-I11-heic", "background-remove", {"files": [HEIC]}, 400),
    Row("B-I1", "background-remove", {"json": {}}, 400),
    Row("B-I2", "background-remove", {"json": {"image": IMAGE, "model": "bria-bg-remover"}}, 400),
    Row("B-I3", "background-remove", {"json": {"image": IMAGE, "image_url": URL}}, 400),
    Row("B-I4", "background-remove", {"json": {"image_url": "not a url"}}, 400),
    Row("B-I5", "background-remove", {"json": {"image_url": 123}}, 400),
    Row("B-I6", "background-remove", {"json": {"image": IMAGE, "prompt": "red"}}, 400),
    Row("B-I7", "background-remove", {"files": [("other", (None, ""))]}, 400),
    Row("B-I8", "background-remove", PLAIN, 400),
    Row("B-I9", "background-remove", {"files": [("image_url", (None, URL))]}, 400),
    Row("B-I10", "background-remove", {"json": {"image": IMAGE}, "headers": {}}, 402),
]


@pytest.fixture(scope="module", params=["spec", "skill"])
def each_version(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    with Simulator(
        limit=10_000, lockout_failures=10_000, bad_keys=["revoked"], documents=request.param
    ) as venice:
        yield venice


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
def test_conformance(row: Row, each_version: Simulator) -> None:
    answer = requests.post(
        f"{each_version.url}/image/{row.endpoint}", **{"headers": KEY, **row.request}, timeout=10
    )
    newer = each_version.settings.documents == "skill" and row.newer is not None
    assert answer.status_code == (row.newer if newer else row.status), answer.text
    if answer.status_code == 200:
        assert answer.headers["Content-Type"] == row.kind
        assert f"image/{opened(answer).format.lower()}" == row.kind
    else:
        assert answer.json()["error"]


def test_enhanced_prompt_comes_back_url_encoded(each_version: Simulator) -> None:
    answer = requests.post(
        f"{each_version.url}/image/edit",
        headers=KEY,
        timeout=10,
        **edit_body(prompt="ein schönes Bild", enhance_prompt=True),
    )
    assert unquote(answer.headers["x-venice-enhanced-prompt"]).startswith("ein schönes Bild")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"prompt": "x" * 1500}, 200),
        ({"prompt": "x" * 1501}, 400),
        ({"resolution": "1K"}, 400),  # the model has none, so it takes not even the default
        ({"resolution": "1K", "model": "grok-imagine-edit"}, 200),
        ({"resolution": "4K", "model": "grok-imagine-edit"}, 400),
        ({"aspect_ratio": "auto", "model": "wan-2-7-pro-edit"}, 200),
        ({"aspect_ratio": "1:1", "model": "wan-2-7-pro-edit"}, 400),
        ({"modelId": "qwen-image-2-edit"}, 200),
        ({"model": "bria-bg-remover"}, 400),
        ({"image": f"data:image/png;base64,{IMAGE}"}, 400),
        ({"image": "not base64!"}, 400),
        ({"image": text(b"GIF89a" + bytes(100))}, 400),
        ({"image": text(picture("BMP"))}, 400),
        ({"image": text(picture("JPEG")[:1500])}, 400),
    ],
)
def test_edit_keeps_to_what_model_takes(changes: dict[str, Any], status: int) -> None:
    with Simulator() as venice:
        answer = requests.post(
            f"{venice.url}/image/edit", headers=KEY, timeout=10, **edit_body(**changes)
        )
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("model", ["firered-image-edit", "gpt-image-2-edit", "wan-2-7-pro-edit"])
def test_each_model_takes_ratios_that_it_lists(model: str) -> None:
    known = ["auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:5", "4:3"]
    with Simulator(pictures="fast", lockout_failures=100) as venice:
        page = requests.get(f"{venice.url}/models", params={"type": "inpaint"}, timeout=10).json()
        specs = {entry["id"]: entry["model_spec"] for entry in page["data"]}
        taken = [
            ratio
            for ratio in known
            if edit(venice, aspect_ratio=ratio, model=model).status_code == 200
        ]
        assert sorted(taken) == sorted(specs[model]["constraints"]["aspectRatios"])
        assert edit(venice, model=model).status_code == 200  # each has a default of its own


@pytest.mark.parametrize(
    ("endpoint", "data"), [("edit", {"prompt": "red"}), ("background-remove", {})]
)
def test_file_of_25_megabytes_is_too_large(endpoint: str, data: dict[str, str]) -> None:
    padded = picture() + bytes(25_000_000 - len(picture()))
    with Simulator() as venice:
        for content, status in ((padded, 413), (padded[:-1], 200)):
            answer = requests.post(
                f"{venice.url}/image/{endpoint}",
                headers=KEY,
                data=data,
                files=[("image", part(content))],
                timeout=10,
            )
            assert answer.status_code == status
        assert [call.paid for call in venice.calls] == [False, True]


def test_json_over_35_megabytes_is_refused_unread() -> None:
    with Simulator() as venice:
        answer = requests.post(
            f"{venice.url}/image/edit",
            data=b'{"image": "' + b"A" * 35_000_000,
            headers={**KEY, "Content-Type": "application/json"},
            timeout=10,
        )
        assert answer.status_code == 413
        assert answer.json()["code"] == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_body_that_is_no_json_object_is_bad_request(body: bytes) -> None:
    with Simulator() as venice:
        answer = requests.post(
            f"{venice.url}/image/edit",
            data=body,
            headers={**KEY, "Content-Type": "application/json"},
            timeout=10,
        )
        assert answer.status_code == 400


# Limits


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


def test_call_beyond_limit_is_refused_until_window_ends() -> None:
    clock = Clock(MINUTE + 10)
    with Simulator(limit=2, clock=clock) as venice:
        assert [edit(venice).status_code for _ in range(3)] == [200, 200, 429]
        clock.now = MINUTE + 59.9
        refused = edit(venice)
        assert refused.status_code == 429
        assert refused.headers["x-ratelimit-limit-requests"] == "2"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.headers["x-ratelimit-reset-requests"] == str((MINUTE + 60) * 1000)
        assert refused.headers["x-ratelimit-type"] == "RPM"
        assert "Retry-After" not in refused.headers
        clock.now = MINUTE + 60
        assert edit(venice).headers["x-ratelimit-remaining-requests"] == "1"
        assert [call.refused for call in venice.calls] == [
            None,
            None,
            "rate_limit",
            "rate_limit",
            None,
        ]
        assert sum(call.paid for call in venice.calls) == 3


def test_sliding_window_refuses_what_fixed_one_lets_through() -> None:
    for kind, expected in (("fixed", 200), ("sliding", 429)):
        clock = Clock(MINUTE + 58)
        with Simulator(limit=2, window_kind=kind, clock=clock) as venice:
            assert [edit(venice).status_code for _ in range(2)] == [200, 200]
            clock.now = MINUTE + 61
            assert edit(venice).status_code == expected
            clock.now = MINUTE + 58 + 60.5
            assert edit(venice).status_code == 200


def test_reset_in_seconds_and_retry_after_are_switches() -> None:
    clock = Clock(MINUTE + 12)
    with Simulator(limit=1, reset_unit="seconds", retry_after=True, clock=clock) as venice:
        edit(venice)
        refused = edit(venice)
        assert refused.headers["x-ratelimit-reset-requests"] == str(MINUTE + 60)
        assert refused.headers["Retry-After"] == "48"


def test_each_model_has_its_own_limit() -> None:
    with Simulator(limit=1, clock=Clock(MINUTE)) as venice:
        assert edit(venice).status_code == 200
        assert edit(venice).status_code == 429
        assert edit(venice, model="qwen-image-2-edit").status_code == 200
        assert remove(venice).status_code == 200


def test_short_window_frees_limit_in_real_time() -> None:
    with Simulator(limit=1, window=0.3, window_kind="sliding") as venice:
        assert edit(venice).status_code == 200
        assert edit(venice).status_code == 429
        time.sleep(0.35)
        assert edit(venice).status_code == 200


def test_over_twenty_failures_lock_key_out_for_thirty_seconds() -> None:
    clock = Clock(MINUTE)
    with Simulator(clock=clock, pictures="fast") as venice:
        assert {edit(venice, prompt="").status_code for _ in range(21)} == {400}
        refused = edit(venice)
        assert refused.status_code == 429
        assert refused.json()["error"] == (
            "Too many failed attempts (> 20) resulting in a non-success status code. "
            "Please wait 30s and try again."
        )
        assert edit(venice, key="another").status_code == 200
        clock.now = MINUTE + 29.9
        assert edit(venice).status_code == 429
        clock.now = MINUTE + 30
        assert edit(venice).status_code == 200
        assert venice.lock_outs == 1
        assert [call.refused for call in venice.calls].count("lock_out") == 2


def test_twenty_failures_or_slower_ones_lock_nobody_out() -> None:
    clock = Clock(MINUTE)
    with Simulator(clock=clock, pictures="fast") as venice:
        for _ in range(40):
            edit(venice, prompt="")
            clock.now += 1.5  # 20 in 30 s
        assert edit(venice).status_code == 200
        assert venice.lock_outs == 0


def test_refused_calls_lock_key_out_only_if_switched_on() -> None:
    for counts in (False, True):
        with Simulator(
            limit=1, lockout_counts_429=counts, clock=Clock(MINUTE), pictures="fast"
        ) as venice:
            for _ in range(23):
                edit(venice)
            assert venice.lock_outs == counts
            assert edit(venice, key="another").json()["error"] == "Rate limit exceeded"


def test_server_errors_lock_nobody_out() -> None:
    with Simulator(limit=100, pictures="fast") as venice:
        venice.faults.add(503, times=25)
        assert {edit(venice).status_code for _ in range(25)} == {503}
        assert edit(venice).status_code == 200


def test_newer_documents_do_not_count_failures_before_budget() -> None:
    for documents, lock_outs in (("spec", 1), ("skill", 0)):
        with Simulator(documents=documents, lockout_failures=3) as venice:
            for _ in range(4):
                requests.post(f"{venice.url}/image/edit", timeout=10, **PLAIN)
            assert venice.lock_outs == lock_outs


def test_newer_documents_show_error_budget() -> None:
    with Simulator(documents="skill", clock=Clock(MINUTE)) as venice:
        assert edit(venice).headers["x-ratelimit-remaining"] == "20"
        spoilt = edit(venice, prompt="")
        assert spoilt.headers["x-ratelimit-remaining"] == "19"
        assert spoilt.headers["x-ratelimit-resets"] == str((MINUTE + 30) * 1000)
        venice.change(documents="spec")
        assert "x-ratelimit-remaining" not in edit(venice).headers


def test_unknown_form_part_is_refused_only_by_stricter_documents() -> None:
    for documents, status in (("spec", 400), ("skill", 200)):
        with Simulator(documents=documents) as venice:
            answer = requests.post(
                f"{venice.url}/image/multi-edit",
                headers=KEY,
                data={"prompt": "red", "model": "firered-image-edit"},
                files=[LAYER],
                timeout=10,
            )
            assert answer.status_code == status


# Account and headers


@pytest.mark.parametrize(
    ("account", "status", "permitted"),
    [
        ("no_balance", 402, False),
        ("spend_limit", 402, True),
        ("forbidden", 403, False),
        ("bad_key", 401, None),
    ],
)
def test_account_trouble_refuses_every_call_until_it_is_over(
    account: str, status: int, permitted: bool | None
) -> None:
    with Simulator(account=account) as venice:
        assert edit(venice).status_code == status
        assert remove(venice).status_code == status
        page = requests.get(f"{venice.url}/api_keys/rate_limits", headers=KEY, timeout=10)
        if permitted is None:
            assert page.status_code == 401
        else:
            assert page.json()["data"]["accessPermitted"] is permitted
        venice.change(account="ok")
        assert edit(venice).status_code == 200
        assert [call.paid for call in venice.calls] == [False, False, False, True]


def test_account_page_tells_limits_and_balance() -> None:
    with Simulator(limit=7, balance_usd=10) as venice:
        edit(venice)
        page = requests.get(f"{venice.url}/api_keys/rate_limits", headers=KEY, timeout=10)
        data = page.json()["data"]
        assert data["balances"]["USD"] == 9.96
        limits = {row["apiModelId"]: row["rateLimits"] for row in data["rateLimits"]}
        assert limits["firered-image-edit"] == [{"amount": 7, "type": "RPM"}]
        anonymous = requests.get(f"{venice.url}/api_keys/rate_limits", timeout=10)
        assert anonymous.status_code == 402


def test_balance_falls_by_price_until_it_is_used_up() -> None:
    with Simulator(balance_usd=0.1) as venice:
        answers = [edit(venice), remove(venice), edit(venice), remove(venice), remove(venice)]
        assert [answer.status_code for answer in answers] == [200, 200, 402, 200, 402]
        balances = [answer.headers.get("x-venice-balance-usd") for answer in answers]
        assert balances == ["0.100000", "0.060000", "0.030000", "0.030000", None]


@pytest.mark.parametrize(
    ("endpoint", "body", "usd"),
    [
        ("edit", edit_body(), 0.04),
        ("edit", edit_body(enhance_prompt=True), 0.08),
        ("edit", edit_body(model="gpt-image-2-edit", resolution="4K"), 0.84),
        ("edit", edit_body(model="grok-imagine-edit"), 0.0323),
        (
            "multi-edit",
            multi_body(
                modelId="gpt-image-2-edit", quality="low", resolution="2K", images=[IMAGE, IMAGE]
            ),
            0.0392,
        ),
        ("multi-edit", multi_body(modelId="seedream-v5-pro-edit", images=[IMAGE] * 3), 0.0669),
        ("background-remove", {"json": {"image": IMAGE}}, 0.03),
    ],
)
def test_price_is_that_of_catalogue(endpoint: str, body: dict[str, Any], usd: float) -> None:
    with Simulator(pictures="fast") as venice:
        requests.post(f"{venice.url}/image/{endpoint}", headers=KEY, timeout=10, **body)
        assert [call.charged_usd for call in venice.calls] == [pytest.approx(usd)]


def test_headers_are_those_of_endpoint() -> None:
    with Simulator() as venice:
        edited, removed = edit(venice), remove(venice)
        multi = requests.post(
            f"{venice.url}/image/multi-edit", headers=KEY, timeout=10, **multi_body()
        )
    assert edited.headers["x-venice-model-id"] == "firered-image-edit"
    assert edited.headers["x-venice-model-name"] == "FireRed Edit"
    assert edited.headers["x-venice-is-content-violation"] == "false"
    assert multi.headers["x-venice-is-content-violation"] == "false"
    assert "x-venice-model-id" not in multi.headers
    assert "x-venice-is-content-violation" not in removed.headers
    rays = {answer.headers["CF-RAY"] for answer in (edited, removed, multi)}
    assert len(rays) == 3
    assert edited.headers["x-venice-version"] == "simulation"


def test_deprecated_model_says_so() -> None:
    with Simulator(deprecated={"qwen-image-2-edit": "2026-12-01"}) as venice:
        headers = edit(venice, model="qwen-image-2-edit").headers
        assert headers["x-venice-model-deprecation-date"] == "2026-12-01"
        assert headers["x-venice-deprecated-replacement"] == "firered-image-edit"
        assert "x-venice-deprecated" not in edit(venice).headers


def test_catalogue_lists_edit_models_with_limits_and_prices() -> None:
    with Simulator() as venice:
        page = requests.get(f"{venice.url}/models", params={"type": "inpaint"}, timeout=10).json()
        models = {model["id"]: model["model_spec"] for model in page["data"]}
        images = requests.get(f"{venice.url}/models", params={"type": "image"}, timeout=10).json()
        everything = requests.get(f"{venice.url}/models", timeout=10).json()
        unknown = requests.get(f"{venice.url}/models", params={"type": "bogus"}, timeout=10)
    assert (page["object"], page["type"], len(models)) == ("list", "inpaint", 27)
    assert models["firered-image-edit"]["constraints"] == {
        "aspectRatios": ["auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:3", "4:5"],
        "promptCharacterLimit": 1500,
        "combineImages": True,
        "singleImageAspectRatio": True,
    }
    gpt = models["gpt-image-2-edit"]
    assert gpt["constraints"]["maxInputImages"] == 6
    assert gpt["constraints"]["qualities"] == ["low", "medium", "high"]
    assert gpt["pricing"]["inpaint"] == {"usd": 0.34, "diem": 0.34}
    assert gpt["pricing"]["quality"]["4K"]["medium"] == {"usd": 0.22, "diem": 0.22}
    assert gpt["pricing"]["inputImages"]["additional"]["usd"] == 0.0092
    assert models["luma-uni-1-edit"]["constraints"]["combineImages"] is False
    assert [model["id"] for model in images["data"]] == ["bria-bg-remover"]
    assert len(everything["data"]) == 28
    assert unknown.status_code == 400


# Faults

DEFAULT = "firered-image-edit"
PINK = Instructions(mode=Mode.EDIT, prompt="make the sky pink")
PHOTO = Photo(picture(), "image/png", 300, 260)
LOST_ANSWERS: dict[str, dict[str, Any]] = {
    "timeout": {"answer": "timeout"},
    "drop_after": {"answer": "drop_after"},
    "reset_after": {"answer": "reset_after"},
    "drop_mid": {"answer": "drop_mid"},
    "slow_head": {"answer": "slow_head", "seconds": 0.05},
    "slow_body": {"answer": "slow_body", "seconds": 0.05},
    "slow": {"answer": "slow", "seconds": 1.0},
    "html": {"answer": "html"},
    "empty": {"answer": "empty"},
    "408": {"answer": 408},
    "504": {"answer": 504},
    "524": {"answer": 524},
    "422": {"answer": 422, "charged": True},
}


def client(venice: Simulator) -> Venice:
    return Venice(venice.url, lambda: "secret-key", time.time)


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 410, 413, 415, 422, 429, 500, 502, 503]
)
def test_status_fault_answers_once_and_is_not_charged(status: int) -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(status, times=1)
        failed = edit(venice)
        assert failed.status_code == status
        assert failed.headers["CF-RAY"]
        assert failed.content
        assert edit(venice).status_code == 200
        assert [(call.status, call.paid) for call in venice.calls] == [(status, False), (200, True)]


@pytest.mark.parametrize("status", [408, 504, 524])
def test_status_of_gateway_that_stopped_waiting_is_charged(status: int) -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(status, times=1)
        assert edit(venice).status_code == status
        venice.faults.add(status, times=1, charged=False)
        assert edit(venice).status_code == status
        assert [(call.status, call.paid) for call in venice.calls] == [
            (status, True),
            (status, False),
        ]


def test_content_refusal_after_late_moderation_is_charged() -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(422, times=1)
        refusal = edit(venice)
        assert (refusal.status_code, list(refusal.json())) == (422, ["error"])
        venice.faults.add(422, times=1, charged=True)
        assert edit(venice).status_code == 422
        assert [call.charged_usd for call in venice.calls] == [0.0, 0.04]


@pytest.mark.parametrize("status", [402, 403])
def test_one_model_can_be_refused_while_account_is_well(status: int) -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(status, model="nano-banana-2-edit")
        assert edit(venice, model="nano-banana-2-edit").status_code == status
        assert edit(venice).status_code == 200
        page = requests.get(f"{venice.url}/api_keys/rate_limits", headers=KEY, timeout=10)
        assert page.json()["data"]["accessPermitted"] is True


def test_error_can_echo_key() -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(401, echo_key=True)
        assert "Bearer secret-key" in edit(venice, key="secret-key").json()["error"]
        assert "secret-key" not in str(venice.calls)


def test_429_fault_carries_wait_that_is_asked_for() -> None:
    clock = Clock(MINUTE + 0.25)
    with Simulator(clock=clock) as venice:
        venice.faults.add(429, times=1, retry_after=7)
        assert edit(venice).headers["Retry-After"] == "7"
        venice.faults.add(429, times=1, reset_after=5, reset_unit="seconds")
        bare = edit(venice)
        assert "Retry-After" not in bare.headers
        assert bare.headers["x-ratelimit-reset-requests"] == str(MINUTE + 6)
        venice.faults.add("overloaded", times=1)
        overloaded = edit(venice)
        assert (overloaded.status_code, overloaded.headers["Retry-After"]) == (429, "30")


@pytest.mark.parametrize("word", ["html", "empty", "truncated"])
def test_200_that_is_no_picture_is_charged(word: str) -> None:
    with Simulator() as venice:
        venice.faults.add(word)
        answer = edit(venice)
        assert answer.status_code == 200
        with pytest.raises(OSError):
            Image.open(io.BytesIO(answer.content)).load()
        assert [(call.fault, call.paid) for call in venice.calls] == [(word, True)]


def test_picture_faults_change_what_they_name() -> None:
    with Simulator() as venice:
        venice.faults.add("jpeg", times=1)
        jpeg = edit(venice, output_format="png")
        assert (jpeg.headers["Content-Type"], opened(jpeg).format) == ("image/jpeg", "JPEG")
        venice.faults.add("content_violation", times=1)
        assert edit(venice).headers["x-venice-is-content-violation"] == "true"
        venice.faults.add("blurred", times=1)
        assert edit(venice).headers["x-venice-is-blurred"] == "true"


@pytest.mark.parametrize(
    ("word", "status", "paid"),
    [
        ("reset", None, False),
        ("drop", None, False),
        ("drop_after", None, True),
        ("reset_after", None, True),
        ("drop_mid", 200, True),
    ],
)
def test_dropped_connection_is_charged_once_work_is_done(
    word: str, status: int | None, paid: bool
) -> None:
    with Simulator() as venice:
        venice.faults.add(word, times=1)
        broken = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
        with pytest.raises(broken):
            edit(venice)
        assert [(call.status, call.paid) for call in venice.calls] == [(status, paid)]
        assert edit(venice).status_code == 200


def test_held_answer_outlasts_client_and_ends_with_simulator() -> None:
    with Simulator() as venice:
        venice.faults.add("timeout")
        with pytest.raises(requests.ReadTimeout):
            edit(venice, timeout=0.2)
        assert [(call.status, call.paid) for call in venice.calls] == [(None, True)]
        stuck = threading.Thread(target=lambda: _ignore_failure(venice))
        stuck.start()
        while len(venice.calls) < 2:
            time.sleep(0.01)
        closing = time.monotonic()
    stuck.join(timeout=5)
    assert not stuck.is_alive()
    assert time.monotonic() - closing < 2


@pytest.mark.parametrize(("word", "status"), [("slow_head", None), ("slow_body", 200)])
def test_trickling_answer_never_reaches_read_timeout(word: str, status: int | None) -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(word, seconds=0.05)
        started = time.monotonic()
        with pytest.raises(NoAnswerError):
            client(venice).edit(PINK, [PHOTO], seconds=0.5)
        assert 0.5 <= time.monotonic() - started < 1.5
        assert [(call.status, call.paid) for call in venice.calls] == [(status, True)]


@pytest.mark.parametrize("fault", sorted(LOST_ANSWERS))
def test_book_of_charges_has_every_charged_call(fault: str) -> None:
    """And a client that trusts its own errors never takes a charged call for a free one."""
    with Simulator(pictures="fast") as venice:
        venice.faults.add(**LOST_ANSWERS[fault], times=1)
        with pytest.raises(ImageDropError) as caught:
            client(venice).edit(PINK, [PHOTO], seconds=0.5)
        venice.wait_until_idle()
        requests.delete(f"{venice.url.removesuffix('/api/v1')}/_simulator/calls", timeout=10)
        edit(venice)

        charges = venice.charges
        told = requests.get(f"{venice.url.removesuffix('/api/v1')}/_simulator/charges", timeout=10)
    assert caught.value.charge is not Charge.NO
    assert [(call.model, call.charged_usd) for call in charges] == [(DEFAULT, 0.04)] * 2
    assert charges[0].key_sha256 == hashlib.sha256(b"secret-key").hexdigest()
    assert len(told.json()) == 2


def _ignore_failure(venice: Simulator) -> None:
    with pytest.raises(requests.ConnectionError):
        edit(venice)


def test_slow_answer_is_late_and_right() -> None:
    with Simulator() as venice:
        venice.faults.add("slow", seconds=0.3, times=1)
        started = time.monotonic()
        assert opened(edit(venice)).format == "PNG"
        assert time.monotonic() - started >= 0.3


def test_fault_strikes_only_calls_it_names() -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(503, endpoint="background-remove")
        venice.faults.add(500, model="qwen-image-2-edit")
        venice.faults.add(504, prompt="dragon", times=2)
        assert edit(venice).status_code == 200
        assert remove(venice).status_code == 503
        assert edit(venice, model="qwen-image-2-edit").status_code == 500
        assert [edit(venice, prompt="a dragon!").status_code for _ in range(3)] == [504, 504, 200]
        venice.faults.clear()
        assert remove(venice).status_code == 200


def test_pages_fail_only_by_name() -> None:
    with Simulator() as venice:
        venice.faults.add(500)
        assert requests.get(f"{venice.url}/models", timeout=10).status_code == 200
        venice.faults.add(503, endpoint="rate_limits", times=1)
        page = f"{venice.url}/api_keys/rate_limits"
        assert requests.get(page, headers=KEY, timeout=10).status_code == 503
        assert requests.get(page, headers=KEY, timeout=10).status_code == 200


def test_unknown_fault_or_setting_is_named() -> None:
    with Simulator() as venice:
        with pytest.raises(msgspec.ValidationError, match="explode"):
            venice.faults.add("explode")  # type: ignore[arg-type]
        with pytest.raises(msgspec.ValidationError, match="endpont"):
            venice.faults.add(503, endpont="edit")
        with pytest.raises(msgspec.ValidationError, match="before the model"):
            venice.faults.add("reset", model="firered-image-edit")
        with pytest.raises(msgspec.ValidationError, match="limt"):
            venice.change(limt=3)
        with pytest.raises(msgspec.ValidationError, match="limit"):
            venice.change(limit=0)


def test_another_process_sets_it_up_over_http() -> None:
    with Simulator() as venice:
        control = venice.url.removesuffix("/api/v1") + "/_simulator"
        changed = requests.patch(f"{control}/settings", json={"limit": 3}, timeout=10)
        assert changed.json()["limit"] == venice.settings.limit == 3
        requests.post(f"{control}/faults", json={"answer": 503, "times": 1}, timeout=10)
        assert [edit(venice).status_code for _ in range(2)] == [503, 200]
        told = requests.get(f"{control}/calls", timeout=10).json()
        assert [call["status"] for call in told["calls"]] == [503, 200]
        assert (told["spent_usd"], told["lock_outs"]) == (0.04, 0)
        assert "a red sky" not in str(told)
        requests.delete(f"{control}/calls", timeout=10)
        assert venice.calls == []
        requests.post(f"{control}/faults", json={"answer": "empty"}, timeout=10)
        requests.delete(f"{control}/faults", timeout=10)
        assert requests.get(f"{control}/faults", timeout=10).json() == []
        for path, body in (("settings", {"limt": 3}), ("faults", {"answer": "x"}), ("faults", {})):
            send = requests.patch if path == "settings" else requests.post
            assert send(f"{control}/{path}", json=body, timeout=10).status_code == 400
        assert requests.get(f"{control}/nothing", timeout=10).status_code == 404


# Pictures


def test_cut_out_of_product_on_white_is_transparent_around_it() -> None:
    with Simulator() as venice:
        cut = opened(remove(venice))
    assert (cut.mode, cut.size) == ("RGBA", (300, 260))
    width, height = cut.size
    corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]
    assert [cut.getpixel(corner)[3] for corner in corners] == [0, 0, 0, 0]
    assert cut.getpixel((150, 130)) == (130, 20, 30, 255)
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
        assert alpha.getpixel((0, 0)) == 0
        assert alpha.getpixel((150, 150)) == 255


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
    corner = edited.crop((500, 370, 600, 400)).convert("L").getextrema()
    assert corner[1] - corner[0] > 60


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
    colours = {colour for _, colour in opened(answer).convert("RGB").getcolors(1_000_000)}
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


# The command


def test_command_prints_its_url_and_says_that_it_is_simulation() -> None:
    command = [
        sys.executable,
        "-m",
        "image_drop_local.simulator",
        "--port",
        "0",
        "--set",
        "limit=5",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, _, rest = process.stdout.readline().partition(" ")
        try:
            settings = url.removesuffix("/api/v1") + "/_simulator/settings"
            assert requests.get(settings, timeout=10).json()["limit"] == 5
            assert "simulation" in rest
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_command_names_bad_setting() -> None:
    command = [*SIMULATOR, "--set", "limt=5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "limt" in done.stderr


def test_taken_port_is_error() -> None:
    with Simulator() as venice:
        port = int(venice.url.split(":")[2].split("/")[0])
        with pytest.raises(OSError):
            Simulator(port)
