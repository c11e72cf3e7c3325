"""Instructions that come after their image: tags at once, folder files through the backfill."""

from collections.abc import Callable
from typing import Any

import pytest

from functions.backfill import app
from image_drop.errors import NoInstructionsError
from image_drop.state.scans import MAX_FOLDERS, Scan
from tests.support.lambda_context import FakeContext
from tests.support.stage import Stage, sample

CUT_OUT = {"mode": "background-remove"}
AGAIN = "looks again at its folder"


@pytest.fixture
def backfill(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Run the backfill function, which scans only what it is told to."""
    stage.configure(BACKFILL_DAYS="0")
    monkeypatch.setattr(app, "services", lambda: stage.services)
    return lambda: app.handler(sample("schedule"), FakeContext())


Backfill = Callable[[], None]


def tag(stage: Stage, key: str, tags: dict[str, str]) -> dict[str, Any]:
    """Put tags on an object; the event that S3 sends about it."""
    tag_set: Any = [{"Key": name, "Value": text} for name, text in tags.items()]
    stage.s3.put_object_tagging(Bucket=stage.input, Key=key, Tagging={"TagSet": tag_set})
    event = stage.created(key)
    event["Records"][0]["eventName"] = "ObjectTagging:Put"
    return event


def folder_file(stage: Stage, folder: str, **content: Any) -> None:
    key = f"{folder}.image-drop.json"
    assert stage.upload(stage.put_json(key, **content)) == {key: AGAIN}


def pending(stage: Stage) -> Scan:
    scan = stage.services.folder_scans.current()
    assert scan
    return scan


def test_tags_after_upload_start_edit_and_remove_report(stage: Stage) -> None:
    assert stage.drop("a.jpg") == "reported"

    assert stage.upload(tag(stage, "a.jpg", CUT_OUT)) == {"a.jpg": "edited"}

    assert stage.outputs() == ["a.jpg.png"]


def test_tags_that_are_no_instructions_make_no_edit(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)

    event = tag(stage, "a.jpg", CUT_OUT | {"GuardDutyMalwareScanStatus": "NO_THREATS_FOUND"})
    assert stage.upload(event) == {"a.jpg": "done before"}

    assert stage.paid == 1


def test_folder_file_after_its_images_starts_their_edits(stage: Stage, backfill: Backfill) -> None:
    for key in ("shop/a.jpg", "shop/deep/b.jpg", "other/c.jpg"):
        assert stage.drop(key) == "reported"
    stage.put("shop/unseen.jpg")  # its event was lost

    folder_file(stage, "shop/", **CUT_OUT)
    backfill()
    stage.work_off()

    assert stage.outputs() == [
        "other/c.jpg.error.json",
        "shop/a.jpg.png",
        "shop/deep/b.jpg.png",
        "shop/unseen.jpg.png",
    ]


def test_advice_of_report_is_true_word_for_word(stage: Stage, backfill: Backfill) -> None:
    advice = NoInstructionsError.advice
    assert "Either starts the edit at once." in advice
    assert "Image Drop looks at them again within minutes." in advice
    for key in ("sidecar/a.jpg", "tags/a.jpg", "folder/a.jpg"):
        stage.drop(key)
        assert stage.report(key)["what_to_do"] == advice

    stage.upload(stage.put_json("sidecar/a.jpg.json", **CUT_OUT))
    stage.upload(tag(stage, "tags/a.jpg", {"prompt": "make the sky pink"}))
    folder_file(stage, "folder/", **CUT_OUT)
    backfill()
    stage.work_off()

    assert stage.outputs() == ["folder/a.jpg.png", "sidecar/a.jpg.png", "tags/a.jpg.png"]


def test_corrected_folder_file_replaces_reports(stage: Stage, backfill: Backfill) -> None:
    folder_file(stage, "shop/", mode="cutout")
    stage.drop("shop/a.jpg")
    stage.drop("shop/text.jpg", b"no image", tags=CUT_OUT)
    backfill()
    stage.work_off()
    assert stage.report("shop/a.jpg")["code"] == "unknown_mode"

    folder_file(stage, "shop/", **CUT_OUT)
    backfill()
    assert stage.waiting() == 2  # the text has had the same report as the image until now
    stage.work_off()

    assert stage.outputs() == ["shop/a.jpg.png", "shop/text.jpg.error.json"]
    assert stage.report("shop/text.jpg")["code"] == "not_an_image"


def test_images_with_result_and_those_in_queue_are_left_alone(
    stage: Stage, backfill: Backfill
) -> None:
    stage.drop("shop/done.jpg", tags=CUT_OUT)
    stage.drop("shop/small.jpg", b"no image", tags=CUT_OUT)
    stage.pause()
    assert stage.drop("shop/waits.jpg", tags=CUT_OUT) == "queued"
    stage.s3.delete_object(Bucket=stage.output, Key="shop/done.jpg.png")  # moved away

    folder_file(stage, "shop/", prompt="pink")
    backfill()

    assert stage.waiting() == 1


def test_folder_file_of_strangers_starts_nothing(stage: Stage, backfill: Backfill) -> None:
    stage.configure(UNTRUSTED_PREFIXES="customers/")
    stage.drop("customers/a.jpg")

    folder_file(stage, "customers/", **CUT_OUT)

    assert stage.services.folder_scans.current() is None


def test_images_from_before_stack_start_nothing(stage: Stage, backfill: Backfill) -> None:
    stage.configure(BACKFILL_OLD="false", BACKFILL_DAYS="7")
    stage.put("shop/old.jpg")
    stage.pass_time(10)
    backfill()
    stage.drop("shop/new.jpg")

    folder_file(stage, "shop/", **CUT_OUT)
    backfill()
    stage.work_off()

    assert stage.outputs() == ["shop/new.jpg.png"]


def test_several_folders_are_looked_at_one_after_other(stage: Stage, backfill: Backfill) -> None:
    for folder in ("a/", "b/", "b/c/", "b/"):
        folder_file(stage, folder, **CUT_OUT)
        stage.put(f"{folder}x.jpg")
    assert pending(stage).folders == ("a/", "b/")

    backfill()

    assert stage.waiting() == 3
    assert (pending(stage).folders, pending(stage).running) == ((), False)


def test_folder_whose_file_changes_during_its_scan_is_next_again(stage: Stage) -> None:
    folder_file(stage, "shop/", **CUT_OUT)
    scan = stage.services.folder_scans.next_folder(stage.clock.now())
    assert scan
    assert (scan.prefix, scan.folders) == ("shop/", ())

    folder_file(stage, "shop/", prompt="pink")

    assert (pending(stage).prefix, pending(stage).folders) == ("shop/", ("shop/",))


def test_too_many_folders_wait_in_queue(stage: Stage, backfill: Backfill) -> None:
    for number in range(MAX_FOLDERS):
        stage.services.folder_scans.look_again(f"{number}/", stage.clock.now())
    event = stage.put_json("last/.image-drop.json", **CUT_OUT)

    assert stage.upload(event) == {"last/.image-drop.json": "queued"}
    backfill()
    stage.work_off()

    assert pending(stage).folders == ("last/",)
