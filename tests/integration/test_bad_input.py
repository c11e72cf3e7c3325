"""Bad input: a report with its own code and what to do; no call, nothing queued, no failure."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from image_drop.instructions.sources import MAX_FILE_BYTES
from tests.support.pictures import photo
from tests.support.stage import INPUT, MappingState, Stage

if TYPE_CHECKING:
    from botocore.response import StreamingBody

CUT_OUT = {"mode": "background-remove"}
EDIT = {"prompt": "pink sky"}
TRUNCATED = photo(size=(640, 480))[: len(photo(size=(640, 480))) // 2]


def refused(stage: Stage, key: str, code: str, *words: str) -> dict[str, Any]:
    """Check that the image was refused before any call; its report."""
    assert stage.outputs() == [f"{key}.error.json"]
    report = stage.report(key)
    assert report["code"] == code
    assert report["key"] == key
    assert report["attempts"] == 0  # nothing was called
    assert report["status"] is report["request_id"] is None
    assert report["at"].startswith("2027-01-15T")  # the clock of the tests
    assert len(report["title"]) > 10
    assert len(report["what_to_do"]) > 20
    for word in words:
        assert word in report["detail"]
    assert stage.calls == stage.waiting() == stage.dead() == 0
    ((kind, event),) = stage.events()
    assert kind == "Image Edit Failed"
    assert (event["input"]["key"], event["code"]) == (key, code)
    assert event["output"]["key"] == f"{key}.error.json"
    return report


@pytest.mark.parametrize(
    ("instructions", "code", "words"),
    [
        ({}, "no_instructions", ["neither a mode nor a prompt"]),
        ({"mode": "background-removal"}, "unknown_mode", ["'background-remove'", "a.jpg.json"]),
        ({"mode": 7}, "unknown_mode", ["7"]),
        ({"mode": "edit"}, "missing_prompt", ["edit"]),
        ({"mode": "multi-edit", "layers": ["m.png"]}, "missing_prompt", ["multi-edit"]),
        ({"promt": "pink"}, "unknown_key", ["'promt'", "'prompt'", "a.jpg.json"]),
        ({"prompt": "pink", "zzz": 1}, "unknown_key", ["'zzz'", "aspect_ratio"]),
        ({"prompt": ""}, "invalid_value", ["prompt"]),
        ({"prompt": "  \n"}, "invalid_value", ["prompt"]),
        ({"prompt": "x" * 32_769}, "invalid_value", ["prompt", "32,768"]),
        ({"prompt": None}, "invalid_value", ["prompt", "null"]),
        ({"prompt": "pink", "aspect_ratio": "5:7"}, "invalid_value", ["aspect_ratio", "16:9"]),
        ({"prompt": "pink", "safe_mode": "perhaps"}, "invalid_value", ["safe_mode"]),
        ({"prompt": "pink", "layers": []}, "invalid_value", ["layers"]),
        ({"prompt": "pink", "layers": list("0123456789")}, "invalid_value", ["10 entries"]),
        ({"prompt": "x" * 1501}, "invalid_value", ["prompt", "firered-image-edit", "1,500"]),
        ({"prompt": "pink", "resolution": "4k"}, "invalid_value", ["resolution is 4K"]),
        (
            {"prompt": "pink", "model": "luma-uni-1-edit", "mode": "multi-edit"},
            "invalid_value",
            ["luma-uni-1-edit", "single image"],
        ),
        ({"prompt": "pink", "layers": ["http://x.example/a.png"]}, "invalid_value", ["https://"]),
        ({"prompt": "pink", "model": "no/such model"}, "invalid_value", ["model"]),
        ({"prompt": "pink", "layers": ["x" * 1030]}, "bad_layer", ["cannot be used"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_bad_instructions(
    stage: Stage, instructions: dict[str, Any], code: str, words: list[str]
) -> None:
    assert stage.drop("a.jpg", sidecar=instructions) == "reported"

    refused(stage, "a.jpg", code, *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"prompt: pink", ["a.jpg.json", "not JSON"]),
        (b'{"prompt": "pink"', ["not JSON"]),
        (b"", ["not JSON"]),
        (b'["pink"]', ["not an object"]),
        (b'"pink"', ["not an object"]),
        (b'{"prompt": "\xff\xfe"}', ["UTF-8"]),
        (b"[" * 60_000, ["a.jpg.json"]),
        (json.dumps({"prompt": "x" * MAX_FILE_BYTES}).encode(), ["65,536"]),
    ],
    ids=["yaml", "cut", "empty", "list", "text", "latin", "deep", "large"],
)
def test_sidecar_that_cannot_be_read(stage: Stage, content: bytes, words: list[str]) -> None:
    stage.put("a.jpg.json", content)

    assert stage.drop("a.jpg") == "reported"

    refused(stage, "a.jpg", "unreadable_instructions", *words)


def test_folder_file_that_cannot_be_read_is_named(stage: Stage) -> None:
    stage.put("products/.image-drop.json", b"{")

    stage.drop("products/a.jpg")

    refused(stage, "products/a.jpg", "unreadable_instructions", "products/.image-drop.json")


def test_one_wrong_folder_file_costs_no_call_per_photo(stage: Stage, mapping: MappingState) -> None:
    stage.watch()
    folder_file = {"prompt": "pink", "model": "nano-bananna-pro-edit"}
    stage.put("products/.image-drop.json", json.dumps(folder_file).encode())

    for name in ("a", "b", "c"):
        assert stage.drop(f"products/{name}.jpg") == "reported"

    assert stage.calls == 0
    report = stage.report("products/b.jpg")
    assert "Did you mean nano-banana-pro-edit?" in report["detail"]


def test_auto_is_not_sent_to_model_that_does_not_list_it(stage: Stage) -> None:
    wanted = {"prompt": "pink", "model": "gpt-image-2-edit", "aspect_ratio": "auto"}

    assert stage.drop("a.jpg", sidecar=wanted) == "edited"


def test_tag_with_near_miss_is_named(stage: Stage) -> None:
    stage.drop("a.jpg", tags={"promt": "pink"})

    refused(stage, "a.jpg", "unknown_key", "'promt'", "'prompt'", "tags")


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "empty_file", ["0 bytes"]),
        (b"This is a text.", "not_an_image", ["15 bytes"]),
        (b"%PDF-1.7 and so on", "not_an_image", []),
        (b"\xff\xd8\xff", "damaged_image", []),
        (TRUNCATED, "damaged_image", []),
        (photo(form="PNG")[:200], "damaged_image", []),
        (photo(size=(64, 64)), "too_small", ["64 × 64", "65,536"]),
        (photo(size=(255, 256)), "too_small", ["65,280"]),
        (photo(size=(20_000, 64)), "too_large", ["312 times"]),
    ],
    ids=["empty", "text", "pdf", "magic-only", "truncated", "cut-png", "64x64", "255x256", "line"],
)
def test_bad_image(stage: Stage, data: bytes, code: str, words: list[str]) -> None:
    assert stage.drop("a.jpg", data, tags=EDIT) == "reported"

    refused(stage, "a.jpg", code, *words)


def test_file_above_limit_is_refused_before_it_is_downloaded(stage: Stage) -> None:
    stage.configure(MAX_IMAGE_BYTES="1000")
    bodies: list[StreamingBody] = []

    def keep(parsed: dict[str, Any], **_: Any) -> None:
        if parsed.get("ContentLength") == len(photo("a.jpg")):
            bodies.append(parsed["Body"])

    stage.services.input_bucket.s3.meta.events.register("after-call.s3.GetObject", keep)

    assert stage.drop("a.jpg", tags=CUT_OUT) == "reported"

    refused(stage, "a.jpg", "too_large", "1,000", f"{len(photo('a.jpg')):,}")
    assert [body._amount_read for body in bodies] == [0]  # type: ignore[attr-defined]


def test_image_that_is_deleted_before_it_is_read(stage: Stage) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)
    stage.s3.delete_object(Bucket=INPUT, Key="a.jpg")

    assert stage.upload(event) == {"a.jpg": "reported"}

    refused(stage, "a.jpg", "image_deleted", "a.jpg")


@pytest.mark.parametrize("operation", ["GetObjectTagging", "GetObject"])
def test_image_that_is_deleted_while_it_is_looked_at(stage: Stage, operation: str) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)
    before(stage, operation, lambda: stage.s3.delete_object(Bucket=INPUT, Key="a.jpg"))

    assert stage.upload(event) == {"a.jpg": "reported"}

    refused(stage, "a.jpg", "image_deleted", "a.jpg")


@pytest.mark.parametrize("archived", ["a.jpg", "a.jpg.json", ".image-drop.json"])
def test_archived_object_is_reported_at_once(stage: Stage, archived: str) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)
    stage.s3.put_object(
        Bucket=INPUT, Key=archived, Body=photo(), Metadata=CUT_OUT, StorageClass="GLACIER"
    )

    assert stage.upload(event) == {"a.jpg": "reported"}

    refused(stage, "a.jpg", "unreadable_object", archived, "InvalidObjectState")


def test_bad_layer_is_named(stage: Stage) -> None:
    stage.put("_layers/mask.png", b"no picture")

    stage.drop("a.jpg", sidecar={"prompt": "blend", "layers": ["_layers/mask.png"]})

    refused(stage, "a.jpg", "bad_layer", "_layers/mask.png")


def test_corrected_image_gets_its_result_and_loses_its_report(stage: Stage) -> None:
    stage.drop("a.jpg", photo(size=(64, 64)), tags=EDIT)

    assert stage.drop("a.jpg", photo(), tags=EDIT) == "edited"

    assert stage.outputs() == ["a.jpg.png"]


@pytest.mark.parametrize(
    ("size", "changed"),
    [((256, 256), ""), ((7000, 5000), "shrunk")],
    ids=["smallest", "35-megapixels"],
)
def test_image_that_can_be_edited_is(stage: Stage, size: tuple[int, int], changed: str) -> None:
    assert stage.drop("a.jpg", photo(size=size), tags=CUT_OUT) == "edited"

    assert changed in stage.metadata("a.jpg.png").get("changes", "")


def before(stage: Stage, operation: str, action: Callable[[], object]) -> None:
    """Do something right before the function's next S3 request of that kind about the image."""
    events = stage.services.input_bucket.s3.meta.events
    name = f"before-call.s3.{operation}"

    def act(context: dict[str, Any], **_: Any) -> None:
        if context["input_params"]["Key"] == "a.jpg":
            events.unregister(name, act)
            action()

    events.register(name, act)
