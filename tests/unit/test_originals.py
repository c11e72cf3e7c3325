"""The input bucket: the image as it is now, and what is to be done with it."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from image_drop.errors import (
    ImageChangedError,
    ImageDeletedError,
    LayerError,
    LayerNotThereError,
    TooLargeError,
    UnreadableInstructionsError,
)
from image_drop.instructions import resolve
from image_drop.originals import Original, Originals, folders_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = [
    "shoe.jpg",
    "photos/2026/shoe.jpg",
    "my photos/shoe 1+2.jpg",
    "café/鞋 100%.jpg",
    "a//b.jpg",
]


@pytest.fixture
def originals(s3: "S3Client", input_bucket: str) -> Originals:
    return Originals(s3)


def put(originals: Originals, key: str, body: bytes = b"image", **more: Any) -> Original:
    originals.s3.put_object(Bucket="input", Key=key, Body=body, **more)
    found = originals.find("input", key)
    assert found
    return found


# --- what is there ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_an_image_is_found_as_it_is_now(originals: Originals, key: str) -> None:
    put(originals, key, b"old", Metadata={"prompt": "old"})
    found = put(originals, key, b"newer", Metadata={"prompt": "new"})

    assert (found.bucket, found.key, found.size) == ("input", key, 5)
    assert found.metadata == {"prompt": "new"}
    assert found.etag == hashlib.md5(b"newer").hexdigest()
    assert abs(found.changed_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_same_bytes_have_the_same_etag(originals: Originals) -> None:
    first, other = put(originals, "shoe.jpg", b"a"), put(originals, "shoe.jpg", b"b")
    again = put(originals, "shoe.jpg", b"a")

    assert first.etag == again.etag != other.etag


def test_what_is_not_there_is_not_found(originals: Originals) -> None:
    put(originals, "shoe.jpg")
    originals.s3.delete_object(Bucket="input", Key="shoe.jpg")

    assert originals.find("input", "shoe.jpg") is None
    assert originals.find("input", "never.jpg") is None


SHOE = Original("input", "shoe.jpg", "etag", 5, datetime(2026, 11, 23, tzinfo=UTC), {})


@pytest.mark.parametrize(
    ("operations", "look"),
    [
        (["head_object"], lambda originals: originals.find("input", "shoe.jpg")),
        (["get_object"], lambda originals: originals.read(SHOE, 1000)),
        (["get_object"], lambda originals: originals.sources(SHOE)),
        (["get_object", "get_object_tagging"], lambda originals: originals.sources(SHOE)),
    ],
)
def test_a_refusal_of_s3_is_not_taken_for_something_missing(
    operations: list[str], look: Callable[[Originals], Any]
) -> None:
    client = boto3.client("s3")
    with Stubber(client) as stub:
        for operation in operations[:-1]:
            stub.add_client_error(operation, "NoSuchKey", http_status_code=404)
        stub.add_client_error(operations[-1], "AccessDenied", http_status_code=403)
        with pytest.raises(ClientError, match="AccessDenied"):
            look(Originals(client))


def test_an_image_that_was_deleted_this_moment_has_no_tags(originals: Originals) -> None:
    shoe = put(originals, "shoe.jpg", Tagging="prompt=pink", Metadata={"prompt": "seen"})
    originals.s3.delete_object(Bucket="input", Key="shoe.jpg")

    assert resolve(originals.sources(shoe))[None].prompt == "seen"


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_an_image_is_read_whole(originals: Originals, key: str) -> None:
    assert originals.read(put(originals, key, b"image"), max_bytes=5) == b"image"


def test_an_image_that_is_too_large_is_refused_with_its_figures(originals: Originals) -> None:
    shoe = put(originals, "shoe.jpg", b"x" * 1001)

    with pytest.raises(TooLargeError) as caught:
        originals.read(shoe, max_bytes=1000)
    assert caught.value.detail == "shoe.jpg has 1,001 bytes; the limit is 1,000."


def test_an_image_that_was_replaced_meanwhile_is_not_read_in_its_place(
    originals: Originals,
) -> None:
    shoe = put(originals, "shoe.jpg", b"old")
    put(originals, "shoe.jpg", b"new")

    with pytest.raises(ImageChangedError):
        originals.read(shoe, max_bytes=1000)


def test_an_image_that_was_deleted_meanwhile_is_said_to_be(originals: Originals) -> None:
    shoe = put(originals, "shoe.jpg")
    originals.s3.delete_object(Bucket="input", Key="shoe.jpg")

    with pytest.raises(ImageDeletedError):
        originals.read(shoe, max_bytes=1000)


# --- instructions ------------------------------------------------------------------------------


def test_instructions_come_from_five_places_the_nearest_first(originals: Originals) -> None:
    put(originals, ".image-drop.json", b'{"mode": "multi-edit", "prompt": "bucket"}')
    put(originals, "photos/.image-drop.json", b'{"prompt": "folder", "quality": "low"}')
    put(originals, "other/.image-drop.json", b'{"safe_mode": false}')
    put(originals, "photos/2026/shoe.jpg.json", b'{"prompt": "sidecar"}')
    shoe = put(
        originals,
        "photos/2026/shoe.jpg",
        Tagging="prompt=tag&aspect_ratio=1:1",
        Metadata={"prompt": "metadata", "aspect_ratio": "3:2", "model": "m"},
    )

    sources = originals.sources(shoe)

    assert [source.name for source in sources] == [
        "photos/2026/shoe.jpg.json",
        "the object tags",
        "the user metadata",
        "photos/.image-drop.json",
        ".image-drop.json",
    ]
    assert resolve(sources)[None].as_dict() == {
        "mode": "multi-edit",
        "prompt": "sidecar",
        "aspect_ratio": "1:1",
        "quality": "low",
        "model": "m",
    }


@pytest.mark.parametrize("key", KEYS)
def test_a_sidecar_is_found_beside_any_name(originals: Originals, key: str) -> None:
    put(originals, f"{key}.json", b'{"prompt": "pink"}')

    assert resolve(originals.sources(put(originals, key)))[None].prompt == "pink"


@pytest.mark.parametrize("length", [65_536, 65_537, 10_000_000])
def test_a_sidecar_is_read_up_to_64_kb(originals: Originals, length: int) -> None:
    shoe = put(originals, "shoe.jpg")
    put(originals, "shoe.jpg.json", b'{"prompt": "pink"}'.ljust(length))

    if length == 65_536:
        assert resolve(originals.sources(shoe))[None].prompt == "pink"
    else:
        with pytest.raises(UnreadableInstructionsError, match="larger than 65,536"):
            originals.sources(shoe)


@pytest.mark.parametrize(
    ("key", "folders"),
    [
        ("shoe.jpg", [""]),
        ("a/shoe.jpg", ["a/", ""]),
        ("a/b/c/shoe.jpg", ["a/b/c/", "a/b/", "a/", ""]),
        ("a//shoe.jpg", ["a//", "a/", ""]),
        ("/shoe.jpg", ["/", ""]),
        ("//a/shoe.jpg", ["//a/", "//", "/", ""]),
    ],
)
def test_the_folders_of_a_key_are_named_nearest_first(key: str, folders: list[str]) -> None:
    assert list(folders_of(key)) == folders


@given(st.text(st.sampled_from("ab/."), min_size=1, max_size=12).map(lambda text: text + "x"))
def test_a_folder_is_every_beginning_of_a_key_that_ends_in_a_slash(key: str) -> None:
    beginnings = [key[:end] for end in range(len(key), 0, -1) if key[:end].endswith("/")]

    assert list(folders_of(key)) == [*beginnings, ""]


# --- layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "name", "key"),
    [
        ("photos/shoe.jpg", "mask.png", "photos/mask.png"),
        ("photos/shoe.jpg", "_layers/mask.png", "photos/_layers/mask.png"),
        ("photos/shoe.jpg", "./mask.png", "photos/mask.png"),
        ("photos/shoe.jpg", "../logos/mask.png", "logos/mask.png"),
        ("photos/shoe.jpg", "/logos/mask.png", "logos/mask.png"),
        ("shoe.jpg", "mask.png", "mask.png"),
        ("café/shoe.jpg", "größe 1+2.png", "café/größe 1+2.png"),
    ],
)
def test_a_layer_is_named_from_its_images_folder(
    originals: Originals, image: str, name: str, key: str
) -> None:
    shoe = put(originals, image)
    expected = put(originals, key, b"layer")

    assert originals.layer(shoe, name, shoe.changed_at.timestamp()) == expected


def test_a_layer_that_is_not_there_is_waited_for_and_then_reported(originals: Originals) -> None:
    shoe = put(originals, "photos/shoe.jpg")
    uploaded = shoe.changed_at.timestamp()

    with pytest.raises(LayerNotThereError, match="not in the bucket yet"):
        originals.layer(shoe, "mask.png", uploaded + 3599)
    with pytest.raises(LayerError, match="not in the bucket"):
        originals.layer(shoe, "mask.png", uploaded + 3601)


@pytest.mark.parametrize("name", ["/", "..", "../..", "../../mask.png", "//../mask.png/.."])
def test_a_layer_that_no_key_can_name_is_reported_at_once(originals: Originals, name: str) -> None:
    shoe = put(originals, "photos/shoe.jpg")

    with pytest.raises(LayerError, match="names no file"):
        originals.layer(shoe, name, shoe.changed_at.timestamp())


def test_a_layer_whose_name_no_key_can_have_is_reported(originals: Originals) -> None:
    shoe = put(originals, "photos/shoe.jpg")

    with pytest.raises(LayerError, match="1024"):
        originals.layer(shoe, "x" * 1100, shoe.changed_at.timestamp())
