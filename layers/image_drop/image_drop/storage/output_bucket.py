"""The output bucket: results, reports, and which of two writers wins."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import msgspec
from botocore.exceptions import ClientError

from image_drop.errors import ImageDropError, SettingsError
from image_drop.events import Place
from image_drop.storage.s3 import CHANGED, MAX_KEY_BYTES, MISSING, code_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_METADATA = 2048  # S3's limit for all names and values together
MAX_METADATA_VALUE = 1200  # leaves room for the others next to a long key
REPORT_TYPE = "application/json; charset=utf-8"
REPORT_SUFFIX = ".error.json"
# Paid answers that are not results yet. Hidden names are never images, so no result has this key.
ANSWERS = ".image-drop/answers/"
SUFFIXES = (".png", ".jpg", ".webp")  # of results; a finish chooses the format
MARKS = ("edit-id", "call-digest", "code")  # in the metadata of results, kept answers, reports
FORMAT_FIELDS = ("key", "folder", "stem", "mode")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a person reads when there is no result, in the style of RFC 9457.

    `attempts`: the number of calls. `status` and `request_id`: of Venice's answer, if there was
    one. `reference`: the caller's own id. `at`: UTC, ISO 8601.
    """

    code: str
    title: str
    detail: str
    what_to_do: str
    key: str
    reference: str | None = None
    variant: str | None
    mode: str | None
    attempts: int
    status: int | None
    request_id: str | None
    at: str


@dataclass(frozen=True)
class Stored:
    """An object of the output bucket. `metadata` as S3 has it, percent-encoded."""

    key: str
    etag: str
    stored_at: datetime
    metadata: Mapping[str, str]

    @property
    def edit_id(self) -> str | None:
        """The edit whose result it is; None for objects that Image Drop did not make."""
        return self.metadata.get("edit-id")

    @property
    def source_key(self) -> str | None:
        """The key of its image; None also if the key did not fit into the metadata."""
        return from_metadata(self.metadata).get("source-key")

    def is_of(self, key: str, variant: str | None) -> bool:
        """Return whether Image Drop made it from this image and variant.

        A key that is too long for the metadata is missing there; then only the variant counts.
        """
        made = not self.metadata.keys().isdisjoint(MARKS)
        same = self.metadata.get("source-key", _quoted(key)) == _quoted(key)
        return made and same and self.metadata.get("variant") == variant


class ResultChangedError(Exception):
    """Raised when another invocation has stored a result since the last read."""


def output_key(key_format: str, key: str, mode: str, variant: str | None, suffix: str) -> str:
    """Return the key of a result: `photos/shoe.jpg` → `photos/shoe.jpg.png`, or `…jpg.cutout.png`.

    `key_format`: the template's `OutputKeyFormat`, with the fields `{key}`, `{folder}` (with its
    slash), `{stem}` and `{mode}`. The variant and `suffix`, such as `.jpg`, replace a `.png` at
    its end. Raise `SettingsError`.
    """
    tail = f".{variant}{suffix}" if variant else suffix
    return _fitted(_path(key_format, key, mode), tail)


def possible_keys(key_format: str, key: str, mode: str) -> tuple[str, ...]:
    """Return the possible keys of the result of an image without variants, likeliest first."""
    path = _path(key_format, key, mode)
    return tuple(_fitted(path, suffix) for suffix in SUFFIXES)


def answer_key(call_digest: str) -> str:
    """Return the key of a paid answer until its edit is done; no result can have this key."""
    return f"{ANSWERS}{call_digest}"


def original_key(output_key: str) -> str:
    """Return the key of Venice's untouched answer, next to a finished result."""
    return output_key.rpartition(".")[0] + ".original.png"


def larger_key(output_key: str) -> str:
    """Return the key of the upscaler's untouched answer, next to a finished result."""
    return output_key.rpartition(".")[0] + ".larger.png"


def report_key(key: str, variant: str | None) -> str:
    """Return the key of an image's report: `photos/shoe.jpg` → `photos/shoe.jpg.error.json`."""
    return _fitted(key, f".{variant}{REPORT_SUFFIX}" if variant else REPORT_SUFFIX)


def report_keys(key: str, variant: str | None) -> tuple[str, str]:
    """Return the key of an image's report, and the key to use if another image's report has it.

    The variant `b` of `a.jpg` and an image `a.jpg.b` would share a key.
    """
    first = report_key(key, variant)
    mark = hashlib.sha256(f"{key}#{variant or ''}".encode()).hexdigest()[:16]
    return first, _fitted(first.removesuffix(REPORT_SUFFIX), f"~{mark}{REPORT_SUFFIX}")


def report_on(
    error: ImageDropError,
    *,
    key: str,
    reference: str | None = None,
    variant: str | None,
    mode: str | None,
    attempts: int,
    now: float,
) -> Report:
    """Return the report about an error."""
    return Report(
        code=error.code,
        title=error.title,
        detail=error.detail,
        what_to_do=error.advice,
        key=key,
        reference=reference,
        variant=variant,
        mode=mode,
        attempts=attempts,
        status=error.status,
        request_id=error.request_id,
        at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
    )


def encoded(report: Report) -> bytes:
    """Return a report's bytes, for people to read."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2)


def as_metadata(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the values as user metadata for S3, percent-encoded where they are not ASCII.

    A value that does not fit into S3's 2 KB is left out; the edit's event has it in full.
    """
    kept: dict[str, str] = {}
    room = MAX_METADATA
    for name, text in values.items():
        quoted = _quoted(text or "")
        size = len(name) + len(quoted)
        if quoted and len(quoted) <= MAX_METADATA_VALUE and size <= room:
            kept[name] = quoted
            room -= size
    return kept


def with_metadata_of_image(
    own: Mapping[str, str | None], others: Mapping[str, str]
) -> dict[str, str]:
    """Return `as_metadata(own)`, and of the image's own metadata as many as S3's limit leaves room.

    Those of ASCII stay exactly as they are. None has a name that Image Drop uses in a result.
    """
    kept = as_metadata(own)
    room = MAX_METADATA - sum(len(name) + len(text) for name, text in kept.items())
    for name, text in others.items():
        plain = text if text.isascii() and text.isprintable() else _quoted(text)
        size = len(name.encode()) + len(plain)
        if name not in own and name not in MARKS and plain and size <= room:
            kept[name] = plain
            room -= size
    return kept


def from_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the values that `as_metadata` encoded."""
    return {name: unquote(text) for name, text in metadata.items()}


@dataclass(frozen=True)
class OutputBucket:
    """The output bucket. All keys are below `prefix`."""

    s3: "S3Client"
    bucket: str
    prefix: str = ""

    def place(self, key: str) -> Place:
        """Return where S3 has an object; its key is cut if the prefix makes it too long."""
        tail = REPORT_SUFFIX if key.endswith(REPORT_SUFFIX) else key[key.rfind(".") :]
        return Place(self.bucket, _fitted(self.prefix + key.removesuffix(tail), tail))

    def find_output(self, key: str) -> Stored | None:
        """Return the object at `key`, or None."""
        try:
            head = self.s3.head_object(Bucket=self.bucket, Key=self.place(key).key)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
        return Stored(key, head["ETag"], head["LastModified"], head["Metadata"])

    def read_output(self, key: str) -> tuple[Stored, str, bytes] | None:
        """Return the object at `key`, its media type and its bytes, or None."""
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=self.place(key).key)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
        stored = Stored(key, answer["ETag"], answer["LastModified"], answer["Metadata"])
        return stored, answer["ContentType"], answer["Body"].read()

    def store_output(
        self,
        key: str,
        data: bytes,
        media_type: str,
        metadata: Mapping[str, str],
        seen: Stored | None,
    ) -> Stored:
        """Write an object over the one that was `seen` there; None means that there was none.

        Raise `ResultChangedError` when the object there is another one by now.
        """
        condition: dict[str, Any] = {"IfMatch": seen.etag} if seen else {"IfNoneMatch": "*"}
        try:
            answer = self.s3.put_object(
                Bucket=self.bucket,
                Key=self.place(key).key,
                Body=data,
                ContentType=media_type,
                Metadata=dict(metadata),
                **condition,
            )
        except ClientError as error:
            if code_of(error) in (*CHANGED, *MISSING):
                raise ResultChangedError(key) from error
            raise
        return Stored(key, answer["ETag"], datetime.now(UTC), metadata)

    def put_output(
        self, key: str, data: bytes, media_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Store a paid answer unconditionally, because only Image Drop writes there."""
        self.s3.put_object(
            Bucket=self.bucket,
            Key=self.place(key).key,
            Body=data,
            ContentType=media_type,
            Metadata=dict(metadata),
        )

    def remove_output(self, seen: Stored) -> None:
        """Delete the object that was seen, unless it is another one by now.

        In a bucket with versions, deleting a missing object would leave a delete marker.
        """
        try:
            self.s3.delete_object(
                Bucket=self.bucket, Key=self.place(seen.key).key, IfMatch=seen.etag
            )
        except ClientError as error:
            if code_of(error) not in (*MISSING, *CHANGED):
                raise


def _quoted(text: str) -> str:
    return quote(text, safe="/ :;,.=+@()")


def _path(key_format: str, key: str, mode: str) -> str:
    folder, slash, name = key.rpartition("/")
    stem = name.rpartition(".")[0] or name
    try:
        path = key_format.format(key=key, folder=folder + slash, stem=stem, mode=mode)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"OutputKeyFormat is {key_format!r}. It can hold these fields only: "
            f"{', '.join(f'{{{name}}}' for name in FORMAT_FIELDS)}."
        ) from error
    return path.removesuffix(".png")


def _fitted(path: str, tail: str) -> str:
    """Return `path + tail`, cut to S3's limit; a hash distinguishes two long keys."""
    if len((path + tail).encode()) <= MAX_KEY_BYTES:
        return path + tail
    tail = f"~{hashlib.sha256(path.encode()).hexdigest()[:16]}{tail}"
    room = MAX_KEY_BYTES - len(tail.encode())
    return path.encode()[:room].decode(errors="ignore") + tail
