"""What `fetch` brings to this machine, what it leaves alone, and what hostile keys cannot do."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from image_drop_cli.fetching import Fetched, NotFetched, UnsafeKeyError, fetch, local_path
from image_drop_cli.moments import parsed
from tests.support.account import OUTPUT_BUCKET
from tests.support.quiet_stack import QuietStack, quiet_stack

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OURS = {"edit-id": "1"}


@pytest.fixture
def stack(
    input_bucket: str, output_bucket: str, table: str, boto_client: Callable[[str], Any]
) -> QuietStack:
    return quiet_stack(boto_client)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def damage(s3: "S3Client") -> Iterator[Callable[[int], None]]:
    """Makes the next answers carry other bytes than S3 has."""
    left: list[None] = []

    def flip(parsed: Any, **_: Any) -> None:
        if left:
            left.pop()
            raw = parsed["Body"]._raw_stream
            read = raw.read
            raw.read = lambda *args: bytes(byte ^ 1 for byte in read(*args))

    s3.meta.events.register("after-call.s3.GetObject", flip)
    yield lambda times: left.extend([None] * times)
    s3.meta.events.unregister("after-call.s3.GetObject", flip)


def store(stack: QuietStack, key: str, data: bytes = b"a picture", **facts: Any) -> None:
    stack.s3.put_object(
        Bucket=OUTPUT_BUCKET, Key=key, Body=data, Metadata=facts.pop("metadata", OURS), **facts
    )


def fetched(
    stack: QuietStack, out: Path, prefix: str = "", since: float = 0.0, **options: Any
) -> dict[str, str]:
    """What happened to each key."""
    found: dict[str, str] = {}
    for each in fetch(stack.deployment, out, prefix, since, **options):
        match each:
            case Fetched(already=already):
                found[each.key] = "already" if already else "fetched"
            case NotFetched(reason=reason):
                found[each.key] = reason
    return found


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_results_and_reports_are_fetched_with_their_times(stack: QuietStack, out: Path) -> None:
    store(stack, "photos/ü shoe.jpg.png", b"cut out")
    store(stack, "photos/b.jpg.error.json", b"{}", metadata={"code": "too_small"})
    store(stack, ".image-drop/answers/1", metadata={"call-digest": "1"})
    store(stack, "photos/holiday.png", metadata={})

    assert fetched(stack, out) == {
        "photos/ü shoe.jpg.png": "fetched",
        "photos/b.jpg.error.json": "fetched",
    }
    path = out / "photos" / "ü shoe.jpg.png"
    assert path.read_bytes() == b"cut out"
    head = stack.s3.head_object(Bucket=OUTPUT_BUCKET, Key="photos/ü shoe.jpg.png")
    assert path.stat().st_mtime == head["LastModified"].timestamp()
    assert files(out) == {"photos/ü shoe.jpg.png", "photos/b.jpg.error.json"}


def test_keys_that_differ_in_case_do_not_share_file(stack: QuietStack, out: Path) -> None:
    keys = ["A/x.png", "a/X.png", "a/y.png"]
    for key in keys:
        store(stack, key)

    found = fetched(stack, out, ignores_case=lambda _: True)

    assert (found["A/x.png"], found["a/y.png"]) == ("fetched", "fetched")
    assert "A/x.png has its name" in found["a/X.png"]
    assert files(out) == {"A/x.png", "a/y.png"}
    assert set(fetched(stack, out, ignores_case=lambda _: False).values()) == {"already", "fetched"}


def test_prefix_and_time_choose(stack: QuietStack, out: Path) -> None:
    store(stack, "photos/a.png")
    store(stack, "others/a.png")
    assert fetched(stack, out, "photos/") == {"photos/a.png": "fetched"}
    now = stack.deployment.services.now()
    assert fetched(stack, out, since=now + 60) == {}
    assert set(fetched(stack, out, since=now - 60)) == {"photos/a.png", "others/a.png"}


def test_key_is_relative_to_output_prefix(
    input_bucket: str,
    output_bucket: str,
    table: str,
    boto_client: Callable[[str], Any],
    out: Path,
) -> None:
    stack = quiet_stack(boto_client, OutputPrefix="edited/")
    store(stack, "edited/photos/a.png")
    store(stack, "others/a.png")
    assert fetched(stack, out, "photos/") == {"photos/a.png": "fetched"}
    assert files(out) == {"photos/a.png"}


def test_what_is_there_is_not_fetched_again(stack: QuietStack, out: Path) -> None:
    for key in ("same.png", "touched.png", "other-bytes.png", "half.png"):
        store(stack, key)
    fetched(stack, out)
    os.utime(out / "touched.png", (0, 0))
    (out / "other-bytes.png").write_bytes(b"A PICTURE")
    (out / "half.png").write_bytes(b"a pic")

    assert fetched(stack, out) == {
        "same.png": "already",
        "touched.png": "already",
        "other-bytes.png": "fetched",
        "half.png": "fetched",
    }
    assert {(out / name).read_bytes() for name in files(out)} == {b"a picture"}


def test_checksum_of_s3_counts_where_etag_is_no_md5(stack: QuietStack, out: Path) -> None:
    store(stack, "a.png", ChecksumAlgorithm="SHA256")
    store(stack, "b.png", ChecksumAlgorithm="CRC32")

    def another_etag(parsed: Any, **_: Any) -> None:
        for each in parsed.get("Contents", ()):
            each["ETag"] = '"of a KMS key"'

    stack.s3.meta.events.register("after-call.s3.ListObjectsV2", another_etag)
    try:
        fetched(stack, out)
        assert fetched(stack, out) == {"a.png": "already", "b.png": "already"}
        (out / "a.png").write_bytes(b"A PICTURE")
        assert fetched(stack, out) == {"a.png": "fetched", "b.png": "already"}
    finally:
        stack.s3.meta.events.unregister("after-call.s3.ListObjectsV2", another_etag)


def test_damaged_bytes_are_fetched_again_and_never_kept(
    stack: QuietStack, out: Path, damage: Callable[[int], None]
) -> None:
    store(stack, "a.png", b"old")
    fetched(stack, out)
    store(stack, "a.png", b"new")
    damage(3)
    assert "damaged" in fetched(stack, out)["a.png"]
    assert (out / "a.png").read_bytes() == b"old"
    damage(1)
    assert fetched(stack, out) == {"a.png": "fetched"}
    assert (out / "a.png").read_bytes() == b"new"
    assert files(out) == {"a.png"}


@pytest.mark.parametrize(
    "key",
    [
        "../a.png",
        "b/../../a.png",
        "/etc/a.png",
        "b//a.png",
        "./a.png",
        "b/./a.png",
        "b/",
        "..",
        "outside/a.png",
        "nul\0.png",
    ],
)
def test_hostile_key_has_no_place(tmp_path: Path, key: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "outside").symlink_to(tmp_path)
    with pytest.raises(UnsafeKeyError):
        local_path(out, key)


def test_hostile_keys_do_not_stop_others(stack: QuietStack, out: Path, tmp_path: Path) -> None:
    for key in ("../a.png", "b//a.png", f"{'ü' * 200}.png", "x", "x/y.png", "good.png"):
        store(stack, key)

    found = fetched(stack, out)

    assert found.pop("good.png") == "fetched"
    assert "no plain path" in found["../a.png"]
    assert "no plain path" in found["b//a.png"]
    assert "name too long" in found[f"{'ü' * 200}.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 0.0),
        ("1970-01-02", 86_400.0),
        ("1970-01-01T01:00", 3600.0),
        ("1970-01-01T02:00+01:00", 3600.0),
        ("30m", 998_200.0),
        ("12h", 956_800.0),
        ("7d", 395_200.0),
    ],
)
def test_moments_are_days_times_and_ages(text: str | None, expected: float) -> None:
    assert parsed(text, now=1_000_000.0) == expected


@pytest.mark.parametrize("text", ["yesterday", "7", "d", "-1d", "2026-13-01", ""])
def test_other_moments_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed(text, now=0.0)
