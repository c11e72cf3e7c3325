"""The parts of the console without a browser: gallery, decisions, offers, cures, zip, sidecars."""

import csv
import io
import json
import threading
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from image_drop import edits
from image_drop.errors import ImageDropError, InvalidValueError, subclasses
from image_drop.state.edit_record import Outcome, OutcomeKind, Record, record_id
from image_drop.uploads import Upload
from image_drop_cli import rewriting
from image_drop_cli.console.cures import Cure, cure_of
from image_drop_cli.console.drops import Drops, Instructed
from image_drop_cli.console.gallery import PATIENCE, Gallery, View
from image_drop_cli.console.marks import Mark, Marks, Verdict
from image_drop_cli.console.offers import OfferGoneError, Offers
from image_drop_cli.console.sample_picture import sample_picture
from image_drop_cli.console.taking_home import MISSED, csv_of, zip_of
from image_drop_cli.console.thumbnails import Thumbnails, browsable, small_picture
from image_drop_cli.manifest import Row
from image_drop_cli.upload.plan import Plan
from tests.support.account import INPUT_BUCKET, OUTPUT_BUCKET, TABLE
from tests.support.quiet_stack import QuietStack, quiet_stack

NOW = 1_700_000_000.0
AT = "2026-11-26T12:00:00+00:00"
LATER = "2026-11-26T12:05:00+00:00"
PLAN = Plan(1, 0, 1, 0.03, (), None, None, None, "", ())


@pytest.fixture
def stack(
    aws: None, boto_client: Any, input_bucket: str, output_bucket: str, table: str
) -> QuietStack:
    return quiet_stack(boto_client)


def result(file: str, at: str = AT, variant: str = "") -> Row:
    return Row(file, variant, outcome="result", result=f"{file}.png", at=at)


def report(file: str, code: str = "too_small", at: str = AT) -> Row:
    return Row(file, outcome="report", code=code, at=at)


def shown(gallery: Gallery, **view: Any) -> list[str]:
    return [tile.row.file for tile in gallery.view(View(**view))]


# --- the gallery


def test_sent_images_stay_in_place_when_their_results_arrive() -> None:
    gallery = Gallery()
    gallery.update([result("old.png")], NOW)
    gallery.expect(["b.png", "a.png", "c.png"], NOW + 1e9)
    before = shown(gallery)
    gallery.update([result("b.png", LATER), report("a.png", at=LATER)], NOW)
    assert before == ["a.png", "b.png", "c.png", "old.png"]
    assert shown(gallery) == before
    assert shown(gallery, show="on-the-way") == ["c.png"]
    assert shown(gallery, show="needs-you") == ["a.png"]


def test_outcome_before_retry_is_not_taken_for_its_own() -> None:
    gallery = Gallery()
    gallery.update([report("a.png")], NOW)
    gallery.expect(["a.png"], NOW)
    assert gallery.update([report("a.png")], NOW + 1) == []
    assert shown(gallery, show="on-the-way") == ["a.png"]
    gallery.update([result("a.png", LATER)], NOW + 2)
    assert shown(gallery, show="results") == ["a.png"]


def test_old_outcome_counts_again_when_nothing_came() -> None:
    gallery = Gallery()
    gallery.update([report("a.png")], NOW)
    gallery.expect(["a.png"], NOW)
    gallery.update([report("a.png")], NOW + PATIENCE + 1)
    assert shown(gallery, show="needs-you") == ["a.png"]


def test_variants_take_place_of_their_image() -> None:
    gallery = Gallery()
    gallery.expect(["a.png"], NOW)
    gallery.update([result("a.png", variant="red"), result("a.png", variant="blue")], NOW)
    assert [tile.row.variant for tile in gallery.variants("a.png")] == ["blue", "red"]
    assert gallery.find("a.png") is None


def test_decision_is_about_one_result_only() -> None:
    gallery = Gallery()
    gallery.update([result("a.png"), result("b.png")], NOW)
    gallery.mark({("a.png", ""): Mark(Verdict.KEPT, AT)})
    assert shown(gallery, show="kept") == ["a.png"]
    assert shown(gallery, show="undecided") == ["b.png"]
    gallery.update([result("a.png", LATER)], NOW)
    assert shown(gallery, show="kept") == []
    assert gallery.counts()["undecided"] == 2


def test_failed_image_that_is_set_aside_needs_nobody() -> None:
    gallery = Gallery()
    gallery.update([report("a.png")], NOW)
    gallery.mark({("a.png", ""): Mark(Verdict.REJECTED, AT)})
    counts = gallery.counts()
    assert (counts["needs-you"], counts["set-aside"], counts["rejected"]) == (0, 1, 0)


def test_view_has_prefix_text_and_order() -> None:
    gallery = Gallery()
    gallery.update([result("x/B.png"), result("x/a.png", LATER), result("y/a.png")], NOW)
    assert shown(gallery, prefix="x/") == ["x/a.png", "x/B.png"]
    assert shown(gallery, text="b.PNG") == ["x/B.png"]
    assert shown(gallery, by_name=True) == ["x/a.png", "x/B.png", "y/a.png"]


def test_images_that_stack_forgot_leave_but_not_new_ones() -> None:
    gallery = Gallery()
    gallery.update([result("gone.png"), result("there.png")], NOW)
    gallery.expect(["new.png"], NOW + 1e9)
    gallery.forget_missing([("there.png", "")], NOW + 1e8)
    assert sorted(shown(gallery)) == ["new.png", "there.png"]


def test_hundred_thousand_tiles_are_viewed_in_time() -> None:
    gallery = Gallery()
    gallery.update((result(f"{number:06}.png") for number in range(100_000)), NOW)
    assert len(gallery.view(View())) == 100_000
    assert gallery.view(View()) is gallery.view(View())
    gallery.expect((f"{number:06}.png" for number in range(1000)), NOW)
    assert gallery.counts()["on-the-way"] == 1000


# --- decisions and offers


def test_decisions_are_kept_for_each_stack(tmp_path: Path) -> None:
    place, mark = ("a\u202e.png", ""), Mark(Verdict.REJECTED, AT, "ragged 'edge'")
    marks = Marks(tmp_path / "marks", "one")
    marks.put([(place, mark), (("b.png", "red"), Mark(Verdict.KEPT, AT))])
    marks.put([(("b.png", "red"), None)])
    marks.close()
    for stack, known in (("one", {place: mark}), ("other", {})):
        with closing(Marks(tmp_path / "marks", stack)) as marks:
            assert marks.all() == known


def test_decisions_last_for_run_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with closing(Marks(tmp_path / "file" / "marks", "one")) as marks:
        marks.put([(("a.png", ""), Mark(Verdict.KEPT, AT))])
        assert len(marks.all()) == 1


def test_offer_is_accepted_once_by_many_at_time() -> None:
    offers, done = Offers(), []
    offer = offers.make(PLAN, lambda: done.append(1))
    gone: list[int] = []

    def accept() -> None:
        try:
            offers.accept(offer.id)
        except OfferGoneError:
            gone.append(1)

    threads = [threading.Thread(target=accept) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(gone)) == (1, 7)


def test_old_offers_are_forgotten() -> None:
    offers = Offers()
    first = offers.make(PLAN, lambda: None)
    for _ in range(300):
        offers.make(PLAN, lambda: None)
    with pytest.raises(OfferGoneError):
        offers.accept(first.id)


# --- cures


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("no_instructions", Cure.INSTRUCT),
        ("missing_prompt", Cure.INSTRUCT),
        ("edit_too_dear", Cure.INSTRUCT),
        ("content_refused", Cure.INSTRUCT),
        ("bad_layer", Cure.INSTRUCT),
        ("damaged_image", Cure.REPLACE),
        ("too_small", Cure.REPLACE),
        ("image_deleted", Cure.RETRY),
        ("unreadable_object", Cure.RETRY),
        ("retries_exhausted", Cure.RETRY),
        ("outcome_unknown", Cure.RETRY),
        ("from another version", Cure.RETRY),
    ],
)
def test_cure_follows_from_what_error_is(code: str, cure: Cure) -> None:
    assert cure_of(code) is cure


def test_every_code_has_cure() -> None:
    assert all(cure_of(error.code) for error in subclasses(ImageDropError))


# --- pictures


def picture(mode: str, form: str, size: tuple[int, int] = (900, 600)) -> bytes:
    target = io.BytesIO()
    Image.new(mode, size, "red").save(target, form)
    return target.getvalue()


@pytest.mark.parametrize(("mode", "form"), [("RGB", "JPEG"), ("RGBA", "PNG"), ("RGB", "TIFF")])
def test_small_picture_keeps_shape_and_transparency(mode: str, form: str) -> None:
    data = picture(mode, form)
    if mode == "RGBA":
        target = io.BytesIO()
        Image.new("RGBA", (900, 600)).save(target, "PNG")
        data = target.getvalue()
    small = small_picture(data)
    assert small
    with Image.open(io.BytesIO(small)) as image:
        assert image.width * image.height <= 420 * 420
        assert image.width / image.height == pytest.approx(1.5, abs=0.01)
        assert image.format == ("PNG" if mode == "RGBA" else "JPEG")


def test_what_is_no_picture_has_no_small_one() -> None:
    assert small_picture(b"<svg onload=alert(1)>") is None
    assert small_picture(picture("RGB", "PNG")[:100]) is None
    assert browsable(b"<html>") is None


def test_browser_gets_formats_that_it_shows() -> None:
    assert browsable(jpeg := picture("RGB", "JPEG")) == (jpeg, "image/jpeg")
    shown = browsable(picture("RGB", "TIFF"))
    assert shown
    assert shown[1] == "image/png"


def test_thumbnail_is_made_once(tmp_path: Path) -> None:
    thumbnails, reads = Thumbnails(tmp_path), []

    def read() -> bytes:
        reads.append(1)
        return picture("RGB", "PNG")

    first, second = (thumbnails.of("name", read) for _ in range(2))
    assert first == second
    assert len(reads) == 1


def test_sample_is_cut_out() -> None:
    with Image.open(io.BytesIO(sample_picture())) as image:
        assert image.getpixel((0, 0)) == (0, 0, 0, 0)
        middle = image.getpixel((240, 240))
        assert isinstance(middle, tuple)
        assert middle[3] == 255


# --- dropped files, and results to take home


def test_drop_is_sent_like_folder_of_put(tmp_path: Path) -> None:
    drop = Drops(tmp_path).new()
    for name in ("shoes/.image-drop.json", "shoes/a.png", "notes.txt"):
        place = drop.place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"{}" if name.endswith("json") else picture("RGB", "PNG"))
    drop.place("notes.txt").write_text("to do")
    wanted = Instructed({"mode": "background-remove"}, "to")
    keys = [file.key for file in drop.files(wanted)]
    assert keys == ["to/notes.txt", "to/shoes/.image-drop.json", "to/shoes/a.png"]
    assert [each.key for each in drop.left_out(wanted)] == ["to/notes.txt"]


def test_zip_has_results_manifest_and_what_is_missing(stack: QuietStack) -> None:
    put_result(stack, "a.png.png", b"one")
    put_result(stack, "../evil.png", b"two")
    stack.s3.put_object(Bucket=OUTPUT_BUCKET, Key="not-ours.png", Body=b"three")
    keys = ["a.png.png", "../evil.png", "not-ours.png", "gone.png"]
    rows = [Row(f"{n}", outcome="result", result=key) for n, key in enumerate(keys)]
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_of(rows, stack.deployment)))) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"a.png.png", "manifest.csv", MISSED}
        assert archive.read("a.png.png") == b"one"
        missed = archive.read(MISSED).decode()
    assert all(key in missed for key in keys[1:])


def put_result(stack: QuietStack, key: str, data: bytes) -> None:
    stack.deployment.services.output_bucket.put_output(key, data, "image/png", {"edit-id": "1"})


def test_spreadsheet_takes_no_key_for_formula() -> None:
    text = b"".join(csv_of([Row("=cmd()"), Row("a\u202eb.png")])).decode("utf-8-sig")
    assert [row["file"] for row in csv.DictReader(text.splitlines())] == [
        "'=cmd()",
        "a\\u202eb.png",
    ]


# --- other instructions


def test_sidecar_keeps_what_it_said_but_for_changes(stack: QuietStack) -> None:
    old = json.dumps({"mode": "edit", "prompt": "red", "model": "nano-banana-2-edit"}).encode()
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="a.png.json", Body=old)
    files = rewriting.sidecars([("a.png", None)], {"prompt": "blue"}, stack.deployment)
    assert json.loads(files["a.png.json"]) == {
        "mode": "edit",
        "prompt": "blue",
        "model": "nano-banana-2-edit",
    }


def test_unreadable_sidecar_is_replaced(stack: QuietStack) -> None:
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="a.png.json", Body=b"{not json")
    files = rewriting.sidecars([("a.png", None)], {"mode": "upscale"}, stack.deployment)
    assert json.loads(files["a.png.json"]) == {"mode": "upscale"}


def test_one_variant_is_changed_and_others_stay(stack: QuietStack) -> None:
    folder = {"prompt": "a cup", "variants": {"red": {"prompt": "red"}, "plain": {}}}
    stack.s3.put_object(
        Bucket=INPUT_BUCKET, Key=".image-drop.json", Body=json.dumps(folder).encode()
    )
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="a.png", Body=picture("RGB", "PNG"))
    files = rewriting.sidecars([("a.png", "red")], {"prompt": "crimson"}, stack.deployment)
    assert json.loads(files["a.png.json"]) == {
        "variants": {"red": {"prompt": "crimson"}, "plain": {}}
    }


def test_price_is_of_instructions_that_are_not_written_yet(stack: QuietStack) -> None:
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="x/a.png", Body=picture("RGB", "PNG"))
    files = rewriting.folder_file("x/", {"mode": "background-remove"})
    services = stack.deployment.services
    seeing = rewriting.with_files(files, services)
    found = edits.load_instructions(Upload(INPUT_BUCKET, "x/a.png"), seeing)
    assert found.variants == (None,)
    assert stack.versions("x/.image-drop.json") == 0
    rewriting.rewrite(files, stack.deployment)
    assert json.loads(stack.body("x/.image-drop.json")) == {"mode": "background-remove"}


def test_same_instructions_once_more_are_told_from_new_ones(stack: QuietStack) -> None:
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="a.png", Body=picture("RGB", "PNG"))
    files = rewriting.folder_file("", {"mode": "edit", "prompt": "red"})
    rewriting.rewrite(files, stack.deployment)
    outcome = Outcome(
        kind=OutcomeKind.REPORT,
        edit_id=stack.edit("a.png").id,
        drops=(),
        source_etag="",
        key="",
        etag="",
        at=NOW,
    )
    stack.deployment.client("dynamodb").put_item(
        TableName=TABLE,
        Item={
            "id": {"S": record_id(INPUT_BUCKET, "a.png", None)},
            "version": {"N": "1"},
            "record": {"S": msgspec.json.encode(Record(outcome=outcome)).decode()},
        },
    )
    images = [("a.png", None)]
    sidecar = {"a.png.json": b'{"mode": "edit", "prompt": "red"}'}
    assert list(rewriting.same_edits(sidecar, images, stack.deployment)) == images
    other = {"a.png.json": b'{"mode": "edit", "prompt": "blue"}'}
    assert list(rewriting.same_edits(other, images, stack.deployment)) == []


def test_wrong_instructions_are_told_before_they_are_written() -> None:
    with pytest.raises(InvalidValueError, match="aspect_ratio"):
        rewriting.require_valid(rewriting.folder_file("", {"prompt": "x", "aspect_ratio": "7:5"}))
