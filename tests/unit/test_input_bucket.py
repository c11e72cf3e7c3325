"""The input bucket: the image as it is now, and what is to be done with it."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from image_drop.errors import (
    ImageChangedError,
    ImageDeletedError,
    LayerError,
    LayerNotThereError,
    TooLargeError,
    UnreadableInstructionsError,
    UnreadableObjectError,
)
from image_drop.instructions.schema import Instructions
from image_drop.instructions.sources import OneEdit, resolve
from image_drop.storage.input_bucket import (
    InputBucket,
    InputObject,
    folders_of,
    layer_key,
    unusable_layer,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = [
    "shoe.jpg",
    "photos/2026/shoe.jpg",
    "my photos/shoe 1+2.jpg",
    "café/鞋 100%.jpg",
    "a//b.jpg",
]


def only(sources: Any) -> Instructions:
    """The instructions of an image without variants."""
    wanted = resolve(sources)
    assert isinstance(wanted, OneEdit)
    return wanted.instructions


@pytest.fixture
def bucket(s3: "S3Client", input_bucket: str) -> InputBucket:
    return InputBucket(s3)


def put(bucket: InputBucket, key: str, body: bytes = b"image", **more: Any) -> InputObject:
    bucket.s3.put_object(Bucket="input", Key=key, Body=body, **more)
    found = bucket.find_object("input", key)
    assert found
    return found


# --- what is there ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_image_is_found_as_it_is_now(bucket: InputBucket, key: str) -> None:
    put(bucket, key, b"old", Metadata={"prompt": "old"})
    found = put(bucket, key, b"newer", Metadata={"prompt": "new"})

    assert (found.bucket, found.key, found.size) == ("input", key, 5)
    assert found.metadata == {"prompt": "new"}
    assert found.etag == hashlib.md5(b"newer").hexdigest()
    assert abs(found.changed_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_same_bytes_have_same_etag(bucket: InputBucket) -> None:
    first, other = put(bucket, "shoe.jpg", b"a"), put(bucket, "shoe.jpg", b"b")
    again = put(bucket, "shoe.jpg", b"a")

    assert first.etag == again.etag != other.etag


def test_what_is_not_there_is_not_found(bucket: InputBucket) -> None:
    put(bucket, "shoe.jpg")
    bucket.s3.delete_object(Bucket="input", Key="shoe.jpg")

    assert bucket.find_object("input", "shoe.jpg") is None
    assert bucket.find_object("input", "never.jpg") is None


SHOE = InputObject("input", "shoe.jpg", "etag", 5, datetime(2026, 11, 23, tzinfo=UTC), {})


LOOKS: dict[str, tuple[list[str], Callable[[InputBucket], Any]]] = {
    "the image's head": (["head_object"], lambda bucket: bucket.find_object("input", "shoe.jpg")),
    "the image": (["get_object"], lambda bucket: bucket.read_object(SHOE, 1000)),
    "its sidecar": (["get_object"], lambda bucket: list(bucket.sources(SHOE))),
    "its tags": (["get_object", "get_object_tagging"], lambda bucket: list(bucket.sources(SHOE))),
    "a folder file": (
        ["get_object", "get_object"],
        lambda bucket: list(bucket.sources(replace(SHOE, tagged=False))),
    ),
}


def refusing(what: str, code: str, status: int) -> Any:
    """Look at something that S3 refuses to give; all before it is missing."""
    operations, look = LOOKS[what]
    client = boto3.client("s3")
    with Stubber(client) as stub:
        for operation in operations[:-1]:
            stub.add_client_error(operation, "NoSuchKey", http_status_code=404)
        stub.add_client_error(operations[-1], code, http_status_code=status)
        return look(InputBucket(client))


@pytest.mark.parametrize("what", LOOKS)
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", 403),
        ("403", 403),
        ("InvalidObjectState", 403),
        ("KMS.DisabledException", 400),
        ("KMS.NotFoundException", 400),
        ("KMS.KMSInvalidStateException", 400),
    ],
)
def test_what_s3_refuses_for_good_is_reported_at_once(what: str, code: str, status: int) -> None:
    with pytest.raises(UnreadableObjectError, match=rf"^S3 refuses access to .+ \({code}\)\.$"):
        refusing(what, code, status)


@pytest.mark.parametrize("what", LOOKS)
@pytest.mark.parametrize(
    ("code", "status"), [("SlowDown", 503), ("InternalError", 500), ("ExpiredToken", 400)]
)
def test_what_waiting_may_mend_is_neither_missing_nor_reported(
    what: str, code: str, status: int
) -> None:
    with pytest.raises(ClientError, match=code):
        refusing(what, code, status)


@pytest.mark.parametrize(("code", "status"), [("MethodNotAllowed", 405), ("NoSuchKey", 404)])
def test_image_without_tags_to_ask_for_was_deleted(code: str, status: int) -> None:
    with pytest.raises(ImageDeletedError, match=r"shoe\.jpg"):
        refusing("its tags", code, status)


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ({"VersionId": "3HL4kqtJ"}, "3HL4kqtJ"),
        ({"VersionId": "null"}, "2026-11-23T00:00:00+00:00"),
        ({}, "2026-11-23T00:00:00+00:00"),
    ],
)
def test_upload_is_told_from_another_of_same_bytes(told: dict[str, str], version: str) -> None:
    client = boto3.client("s3")
    with Stubber(client) as stub:
        head = {"ETag": '"e"', "ContentLength": 1, "LastModified": SHOE.changed_at, "Metadata": {}}
        stub.add_response("head_object", head | told, {"Bucket": ANY, "Key": ANY})

        found = InputBucket(client).find_object("input", "shoe.jpg")

    assert found
    assert found.version == version


def test_image_that_was_deleted_this_moment_has_no_instructions(bucket: InputBucket) -> None:
    shoe = put(bucket, "shoe.jpg", Tagging="prompt=pink", Metadata={"prompt": "seen"})
    bucket.s3.delete_object(Bucket="input", Key="shoe.jpg")

    with pytest.raises(ImageDeletedError, match=r"shoe\.jpg"):
        list(bucket.sources(shoe))


@pytest.mark.parametrize("tags", ["", "prompt=pink"])
def test_tags_that_come_later_are_found(bucket: InputBucket, tags: str) -> None:
    put(bucket, "shoe.jpg", Tagging=tags)
    with bucket.open_object("input", "shoe.jpg") as first:
        assert first
        assert first.tagged == bool(tags)

    bucket.s3.put_object_tagging(
        Bucket="input",
        Key="shoe.jpg",
        Tagging={"TagSet": [{"Key": "prompt", "Value": "blue"}]},
    )
    again = bucket.find_object("input", "shoe.jpg", first)

    assert again
    assert only(list(bucket.sources(again))).prompt == "blue"


def test_tags_may_be_there_where_nobody_has_said_otherwise(bucket: InputBucket) -> None:
    assert put(bucket, "shoe.jpg").tagged


def test_opened_object_is_what_its_head_says(bucket: InputBucket) -> None:
    put(bucket, "shoe.jpg", b"image", Metadata={"prompt": "seen"})

    with bucket.open_object("input", "shoe.jpg") as shoe:
        assert shoe == replace(bucket.find_object("input", "shoe.jpg") or SHOE, tagged=False)


def test_opened_image_is_read_as_it_was_opened(bucket: InputBucket) -> None:
    put(bucket, "shoe.jpg", b"old")

    with bucket.open_object("input", "shoe.jpg") as shoe:
        assert shoe
        put(bucket, "shoe.jpg", b"new")
        assert bucket.read_object(shoe, max_bytes=5) == b"old"
        with pytest.raises(ImageChangedError):  # its bytes can be read once
            bucket.read_object(shoe, max_bytes=5)


def test_archived_image_can_be_looked_at_and_not_read(bucket: InputBucket) -> None:
    put(bucket, "shoe.jpg", b"image", StorageClass="GLACIER")

    with bucket.open_object("input", "shoe.jpg") as shoe:
        assert shoe
        with pytest.raises(UnreadableObjectError):
            bucket.read_object(shoe, max_bytes=5)


def test_image_that_is_not_there_cannot_be_opened(bucket: InputBucket) -> None:
    with bucket.open_object("input", "shoe.jpg") as shoe:
        assert shoe is None


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_image_is_read_whole(bucket: InputBucket, key: str) -> None:
    assert bucket.read_object(put(bucket, key, b"image"), max_bytes=5) == b"image"


def test_image_that_is_too_large_is_refused_with_its_figures(bucket: InputBucket) -> None:
    shoe = put(bucket, "shoe.jpg", b"x" * 1001)

    with pytest.raises(TooLargeError) as caught:
        bucket.read_object(shoe, max_bytes=1000)
    assert caught.value.detail == "shoe.jpg has 1,001 bytes. The limit is 1,000 (MaxImageBytes)."


def test_replaced_image_is_not_read_in_place_of_older_one(
    bucket: InputBucket,
) -> None:
    shoe = put(bucket, "shoe.jpg", b"old")
    put(bucket, "shoe.jpg", b"new")

    with pytest.raises(ImageChangedError):
        bucket.read_object(shoe, max_bytes=1000)


def test_image_that_was_deleted_meanwhile_is_said_to_be(bucket: InputBucket) -> None:
    shoe = put(bucket, "shoe.jpg")
    bucket.s3.delete_object(Bucket="input", Key="shoe.jpg")

    with pytest.raises(ImageDeletedError):
        bucket.read_object(shoe, max_bytes=1000)


# --- instructions ------------------------------------------------------------------------------


def test_instructions_come_from_five_places_nearest_first(bucket: InputBucket) -> None:
    put(bucket, ".image-drop.json", b'{"mode": "multi-edit", "prompt": "bucket"}')
    put(bucket, "photos/.image-drop.json", b'{"prompt": "folder", "quality": "low"}')
    put(bucket, "other/.image-drop.json", b'{"safe_mode": false}')
    put(bucket, "photos/2026/shoe.jpg.json", b'{"prompt": "sidecar"}')
    shoe = put(
        bucket,
        "photos/2026/shoe.jpg",
        Tagging="prompt=tag&aspect_ratio=1:1",
        Metadata={"prompt": "metadata", "aspect_ratio": "3:2", "model": "m"},
    )

    sources = list(bucket.sources(shoe))

    assert [source.name for source in sources] == [
        "photos/2026/shoe.jpg.json",
        "the object tags",
        "the user metadata",
        "photos/.image-drop.json",
        ".image-drop.json",
    ]
    assert only(sources).as_dict() == {
        "mode": "multi-edit",
        "prompt": "sidecar",
        "aspect_ratio": "1:1",
        "quality": "low",
        "model": "m",
    }


@pytest.mark.parametrize("key", KEYS)
def test_sidecar_is_found_beside_any_name(bucket: InputBucket, key: str) -> None:
    put(bucket, f"{key}.json", b'{"prompt": "pink"}')

    assert only(list(bucket.sources(put(bucket, key)))).prompt == "pink"


@pytest.mark.parametrize("length", [65_536, 65_537, 10_000_000])
def test_sidecar_is_read_up_to_64_kb(bucket: InputBucket, length: int) -> None:
    shoe = put(bucket, "shoe.jpg")
    put(bucket, "shoe.jpg.json", b'{"prompt": "pink"}'.ljust(length))

    if length == 65_536:
        assert only(list(bucket.sources(shoe))).prompt == "pink"
    else:
        with pytest.raises(UnreadableInstructionsError, match="larger than 65,536"):
            list(bucket.sources(shoe))


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
def test_folders_of_key_are_named_nearest_first(key: str, folders: list[str]) -> None:
    assert list(folders_of(key)) == folders


@given(st.text(st.sampled_from("ab/."), min_size=1, max_size=12).map(lambda text: text + "x"))
def test_folder_is_every_beginning_of_key_that_ends_in_slash(key: str) -> None:
    beginnings = [key[:end] for end in range(len(key), 0, -1) if key[:end].endswith("/")]

    assert list(folders_of(key)) == [*beginnings, ""]


# --- strangers ---------------------------------------------------------------------------------


@pytest.fixture
def guarded(s3: "S3Client", input_bucket: str) -> InputBucket:
    return InputBucket(s3, ("customers/", "guests/2026/"))


def test_only_instructions_from_above_untrusted_prefix_count(
    bucket: InputBucket, guarded: InputBucket
) -> None:
    put(bucket, ".image-drop.json", b'{"prompt": "ours"}')
    put(bucket, "guests/.image-drop.json", b'{"quality": "low"}')
    put(bucket, "guests/2026/.image-drop.json", b'{"prompt": "theirs", "model": "dear"}')
    put(bucket, "guests/2026/may/.image-drop.json", b"this is no JSON")
    put(bucket, "guests/2026/may/a.jpg.json", b'{"variants": {}}')
    theirs = put(
        bucket, "guests/2026/may/a.jpg", Tagging="prompt=theirs", Metadata={"prompt": "theirs"}
    )

    found = list(guarded.sources(theirs))

    assert [source.name for source in found] == ["guests/.image-drop.json", ".image-drop.json"]
    assert guarded.ignored(theirs) == ("instructions below guests/2026/", "the user metadata")


@pytest.mark.parametrize(
    "key",
    ["customer/a.jpg", "customers.jpg", "a/customers/a.jpg", "Customers/a.jpg", "guests/a.jpg"],
)
def test_elsewhere_all_instructions_count(
    bucket: InputBucket, guarded: InputBucket, key: str
) -> None:
    put(bucket, f"{key}.json", b'{"prompt": "ours"}')
    ours = put(bucket, key)

    assert only(list(guarded.sources(ours))).prompt == "ours"
    assert guarded.ignored(ours) == ()


def test_metadata_of_other_tools_are_not_said_to_be_ignored(guarded: InputBucket) -> None:
    theirs = put(guarded, "customers/a.jpg", Metadata={"mtime": "17"})

    assert guarded.ignored(theirs) == ("instructions below customers/",)


def test_nothing_is_asked_that_would_be_ignored() -> None:
    client = boto3.client("s3")
    with Stubber(client) as stub:
        stub.add_client_error(
            "get_object",
            "NoSuchKey",
            http_status_code=404,
            expected_params={"Bucket": "input", "Key": ".image-drop.json"},
        )
        theirs = InputObject("input", "customers/a/b.jpg", "e", 5, SHOE.changed_at, {})

        assert list(InputBucket(client, ("customers/",)).sources(theirs)) == []


def test_whole_untrusted_bucket_follows_template_alone(bucket: InputBucket, s3: "S3Client") -> None:
    put(bucket, ".image-drop.json", b'{"prompt": "theirs"}')
    theirs = put(bucket, "a.jpg", Metadata={"prompt": "theirs"})
    guarded = InputBucket(s3, ("",))

    assert list(guarded.sources(theirs)) == []
    assert guarded.ignored(theirs) == ("instructions below /", "the user metadata")


# --- layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "name", "key"),
    [
        ("photos/shoe.jpg", "mask.png", "photos/mask.png"),
        ("photos/shoe.jpg", "masks/mask.png", "photos/masks/mask.png"),
        ("photos/shoe.jpg", "_layers/mask.png", "photos/_layers/mask.png"),
        ("photos/shoe.jpg", "./mask.png", "photos/mask.png"),
        ("photos/shoe.jpg", "masks//.//mask.png", "photos/masks/mask.png"),
        ("photos/shoe.jpg", "masks/../mask.png", "photos/mask.png"),
        ("photos/shoe.jpg", "/photos/mask.png", "photos/mask.png"),
        ("photos/shoe.jpg", "../_layers/mask.png", "_layers/mask.png"),
        ("photos/shoe.jpg", "/_layers/logos/mask.png", "_layers/logos/mask.png"),
        ("photos/2026/shoe.jpg", "../_layers/mask.png", "photos/_layers/mask.png"),
        ("shoe.jpg", "mask.png", "mask.png"),
        ("shoe.jpg", "/mask.png", "mask.png"),
        ("café/shoe.jpg", "größe 1+2.png", "café/größe 1+2.png"),
        ("photos/shoe.jpg", "%2e%2e/mask.png", "photos/%2e%2e/mask.png"),
        ("photos/shoe.jpg", "..%2Fmask.png", "photos/..%2Fmask.png"),
        ("photos/shoe.jpg", "..\\mask.png", "photos/..\\mask.png"),
        ("photos/shoe.jpg", "．．/mask.png", "photos/．．/mask.png"),
        ("photos/shoe.jpg", ".../mask.png", "photos/.../mask.png"),
        ("a//shoe.jpg", "mask.png", "a//mask.png"),
        ("/shoe.jpg", "mask.png", "/mask.png"),
        ("a/../b/shoe.jpg", "mask.png", "a/../b/mask.png"),
    ],
)
def test_layer_is_named_from_its_images_folder(
    bucket: InputBucket, image: str, name: str, key: str
) -> None:
    shoe = put(bucket, image)
    expected = put(bucket, key, b"layer")

    assert bucket.layer(shoe, name, shoe.changed_at.timestamp()) == expected


ELSEWHERE = [
    ("photos/shoe.jpg", "../private/mask.png"),
    ("photos/shoe.jpg", "/private/mask.png"),
    ("photos/shoe.jpg", "//private/mask.png"),
    ("photos/shoe.jpg", "./..//private/mask.png"),
    ("photos/shoe.jpg", "masks/../../private/mask.png"),
    ("photos/shoe.jpg", "../photos2/mask.png"),
    ("photos/shoe.jpg", "../photo/s/mask.png"),
    ("photos/shoe.jpg", "../mask.png"),
    ("photos/shoe.jpg", "../my_layers/mask.png"),
    ("photos/shoe.jpg", "../_layers"),
    ("photos/shoe.jpg", "../_layers/../private/mask.png"),
    ("photos/shoe.jpg", "/private/_layers/mask.png"),
    ("photos/shoe.jpg", "../PHOTOS/mask.png"),
    ("café/shoe.jpg", "../cafe\u0301/mask.png"),
    ("photos/shoe.jpg", ""),
    ("photos/shoe.jpg", "/"),
    ("photos/shoe.jpg", "."),
    ("photos/shoe.jpg", ".."),
    ("photos/shoe.jpg", "../.."),
    ("photos/shoe.jpg", "../../mask.png"),
    ("shoe.jpg", "../mask.png"),
    ("a/../b/shoe.jpg", "/b/mask.png"),
    ("photos/../private/shoe.jpg", "/private/mask.png"),
    ("photos/shoe.jpg", "x" * 1100),
    ("photos/shoe.jpg", "é" * 600),
]


@pytest.mark.parametrize(("image", "name"), ELSEWHERE)
def test_layer_elsewhere_is_reported_before_any_request(image: str, name: str) -> None:
    client = boto3.client("s3")
    shoe = InputObject("input", image, "e", 5, SHOE.changed_at, {})

    with Stubber(client), pytest.raises(LayerError) as caught:  # a request would fail otherwise
        InputBucket(client).layer(shoe, name, 0.0)
    assert caught.value.detail == unusable_layer(name).detail


@given(
    st.lists(st.sampled_from(["a", "b", "..", ".", "", "_layers"]), max_size=4),
    st.lists(st.sampled_from(["a", "b", "..", ".", "", "_layers"]), min_size=1, max_size=6),
)
def test_no_name_leads_out_of_folders_that_image_may_use(
    folders: list[str], steps: list[str]
) -> None:
    image = "/".join([*folders, "shoe.jpg"])
    own, *above = folders_of(image)

    key = layer_key(image, "/".join(steps))

    if key is not None:
        assert key.startswith((own, *(f"{folder}_layers/" for folder in above)))


def test_missing_layer_is_waited_for_and_then_reported(bucket: InputBucket) -> None:
    shoe = put(bucket, "photos/shoe.jpg")
    uploaded = shoe.changed_at.timestamp()

    with pytest.raises(LayerNotThereError, match="not been uploaded yet"):
        bucket.layer(shoe, "mask.png", uploaded + 3599)
    with pytest.raises(LayerError) as caught:
        bucket.layer(shoe, "mask.png", uploaded + 3601)
    assert caught.value.detail == "The layer 'photos/mask.png' cannot be used."


def test_layer_that_s3_refuses_is_reported_in_same_words() -> None:
    client = boto3.client("s3")
    with Stubber(client) as stub:
        stub.add_client_error("head_object", "403", http_status_code=403)
        with pytest.raises(LayerError) as caught:
            InputBucket(client).layer(SHOE, "mask.png", 0.0)
    assert caught.value.detail == unusable_layer("mask.png").detail


@pytest.mark.parametrize(
    "name", ["mask.png", "_layers/mask.png", "/customers/mask.png", "../customers/_layers/mask.png"]
)
def test_image_below_untrusted_prefix_uses_no_layer_from_there(
    bucket: InputBucket, guarded: InputBucket, name: str
) -> None:
    theirs = put(bucket, "customers/a.jpg")
    put(bucket, "customers/mask.png")
    put(bucket, "customers/_layers/mask.png")

    with pytest.raises(LayerError):
        guarded.layer(theirs, name, theirs.changed_at.timestamp())


@pytest.mark.parametrize("name", ["/_layers/logo.png", "../_layers/logo.png"])
def test_image_below_untrusted_prefix_uses_layers_from_above_it(
    bucket: InputBucket, guarded: InputBucket, name: str
) -> None:
    theirs = put(bucket, "customers/a.jpg")
    logo = put(bucket, "_layers/logo.png")

    assert guarded.layer(theirs, name, theirs.changed_at.timestamp()) == logo
