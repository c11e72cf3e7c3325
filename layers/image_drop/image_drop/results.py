"""The output bucket: results, reports, and which of two writers may store."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from botocore.exceptions import ClientError

from image_drop.errors import ImageDropError, SettingsError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_KEY_BYTES = 1024  # S3's limit
MAX_METADATA = 2048  # S3's limit for all names and values together
MAX_METADATA_VALUE = 1200  # so that a long key leaves room for the rest
REPORT_SUFFIX = ".error.json"
SUFFIXES = (".png", ".jpg", ".webp")  # of results, as a finish may have it
MISSING = ("404", "NoSuchKey", "NotFound")  # how S3 says that an object is not there
FORMAT_FIELDS = ("key", "folder", "stem", "mode")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a person reads when there is no result; problem details in the manner of RFC 9457.

    `attempts`: how often the edit was begun. `status` and `request_id` are Venice's, where it
    answered. `at`: UTC, ISO 8601.
    """

    code: str
    title: str
    detail: str
    what_to_do: str
    key: str
    variant: str | None
    mode: str | None
    attempts: int
    status: int | None
    request_id: str | None
    at: str


@dataclass(frozen=True)
class Stored:
    """A result or report that is in the output bucket."""

    etag: str
    edit_id: str | None
    call_id: str | None
    stored_at: datetime


class ResultChangedError(Exception):
    """When another invocation has stored a result since it was last looked at."""


def output_key(key_format: str, key: str, mode: str, variant: str | None, suffix: str) -> str:
    """Where a result goes: `photos/shoe.jpg` → `photos/shoe.jpg.png`, or `…jpg.cutout.png`.

    `key_format` is the template's `OutputKeyFormat`, with the fields `{key}`, `{folder}` (with its
    slash), `{stem}` and `{mode}`. A `.png` at its end gives way to the variant and `suffix`, such
    as `.jpg`. Raises `SettingsError`.
    """
    tail = f".{variant}{suffix}" if variant else suffix
    return _fitted(_path(key_format, key, mode), tail)


def possible_keys(key_format: str, key: str, mode: str) -> tuple[str, ...]:
    """Everywhere that the result of an image without variants can be, likeliest first."""
    path = _path(key_format, key, mode)
    return tuple(_fitted(path, suffix) for suffix in SUFFIXES)


def report_key(key: str, variant: str | None) -> str:
    """Where the report of an image goes: `photos/shoe.jpg` → `photos/shoe.jpg.error.json`."""
    return _fitted(key, f".{variant}{REPORT_SUFFIX}" if variant else REPORT_SUFFIX)


def report_on(
    error: ImageDropError,
    *,
    key: str,
    variant: str | None,
    mode: str | None,
    attempts: int,
    now: float,
) -> Report:
    """The report about an error."""
    return Report(
        code=error.code,
        title=error.title,
        detail=error.detail,
        what_to_do=error.advice,
        key=key,
        variant=variant,
        mode=mode,
        attempts=attempts,
        status=error.status,
        request_id=error.request_id,
        at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
    )


def as_metadata(values: Mapping[str, str | None]) -> dict[str, str]:
    """User metadata that S3 takes: ASCII, percent-encoded where it is not.

    A value that would not fit into S3's 2 KB is left out; the edit's event has it in full.
    """
    kept: dict[str, str] = {}
    room = MAX_METADATA
    for name, text in values.items():
        quoted = quote(text or "", safe="/ :;,.=+@()")
        size = len(name) + len(quoted)
        if quoted and len(quoted) <= MAX_METADATA_VALUE and size <= room:
            kept[name] = quoted
            room -= size
    return kept


@dataclass(frozen=True)
class Results:
    """The output bucket."""

    s3: "S3Client"
    bucket: str

    def read(self, key: str) -> bytes:
        """The bytes of a result."""
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keep(self, key: str, data: bytes, media_type: str, call_id: str) -> None:
        """Keep Venice's untouched answer, under what it was asked for."""
        self.s3.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=data,
            ContentType=media_type,
            Metadata={"call-id": call_id},
        )

    def find(self, key: str) -> Stored | None:
        """The result or report at `key`, or None."""
        try:
            head = self.s3.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return None
            raise
        metadata = head["Metadata"]
        return Stored(
            head["ETag"], metadata.get("edit-id"), metadata.get("call-id"), head["LastModified"]
        )

    def store(
        self,
        key: str,
        data: bytes,
        media_type: str,
        metadata: Mapping[str, str],
        seen: Stored | None,
    ) -> None:
        """Write a result in the place of the one that was `seen` there (None: of nothing).

        Raises `ResultChangedError` when that is not what is there any more.
        """
        condition: dict[str, Any] = {"IfMatch": seen.etag} if seen else {"IfNoneMatch": "*"}
        try:
            self.s3.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=data,
                ContentType=media_type,
                Metadata=dict(metadata),
                **condition,
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"):
                raise ResultChangedError(key) from error
            raise

    def write_report(self, report: Report, edit_id: str | None) -> None:
        """Put a report beside where the result would be.

        With the `edit_id`, a repeated delivery of the same upload will not try the edit again.
        """
        self.s3.put_object(
            Bucket=self.bucket,
            Key=report_key(report.key, report.variant),
            Body=msgspec.json.format(msgspec.json.encode(report), indent=2),
            ContentType="application/json; charset=utf-8",
            Metadata={"edit-id": edit_id} if edit_id else {},
        )

    def remove(self, key: str) -> None:
        """Remove an object, if it is there."""
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def remove_report(self, key: str, variant: str | None) -> None:
        """Remove an older report, if there is one."""
        self.remove(report_key(key, variant))


def _path(key_format: str, key: str, mode: str) -> str:
    folder, slash, name = key.rpartition("/")
    stem = name.rpartition(".")[0] or name
    try:
        path = key_format.format(key=key, folder=folder + slash, stem=stem, mode=mode)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"OUTPUT_KEY_FORMAT {key_format!r} is not a format of {', '.join(FORMAT_FIELDS)}"
        ) from error
    return path.removesuffix(".png")


def _fitted(path: str, tail: str) -> str:
    """`path + tail`, cut to what S3 takes; a hash keeps two long keys apart."""
    if len((path + tail).encode()) <= MAX_KEY_BYTES:
        return path + tail
    tail = f"~{hashlib.sha256(path.encode()).hexdigest()[:16]}{tail}"
    room = MAX_KEY_BYTES - len(tail.encode())
    return path.encode()[:room].decode(errors="ignore") + tail
