"""A caller's own id and metadata: they go where the image goes, and change nothing else."""

from typing import Any

import pytest

from tests.support.stage import Stage

CUT_OUT = {"mode": "background-remove"}
REFERENCE = "order #4711 – ü"


def told(stage: Stage) -> list[Any]:
    """What the events since the last look say about references."""
    return [detail["reference"] for _, detail in stage.events()]


@pytest.mark.parametrize("place", ["sidecar", "tags", "metadata"])
def test_reference_is_in_metadata_of_result_and_event(stage: Stage, place: str) -> None:
    reference = "order 4711"
    given: dict[str, Any] = {place: CUT_OUT | {"reference": reference}}

    assert stage.drop("a.jpg", **given) == "edited"

    assert stage.metadata("a.jpg.png")["reference"] == reference
    assert told(stage) == [reference]


def test_reference_beyond_ascii_is_percent_encoded_in_metadata(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar=CUT_OUT | {"reference": REFERENCE})

    assert stage.metadata("a.jpg.png")["reference"] == "order %234711 %E2%80%93 %C3%BC"
    assert told(stage) == [REFERENCE]


def test_other_reference_is_same_edit(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar=CUT_OUT | {"reference": "first"})

    assert stage.upload(stage.put_json("a.jpg.json", **CUT_OUT, reference="second")) == {
        "a.jpg": "done before"
    }

    assert stage.paid == 1
    assert stage.metadata("a.jpg.png")["reference"] == "first"


def test_variant_inherits_reference_or_has_its_own(stage: Stage) -> None:
    variants = {"one": CUT_OUT, "two": CUT_OUT | {"reference": "second"}}
    stage.drop("a.jpg", sidecar={"reference": "first", "variants": variants})
    stage.work_off()

    assert stage.metadata("a.jpg.one.png")["reference"] == "first"
    assert stage.metadata("a.jpg.two.png")["reference"] == "second"


@pytest.mark.parametrize(
    ("data", "sidecar"),
    [
        (b"no image", {"prompt": "pink"}),
        (None, {"mode": "cutout"}),
        (None, {}),
        (None, {"reference": 7.5, "prompt": "pink"}),
    ],
)
def test_report_and_its_event_carry_reference(
    stage: Stage, data: bytes | None, sidecar: dict[str, Any]
) -> None:
    stage.drop("a.jpg", data, sidecar=sidecar, metadata={"reference": "order 4711"})

    assert told(stage) == ["order 4711"]
    assert stage.report("a.jpg")["reference"] == "order 4711"
    assert stage.metadata("a.jpg.error.json")["reference"] == "order 4711"


def test_report_about_unreadable_sidecar_has_no_reference(stage: Stage) -> None:
    stage.put("a.jpg.json", b"{")
    stage.drop("a.jpg", metadata={"reference": "order 4711"})

    assert stage.report("a.jpg")["code"] == "unreadable_instructions"
    assert told(stage) == [None]


def test_reference_survives_crash_after_result_is_stored(stage: Stage) -> None:
    event = stage.put("a.jpg", metadata=CUT_OUT | {"reference": "order 4711"})
    stage.kill("after-call.PutObject")
    stage.deliver(event)
    stage.work_off()

    assert stage.paid == 1
    assert told(stage) == ["order 4711"]


def test_other_metadata_go_to_result_as_they_are(stage: Stage) -> None:
    own = {"season": "50 % off; winter", "code": "spoof", "edit-id": "spoof", "blurred": "true"}

    stage.drop("a.jpg", metadata=CUT_OUT | own)

    metadata = stage.metadata("a.jpg.png")
    assert metadata["season"] == own["season"]
    assert "code" not in metadata
    assert "blurred" not in metadata
    assert metadata["edit-id"] != "spoof"
    assert metadata["mode"] == "background-remove"


def test_metadata_that_do_not_fit_are_left_out(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar=CUT_OUT, metadata={"a": "x" * 1950, "b": "y" * 200, "c": "z"})

    metadata = stage.metadata("a.jpg.png")
    assert sum(len(name) + len(text) for name, text in metadata.items()) <= 2048
    assert "a" not in metadata
    assert {"b", "c"} <= metadata.keys()


def test_metadata_of_strangers_do_not_go_to_result(stage: Stage) -> None:
    stage.configure(UNTRUSTED_PREFIXES="customers/", DEFAULT_MODE="background-remove")

    stage.drop("customers/a.jpg", metadata={"season": "winter", "reference": "theirs"})

    metadata = stage.metadata("customers/a.jpg.png")
    assert "season" not in metadata
    assert "reference" not in metadata
