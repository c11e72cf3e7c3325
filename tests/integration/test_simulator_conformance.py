"""What the simulated Venice takes and refuses, over real HTTP.

The table of requests is the conformance table of the three image endpoints; the ids are its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from image_drop_local.simulator import Simulator
from tests.support.simulator_requests import (
    IMAGE,
    KEY,
    LAYER,
    PART,
    PLAIN,
    edit,
    edit_body,
    multi_body,
    opened,
    part,
    picture,
    text,
)

URL = "https://pictures.example/boat.jpg"
PRESIGNED = (
    "https://drop.s3.us-east-1.amazonaws.com/a%20b.jpg?X-Amz-Signature=0a1b&X-Amz-Expires=60"
)
HEIC = ("image", part(picture("HEIF"), "photo.heic", "image/heic"))
HEIC_LAYER = ("images", HEIC[1])
AVIF = ("image", part(picture("AVIF"), "photo.avif", "image/avif"))
FOUR = [IMAGE] * 4
LARGE = picture(size=(4097, 4097), mode="L")  # no scale of the upscaler fits


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
    Row("U-V1", "upscale", {"json": {"image": IMAGE}}, 200),
    Row("U-V2", "upscale", {"data": {"scale": "4", "creativity": "0.5"}, "files": [PART]}, 200),
    Row("U-V3-open", "upscale", {"json": {"image": IMAGE, "prompt": "red"}}, 200),
    Row("U-I1", "upscale", {"json": {}}, 400),
    Row("U-I2", "upscale", {"json": {"image": IMAGE, "scale": 5}}, 400),
    Row("U-I3-small", "upscale", {"json": {"image": text(picture(size=(200, 200)))}}, 400),
    Row("U-I4-large", "upscale", {"files": [("image", part(LARGE))]}, 400),
    Row("U-I5", "upscale", {"json": {"image": IMAGE}, "headers": {}}, 402),
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
        assert f"image/{(opened(answer).format or '').lower()}" == row.kind
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
