"""From notifications and messages to uploads: which key changed, and is it our concern."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_drop import uploads
from image_drop.uploads import UnreadableMessageError, Upload, from_event, from_message


def event(*keys: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """An S3 notification; the keys as S3 encodes them."""
    return {
        "Records": [
            {
                "eventVersion": "2.6",
                "eventSource": "aws:s3",
                "eventName": name,
                "s3": {
                    "bucket": {"name": "input"},
                    "object": {"key": key, "size": 3, "eTag": "e", "sequencer": "0A1B"},
                },
            }
            for key in keys
        ]
    }


TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "input"}


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("shoe.jpg", "shoe.jpg"),
        ("my+photos/shoe+1.jpg", "my photos/shoe 1.jpg"),
        ("my%20photos/shoe.jpg", "my photos/shoe.jpg"),
        ("a%2Bb.jpg", "a+b.jpg"),
        ("100%25.jpg", "100%.jpg"),
        ("caf%C3%A9/%E9%9E%8B.jpg", "café/鞋.jpg"),
        ("a%3Fb%23c%26d.jpg", "a?b#c&d.jpg"),
    ],
)
def test_keys_are_decoded_as_forms_are(encoded: str, key: str) -> None:
    assert from_event(event(encoded)) == [Upload("input", key)]


def by_eventbridge(key: str, detail_type: str = "Object Created") -> dict[str, Any]:
    """An S3 event as EventBridge delivers it; the key as it is."""
    return {
        "version": "0",
        "detail-type": detail_type,
        "source": "aws.s3",
        "detail": {"bucket": {"name": "input"}, "object": {"key": key, "size": 3}},
    }


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_key_survives_eventbridge(name: str) -> None:
    key = f"photos/x{name}x"
    expected = [] if uploads.starts_nothing(key) else [Upload("input", key)]

    assert from_event(by_eventbridge(key)) == expected
    assert from_message(json.dumps(by_eventbridge(key))) == expected
    assert from_message(json.dumps({"requestPayload": by_eventbridge(key)})) == expected


@pytest.mark.parametrize("made", [event, by_eventbridge])
@pytest.mark.parametrize("folder", ["", "photos/", "/", "a b/c+d/"])
def test_folder_file_is_upload_that_knows_its_folder(
    made: Callable[[str], dict[str, Any]], folder: str
) -> None:
    key = f"{folder}.image-drop.json"
    [upload] = from_event(made(quote_plus(key) if made is event else key))
    assert (upload.key, upload.folder, upload.sidecar) == (key, folder, False)
    assert Upload("input", "photos/a.jpg").folder is None
    assert Upload("input", "photos/x.image-drop.json").folder is None


@pytest.mark.parametrize(
    "tagged",
    [event("a.jpg", name="ObjectTagging:Put"), by_eventbridge("a.jpg", "Object Tags Added")],
)
def test_tags_are_like_upload(tagged: dict[str, Any]) -> None:
    assert from_event(tagged) == [Upload("input", "a.jpg")]


@pytest.mark.parametrize("detail_type", ["Object Deleted", "Object Restore Completed"])
def test_other_events_of_eventbridge_start_nothing(detail_type: str) -> None:
    assert from_event(by_eventbridge("a.jpg", detail_type)) == []


@pytest.mark.parametrize("made", [event, by_eventbridge])
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("in/a.jpg", [Upload("input", "a.jpg")]),
        ("in/in/a.jpg.json", [Upload("input", "in/a.jpg", sidecar=True)]),
        ("in/", []),
        ("in/.hidden", []),
        ("a.jpg", []),
        ("out/a.jpg.png", []),
        ("in.jpg", []),
        ("other/in/a.jpg", []),
    ],
)
def test_only_keys_below_prefix_count_and_lose_it(
    made: Callable[[str], dict[str, Any]], key: str, expected: list[Upload]
) -> None:
    assert from_event(made(key), "in/") == expected
    assert from_message(json.dumps(made(key)), "in/") == expected


def test_our_own_message_has_no_prefix_to_lose() -> None:
    upload = Upload("input", "in/a.jpg")

    assert from_message(msgspec.json.encode(upload).decode(), "in/") == [upload]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_key_survives_notification(name: str) -> None:
    key = f"photos/x{name}x"  # neither hidden nor a folder, whatever the text
    expected = [] if uploads.starts_nothing(key) else [Upload("input", key)]

    assert from_event(event(quote_plus(key))) == expected
    assert from_event(event(quote(key))) == expected


@pytest.mark.parametrize(
    "name",
    [
        "ObjectCreated:Put",
        "ObjectCreated:Post",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
    ],
)
def test_every_way_to_upload_counts(name: str) -> None:
    assert from_event(event("a.jpg", name=name)) == [Upload("input", "a.jpg")]


@pytest.mark.parametrize(
    "name",
    [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "ObjectRestore:Completed",
        "ObjectTagging:Delete",
        "LifecycleExpiration:Delete",
    ],
)
def test_other_events_count_for_nothing(name: str) -> None:
    assert from_event(event("a.jpg", name=name)) == []


def test_several_records_keep_their_order() -> None:
    keys = [upload.key for upload in from_event(event("b.jpg", "a.jpg", "c.jpg"))]

    assert keys == ["b.jpg", "a.jpg", "c.jpg"]


@pytest.mark.parametrize("empty", [TEST_EVENT, {"Records": []}, {}])
def test_test_event_of_s3_holds_no_upload(empty: dict[str, Any]) -> None:
    assert from_event(empty) == []


@pytest.mark.parametrize(
    "key",
    [
        "photos/",
        ".DS_Store",
        "photos/.hidden.jpg",
        ".trash/shoe.jpg",
        "photos/.trash/2024/shoe.jpg",
        "_layers/.image-drop.json",
        ".hidden/.image-drop.json",
        "_layers/mask.png",
        "photos/_layers/mask.png",
        "photos/_layers/deep/mask.png.json",
    ],
)
def test_folders_hidden_names_and_layers_start_nothing(key: str) -> None:
    assert from_event(event(quote_plus(key))) == []


@pytest.mark.parametrize(
    "key", ["shoe.jpg", "a/b/c.jpg", "a..b/c.jpg", "my_layers/c.jpg", "_layers.jpg", "/c.jpg"]
)
def test_ordinary_names_do(key: str) -> None:
    assert from_event(event(key)) == [Upload("input", key)]


def test_sidecar_is_upload_of_its_image() -> None:
    assert from_event(event("photos/shoe.jpg.json")) == [
        Upload("input", "photos/shoe.jpg", sidecar=True)
    ]


@pytest.mark.parametrize(
    "upload",
    [
        Upload("input", "shoe.jpg"),
        Upload("input", "café 鞋+.jpg", variant="cutout"),
        Upload("input", "shoe.jpg", sidecar=True),
    ],
)
def test_our_own_message_comes_back_as_it_was_sent(upload: Upload) -> None:
    assert from_message(msgspec.json.encode(upload).decode()) == [upload]


def test_record_of_failed_invocation_holds_event() -> None:
    record = {
        "version": "1.0",
        "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": event("my+shoe.jpg"),
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
    }

    assert from_message(json.dumps(record)) == [Upload("input", "my shoe.jpg")]


def test_bucket_may_be_connected_to_queue_directly() -> None:
    assert from_message(json.dumps(event("a.jpg", "b.jpg"))) == [
        Upload("input", "a.jpg"),
        Upload("input", "b.jpg"),
    ]
    assert from_message(json.dumps(TEST_EVENT)) == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "{}",
        "[]",
        "null",
        "3",
        '"text"',
        '{"bucket": "input"}',
        '{"bucket": 1, "key": "a.jpg"}',
        '{"Records": [{}]}',
        '{"Records": 3}',
        '{"Records": [{"eventName": null}]}',
        '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}',
        '{"requestPayload": null}',
        '{"requestPayload": [1]}',
        "[" * 100_000,
    ],
)
def test_any_other_message_is_refused_with_reason(body: str) -> None:
    with pytest.raises(UnreadableMessageError, match="neither an upload nor an S3 event"):
        from_message(body)
