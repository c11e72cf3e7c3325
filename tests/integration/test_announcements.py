"""What is announced and reported has the form that the published schemas promise."""

import json

from jsonschema import Draft202012Validator

from scripts.schemas import FOLDER
from tests.support.stage import MappingState, Stage

CUT_OUT = {"mode": "background-remove"}


def valid(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_events_of_all_kinds_are_valid(stage: Stage, mapping: MappingState) -> None:
    stage.drop("plain.jpg", tags=CUT_OUT)
    stage.drop("pink.jpg", sidecar={"prompt": "pink", "model": "qwen-image-2-edit"})
    stage.drop("a b+é.jpg", sidecar={"variants": {"one": CUT_OUT}})
    stage.work_off()
    stage.drop("no-image.jpg", b"text", tags=CUT_OUT)
    stage.drop("nobody-said.jpg")
    stage.drop("refused.jpg", sidecar={"prompt": "pink", "model": "made-up-edit"})
    stage.venice.change(account="no_balance")
    stage.drop("waits.jpg", tags=CUT_OUT)
    stage.venice.change(account="ok")
    stage.pass_time(300)
    stage.watch()

    found = stage.delivered()

    for event in found:
        name = event["detail-type"].lower().replace(" ", "-")
        valid(f"{name}.v{event['detail']['version']}").validate(event)
    kinds = [event["detail-type"] for event in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "Image Edited": 4,
        "Image Edit Failed": 3,
        "Venice Account Unavailable": 1,
        "Venice Account Restored": 1,
    }


def test_reports_are_valid(stage: Stage) -> None:
    stage.drop("no-image.jpg", b"text", tags=CUT_OUT)
    stage.drop("nobody-said.jpg")
    stage.drop("refused.jpg", sidecar={"prompt": "pink", "model": "made-up-edit"})

    for key in ("no-image.jpg", "nobody-said.jpg", "refused.jpg"):
        valid("report").validate(stage.report(key))
