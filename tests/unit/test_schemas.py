"""The published schemas are those of the code, and say what is valid."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from scripts.schemas import FOLDER, schemas, text


def test_files_are_not_stale() -> None:
    published = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.json")}

    assert published == {name: text(schema) for name, schema in schemas().items()}, (
        "Run `make schemas`."
    )


def test_each_event_has_schema_with_its_version() -> None:
    assert {name for name in schemas() if ".v" in name} == {
        "image-edited.v1.json",
        "image-edit-failed.v1.json",
        "venice-account-unavailable.v1.json",
        "venice-account-restored.v1.json",
        "venice-limit-changed.v1.json",
        "spend-level-reached.v1.json",
        "spend-day-ended.v1.json",
    }


@pytest.mark.parametrize("name", schemas())
def test_schemas_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"reason": None},
        {"detail": 5},
    ],
)
def test_event_of_another_form_is_not_valid(change: dict[str, Any]) -> None:
    detail = {
        "version": 1,
        "event_id": "e1",
        "reason": "account_unavailable",
        "detail": "no balance",
    }
    event = {"source": "image-drop", "detail-type": "Venice Account Unavailable"}
    schema = Draft202012Validator(schemas()["venice-account-unavailable.v1.json"])
    schema.validate(event | {"detail": detail})

    with pytest.raises(ValidationError):
        schema.validate(event | {"detail": detail | change})


@pytest.mark.parametrize(
    ("instructions", "valid"),
    [
        ({"mode": "background-remove"}, True),
        ({"prompt": "pink", "aspect_ratio": "16:9", "layers": ["mask.png"]}, True),
        ({"variants": {"cutout": {"mode": "background-remove"}}}, True),
        ({"promt": "pink"}, False),
        ({"mode": "cut"}, False),
        ({"aspect_ratio": "5:7"}, False),
    ],
)
def test_editor_can_tell_good_instructions_from_bad(
    instructions: dict[str, Any], valid: bool
) -> None:
    assert Draft202012Validator(schemas()["instructions.json"]).is_valid(instructions) is valid
