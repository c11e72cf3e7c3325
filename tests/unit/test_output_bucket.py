"""The output bucket: where results and reports go, and which of two writers may store."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from image_drop.errors import ModelNotFoundError, SettingsError
from image_drop.storage.output_bucket import (
    OutputBucket,
    ResultChangedError,
    as_metadata,
    encoded,
    output_key,
    report_key,
    report_keys,
    report_on,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DEFAULT = "{key}.png"
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key_format", "key", "variant", "suffix", "expected"),
    [
        (DEFAULT, "photos/shoe.jpg", None, ".png", "photos/shoe.jpg.png"),
        (DEFAULT, "photos/shoe.jpg", "cutout", ".png", "photos/shoe.jpg.cutout.png"),
        (DEFAULT, "photos/shoe.jpg", None, ".webp", "photos/shoe.jpg.webp"),
        (DEFAULT, "photos/shoe.jpg", "cutout", ".jpg", "photos/shoe.jpg.cutout.jpg"),
        (DEFAULT, "shoe.png", None, ".png", "shoe.png.png"),
        (DEFAULT, "a {b} %s.jpg", None, ".png", "a {b} %s.jpg.png"),
        ("{folder}{stem}.png", "photos/2026/shoe.jpg", None, ".png", "photos/2026/shoe.png"),
        ("{folder}{stem}.png", "shoe.jpg", None, ".png", "shoe.png"),
        ("{folder}{stem}.png", "shoe", None, ".png", "shoe.png"),
        ("{folder}{stem}.png", "a.b/shoe.tar.gz", None, ".png", "a.b/shoe.tar.png"),
        ("{mode}/{key}.png", "photos/shoe.jpg", None, ".png", "edit/photos/shoe.jpg.png"),
        ("done/{key}", "shoe.jpg", None, ".png", "done/shoe.jpg.png"),
    ],
)
def test_result_is_named_by_format(
    key_format: str, key: str, variant: str | None, suffix: str, expected: str
) -> None:
    assert output_key(key_format, key, "edit", variant, suffix) == expected


@pytest.mark.parametrize(
    "key_format", ["{name}.png", "{}.png", "{0}.png", "{key.png", "key}.png", "{key.x}", "{key[x]}"]
)
def test_format_that_is_none_says_which_fields_there_are(key_format: str) -> None:
    with pytest.raises(SettingsError) as caught:
        output_key(key_format, "shoe.jpg", "edit", None, ".png")

    assert "{key}, {folder}, {stem}, {mode}" in caught.value.detail
    assert repr(key_format) in caught.value.detail


@pytest.mark.parametrize(
    ("variant", "expected"),
    [(None, "photos/shoe.jpg.error.json"), ("cutout", "photos/shoe.jpg.cutout.error.json")],
)
def test_report_lies_beside_where_result_would_be(variant: str | None, expected: str) -> None:
    assert report_key("photos/shoe.jpg", variant) == expected


@given(key=TEXT.filter(bool), variant=st.none() | st.just("studio"))
@example(key="x" * 1024, variant=None)
@example(key="é" * 512, variant="studio")
@example(key="👟" * 256, variant="studio")
def test_name_always_fits_into_s3_and_keeps_its_ending(key: str, variant: str | None) -> None:
    tail = f".{variant}" if variant else ""
    names = [output_key(DEFAULT, key, "edit", variant, ".png"), report_key(key, variant)]

    assert all(len(name.encode()) <= 1024 for name in names)
    assert names[0].endswith(f"{tail}.png")
    assert names[1].endswith(f"{tail}.error.json")


def test_two_long_keys_that_begin_alike_have_two_results() -> None:
    first, second = "x" * 1023 + "a", "x" * 1023 + "b"

    assert output_key(DEFAULT, first, "edit", None, ".png") != output_key(
        DEFAULT, second, "edit", None, ".png"
    )
    assert report_key(first, None) != report_key(second, None)


# --- metadata ----------------------------------------------------------------------------------


def test_metadata_is_ascii_and_leaves_out_what_is_not_known() -> None:
    assert as_metadata({"source-key": "café/a b.jpg", "model": None, "changes": ""}) == {
        "source-key": "caf%C3%A9/a b.jpg"
    }


@given(st.dictionaries(st.sampled_from(["edit-id", "source-key", "mode", "model", "ray"]), TEXT))
@example({"edit-id": "0" * 32, "source-key": "x" * 1024, "model": "m" * 1200, "ray": "r" * 1200})
@example({"edit-id": "0" * 32, "source-key": "鞋" * 341, "mode": "edit"})
def test_metadata_fits_into_what_s3_takes(values: dict[str, str]) -> None:
    kept = as_metadata(values)

    assert sum(len(name) + len(text) for name, text in kept.items()) <= 2048
    assert all(text.isascii() and text.isprintable() for text in kept.values())
    assert all(kept[name] for name in kept)


def test_long_value_does_not_drive_out_others() -> None:
    kept = as_metadata({"source-key": "鞋" * 341, "edit-id": "0123", "mode": "edit"})

    assert kept == {"edit-id": "0123", "mode": "edit"}


# --- results -----------------------------------------------------------------------------------


@pytest.fixture
def results(s3: "S3Client", output_bucket: str) -> OutputBucket:
    return OutputBucket(s3, output_bucket)


def store(results: OutputBucket, data: bytes, edit_id: str = "0123") -> None:
    """Store in the place of what is there now."""
    seen = results.find_output("shoe.jpg.png")
    results.store_output("shoe.jpg.png", data, "image/png", {"edit-id": edit_id}, seen)


def content(results: OutputBucket) -> bytes:
    found = results.read_output("shoe.jpg.png")
    assert found
    return found[2]


def test_result_is_stored_with_its_type_and_metadata(results: OutputBucket) -> None:
    metadata = {"edit-id": "0123", "source-key": "shoe.jpg", "mode": "edit"}

    results.store_output("shoe.jpg.png", b"png", "image/png", metadata, None)

    stored = results.s3.get_object(Bucket="output", Key="shoe.jpg.png")
    assert stored["Body"].read() == content(results) == b"png"
    assert (stored["ContentType"], stored["Metadata"]) == ("image/png", metadata)
    found = results.find_output("shoe.jpg.png")
    assert found
    assert (found.edit_id, found.etag) == ("0123", stored["ETag"])


def test_what_is_not_there_is_not_found(results: OutputBucket) -> None:
    assert results.find_output("shoe.jpg.png") is None


def test_object_that_somebody_else_put_there_has_no_edit_id(results: OutputBucket) -> None:
    results.s3.put_object(Bucket="output", Key="shoe.jpg.png", Body=b"foreign")

    found = results.find_output("shoe.jpg.png")

    assert found
    assert found.edit_id is None


def test_result_takes_place_of_one_that_was_seen(results: OutputBucket) -> None:
    store(results, b"old", "old")
    store(results, b"new", "new")

    assert content(results) == b"new"


def test_of_two_first_results_one_is_stored(results: OutputBucket) -> None:
    store(results, b"first")

    with pytest.raises(ResultChangedError):
        results.store_output("shoe.jpg.png", b"second", "image/png", {}, None)
    assert content(results) == b"first"


def test_result_that_was_replaced_meanwhile_is_not_overwritten(results: OutputBucket) -> None:
    store(results, b"old")
    seen = results.find_output("shoe.jpg.png")
    store(results, b"somebody else's")

    with pytest.raises(ResultChangedError):
        results.store_output("shoe.jpg.png", b"late", "image/png", {}, seen)
    assert content(results) == b"somebody else's"


def test_deleted_result_has_to_be_looked_at_again(
    results: OutputBucket,
) -> None:
    store(results, b"old")
    seen = results.find_output("shoe.jpg.png")
    assert seen
    results.remove_output(seen)

    with pytest.raises(ResultChangedError):
        results.store_output("shoe.jpg.png", b"late", "image/png", {}, seen)


def test_only_what_was_seen_is_removed(results: OutputBucket) -> None:
    store(results, b"old")
    seen = results.find_output("shoe.jpg.png")
    assert seen
    store(results, b"somebody else's")

    results.remove_output(seen)

    assert content(results) == b"somebody else's"


def test_removing_what_is_gone_changes_nothing(results: OutputBucket) -> None:
    store(results, b"old")
    seen = results.find_output("shoe.jpg.png")
    assert seen
    results.remove_output(seen)
    results.remove_output(seen)

    assert results.find_output("shoe.jpg.png") is None


@pytest.mark.parametrize(
    ("metadata", "own"),
    [
        ({"edit-id": "0", "source-key": "p/a.jpg"}, True),
        ({"code": "empty_file", "source-key": "p/a.jpg"}, True),
        ({"call-digest": "0", "source-key": "p/a.jpg"}, True),
        ({"edit-id": "0"}, True),  # a key that was too long for the metadata
        ({"edit-id": "0", "source-key": "p/a.jpg.original"}, False),
        ({"edit-id": "0", "source-key": "p/a.jpg", "variant": "b"}, False),
        ({"source-key": "p/a.jpg"}, False),  # nothing that Image Drop writes
        ({}, False),
    ],
)
def test_object_is_known_by_what_it_was_made_of(
    results: OutputBucket, metadata: dict[str, str], *, own: bool
) -> None:
    results.s3.put_object(Bucket="output", Key="x", Body=b"", Metadata=metadata)

    found = results.find_output("x")

    assert found
    assert found.is_of("p/a.jpg", None) is own


def test_everything_is_stored_below_prefix(results: OutputBucket) -> None:
    below = replace(results, prefix="edited/")

    store(below, b"new")
    stored = below.find_output("shoe.jpg.png")
    assert stored
    assert stored.key == "shoe.jpg.png"
    assert results.find_output("shoe.jpg.png") is None
    assert results.find_output("edited/shoe.jpg.png")

    below.remove_output(stored)
    assert below.find_output("shoe.jpg.png") is None


@pytest.mark.parametrize("tail", [".png", ".error.json"])
def test_key_that_prefix_makes_too_long_is_cut(results: OutputBucket, tail: str) -> None:
    below = replace(results, prefix="edited/")
    keys = [below.place(f"{'x' * (1017 - len(tail))}{each}{tail}").key for each in ("", "y", "z")]

    assert [len(key) for key in keys] == [1024] * 3
    assert keys[0].startswith("edited/xxx")
    assert all(key.endswith(tail) for key in keys)
    assert len(set(keys)) == 3


# --- reports -----------------------------------------------------------------------------------


def test_report_says_what_happened_and_what_to_do() -> None:
    error = ModelNotFoundError("Venice answered 410: no such model", status=410, request_id="ray")
    report = report_on(
        error,
        key="photos/café.jpg",
        reference="order 7",
        variant=None,
        mode="edit",
        attempts=2,
        now=1_800_000_000.9,
    )

    assert json.loads(encoded(report)) == {
        "code": "model_not_found",
        "title": ModelNotFoundError.title,
        "detail": "Venice answered 410: no such model",
        "what_to_do": ModelNotFoundError.advice,
        "key": "photos/café.jpg",
        "reference": "order 7",
        "variant": None,
        "mode": "edit",
        "attempts": 2,
        "status": 410,
        "request_id": "ray",
        "at": "2027-01-15T08:00:00+00:00",
    }


def test_reports_that_would_share_key_have_another_place() -> None:
    variants = report_keys("a.jpg", "b")
    images = report_keys("a.jpg.b", None)

    assert variants[0] == images[0] == "a.jpg.b.error.json"
    assert variants[1] != images[1]
    assert variants[1].endswith(".error.json")
