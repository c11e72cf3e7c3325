"""An image is uploaded, and the upload function edits it at once."""

import hashlib
import io
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from functions.upload import app
from tests.support.lambda_context import FakeContext
from tests.support.pictures import photo, pixel
from tests.support.stage import INPUT, Stage, sample

CUT_OUT = {"mode": "background-remove"}
LONG_KEY = "long/" + "é" * ((1024 - len("long/") - len(".jpg")) // 2) + "x.jpg"

Metrics = Callable[[], dict[str, list[float]]]


def test_cut_out_has_subject_and_transparent_background(stage: Stage) -> None:
    stage.venice.change(pictures="real")

    assert stage.drop("products/shoe.jpg", tags=CUT_OUT) == "edited"

    assert stage.outputs() == ["products/shoe.jpg.png"]
    image = stage.result("products/shoe.jpg.png")
    assert image.format == "PNG"
    assert image.size == (320, 260)
    assert pixel(image, 5, 5)[3] == 0
    red, green, blue, alpha = pixel(image, 160, 130)
    assert alpha == 255
    assert red > 100 > max(green, blue)


def test_result_says_what_it_was_made_of(stage: Stage) -> None:
    stage.drop("shoe.jpg", sidecar={"prompt": "make the sky pink", "model": "qwen-image-2-edit"})

    head = stage.s3.head_object(Bucket=stage.env["OUTPUT_BUCKET"], Key="shoe.jpg.png")
    source = stage.s3.head_object(Bucket=INPUT, Key="shoe.jpg")
    assert head["ContentType"] == "image/png"
    metadata = head["Metadata"]
    assert len(metadata.pop("edit-id")) == 32
    assert len(metadata.pop("call")) == 32
    assert metadata.pop("venice-request-id").endswith("-SIM")
    assert metadata == {
        "cost-usd": "0.050000",
        "seconds": "0.0",
        "source-key": "shoe.jpg",
        "source-etag": source["ETag"].strip('"'),
        "mode": "edit",
        "model": "qwen-image-2-edit",
    }


@pytest.mark.parametrize(
    "instructions",
    [
        {"mode": "edit", "prompt": "make the sky pink"},
        {"prompt": "make the sky pink", "aspect_ratio": "16:9", "safe_mode": False},
        {"prompt": "pink", "model": "gpt-image-2-edit", "resolution": "2K", "enhance_prompt": True},
        {"mode": "multi-edit", "prompt": "sharpen"},
        {"mode": "multi-edit", "prompt": "pink", "model": "gpt-image-2-edit", "quality": "low"},
        {"mode": "background-remove", "prompt": "not for this mode", "aspect_ratio": "1:1"},
    ],
    ids=["edit", "edit-fields", "edit-model", "multi-edit", "multi-edit-fields", "removal"],
)
def test_every_mode_leaves_png_and_event(
    stage: Stage, metrics: Metrics, instructions: dict[str, Any]
) -> None:
    assert stage.drop("a.jpg", sidecar=instructions) == "edited"

    assert stage.outputs() == ["a.jpg.png"]
    assert stage.result("a.jpg.png").format == "PNG"
    assert stage.waiting() == 0
    assert stage.paid == stage.calls == 1
    ((kind, detail),) = stage.events()
    assert kind == "Image Edited"
    assert detail["input"] == {"bucket": INPUT, "key": "a.jpg"}
    assert detail["output"] == {"bucket": stage.env["OUTPUT_BUCKET"], "key": "a.jpg.png"}
    assert detail["mode"] == instructions.get("mode", "edit")
    assert detail["edit_id"] == stage.metadata("a.jpg.png")["edit-id"]
    assert detail["attempts"] == 1
    assert metrics()["Edited"] == [1]


def test_answer_that_is_jpeg_is_stored_as_png(stage: Stage) -> None:
    stage.venice.faults.add("jpeg")

    stage.drop("a.jpg", tags={"prompt": "pink"})

    assert stage.read("a.jpg.png").startswith(b"\x89PNG")
    assert stage.result("a.jpg.png").format == "PNG"


def test_blurred_picture_says_so(stage: Stage) -> None:
    stage.venice.faults.add("blurred")

    stage.drop("a.jpg", tags={"prompt": "pink"})

    assert stage.metadata("a.jpg.png")["blurred"] == "true"


@pytest.mark.parametrize(
    "key",
    [
        "a b.jpg",
        "a+b.jpg",
        "a%20b.jpg",
        "100%.jpg",
        "Übergröße ☂.jpg",
        "照片/鞋.jpg",
        "deep/er/and/deeper/a.jpg",
        "no-suffix",
        "many...dots.jpg",
        "a//b.jpg",
        "/leading.jpg",
        "a&b=c;d,e?f#g.jpg",
        "(1)[2]{3}'4'\"5\".jpg",
        LONG_KEY,
    ],
)
def test_any_key_is_edited(stage: Stage, key: str) -> None:
    assert stage.drop(key, metadata=CUT_OUT) == "edited"

    (output,) = stage.outputs()
    assert output == f"{key}.png" if key != LONG_KEY else len(output.encode()) <= 1024
    if key != LONG_KEY:
        assert stage.metadata(output)["source-key"] == quote(key, safe="/ :;,.=+@()")


def test_longest_key_gets_its_report(stage: Stage) -> None:
    assert len(LONG_KEY.encode()) == 1024

    assert stage.drop(LONG_KEY) == "reported"

    (output,) = stage.outputs()
    assert output.endswith(".error.json")
    assert len(output.encode()) <= 1024


def test_space_that_tool_wrote_as_percent_20_is_space(stage: Stage) -> None:
    event = stage.put("a b.jpg", tags=CUT_OUT)
    event["Records"][0]["s3"]["object"]["key"] = "a%20b.jpg"

    assert stage.upload(event) == {"a b.jpg": "edited"}


@pytest.mark.parametrize(
    "key",
    [
        "folder/",
        ".hidden.jpg",
        "photos/.hidden.jpg",
        ".folder/a.jpg",
        "photos/_layers/.image-drop.json",
        "_layers/mask.png",
        "photos/_layers/mask.png",
        "photos/_layers/more/mask.png",
        "photos/_layers/mask.png.json",
    ],
)
def test_key_that_is_no_upload_starts_nothing(stage: Stage, key: str) -> None:
    assert stage.upload(stage.put(key, tags=CUT_OUT)) == {}

    assert stage.outputs() == []
    assert stage.waiting() == stage.calls == 0
    assert stage.events() == []


@pytest.mark.parametrize("name", ["s3-test", "s3-remove"])
def test_event_that_is_no_upload_starts_nothing(stage: Stage, name: str) -> None:
    assert stage.upload(sample(name)) == {}

    assert stage.outputs() == []
    assert stage.waiting() == stage.calls == 0


def test_sample_events_name_image_and_its_sidecar(stage: Stage) -> None:
    stage.put("products/red shoe (left).jpg")
    stage.put_json("products/red shoe (left).jpg.json", mode="background-remove")

    assert stage.upload(sample("s3-put")) == {"products/red shoe (left).jpg": "edited"}
    assert stage.upload(sample("s3-put-sidecar")) == {"products/red shoe (left).jpg": "done before"}

    assert stage.outputs() == ["products/red shoe (left).jpg.png"]


def test_each_record_of_event_is_upload(stage: Stage) -> None:
    event = stage.put("good.jpg", tags=CUT_OUT)
    event["Records"] += stage.put("bad.jpg", b"no picture", tags=CUT_OUT)["Records"]
    event["Records"] += stage.put("other.jpg", tags=CUT_OUT)["Records"]

    assert stage.upload(event) == {
        "good.jpg": "edited",
        "bad.jpg": "reported",
        "other.jpg": "edited",
    }

    assert stage.outputs() == ["bad.jpg.error.json", "good.jpg.png", "other.jpg.png"]


def test_results_go_where_template_says(stage: Stage) -> None:
    stage.configure(OUTPUT_KEY_FORMAT="{folder}{mode}/{stem}.png")

    stage.drop("products/red.shoe.jpg", tags=CUT_OUT)

    assert stage.outputs() == ["products/background-remove/red.shoe.png"]


def test_drop_of_ten_into_idle_system_is_edited_at_once(stage: Stage) -> None:
    started = stage.clock.now()
    events = [stage.put(f"{number}.jpg", tags=CUT_OUT) for number in range(10)]

    assert [*map(stage.upload, events)] == [{f"{n}.jpg": "edited"} for n in range(10)]

    assert stage.clock.now() - started < 12  # a second for each upload
    assert stage.waiting() == 0


def test_upload_without_free_slot_waits_in_queue_without_call(stage: Stage) -> None:
    endings = [stage.drop(f"{number}.jpg", tags=CUT_OUT) for number in range(25)]

    edited = endings.count("edited")
    assert edited == stage.calls < 25
    assert endings == ["edited"] * edited + ["queued"] * (25 - edited)
    assert stage.waiting() == 25 - edited

    stage.work_off()

    assert stage.outputs() == sorted(f"{number}.jpg.png" for number in range(25))
    assert stage.paid == stage.calls == 25
    assert {call.refused for call in stage.venice.calls} == {None}


def test_function_makes_its_services_from_environment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stage.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(app, "services", stage.own_services)

    try:
        answer = app.handler(stage.put("a.jpg", tags=CUT_OUT), FakeContext())
    finally:
        stage.own_services.cache_clear()

    assert answer == {"a.jpg": "edited"}
    assert stage.outputs() == ["a.jpg.png"]


def test_photo_is_sent_as_it_is(stage: Stage) -> None:
    stage.drop("a.jpg", photo("navy"), tags=CUT_OUT)

    (call,) = stage.venice.calls
    assert call.image_sha256 == hashlib.sha256(photo("navy")).hexdigest()
    assert "changes" not in stage.metadata("a.jpg.png")


@pytest.mark.parametrize(("size", "told"), [((320, 260), False), ((400, 400), True)])
def test_mask_of_another_size_is_told_in_log_and_sent(
    stage: Stage, log: io.StringIO, size: tuple[int, int], told: bool
) -> None:
    stage.put("_layers/mask.png", photo(size=size, form="PNG"))
    instructions = {"prompt": "put the logo on it", "layers": ["_layers/mask.png"]}

    assert stage.drop("a.jpg", sidecar=instructions) == "edited"

    assert ("layer has another size" in log.getvalue()) is told
    assert stage.outputs() == ["a.jpg.png"]


def test_warm_edit_takes_sixteen_requests_to_aws(stage: Stage) -> None:
    stage.deliver(stage.put("warm.jpg", metadata={"prompt": "pink"}))
    stage.interruptions.plan(None)
    stage.deliver(stage.put("a.jpg", metadata={"prompt": "blue"}))
    assert len(stage.interruptions.requests) <= 16
    assert stage.outputs("a.jpg") == ["a.jpg.png"]
