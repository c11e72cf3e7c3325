"""The input bucket: the image as it is now, what is to be done with it, and its layers."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from image_drop import instructions
from image_drop.errors import (
    ImageChangedError,
    ImageDeletedError,
    LayerError,
    LayerNotThereError,
    TooLargeError,
)
from image_drop.instructions import Source
from image_drop.results import MAX_KEY_BYTES, MISSING
from image_drop.uploads import FOLDER_FILE, SIDECAR_SUFFIX

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LAYER_PATIENCE = 3600.0  # seconds


@dataclass(frozen=True)
class Original:
    """One object of the input bucket at one moment. `size` is in bytes.

    `version`: S3's version id; in a bucket without versions, the time of the last change.
    """

    bucket: str
    key: str
    etag: str
    size: int
    changed_at: datetime
    metadata: Mapping[str, str]
    version: str


@dataclass(frozen=True)
class Originals:
    """The input bucket."""

    s3: "S3Client"

    def find(self, bucket: str, key: str) -> Original | None:
        """The object as it is now, or None."""
        try:
            head = self.s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if _code(error) in MISSING:
                return None
            raise
        etag = head["ETag"].strip('"')
        changed_at, version = head["LastModified"], head.get("VersionId", "null")
        return Original(
            bucket,
            key,
            etag,
            head["ContentLength"],
            changed_at,
            head["Metadata"],
            version if version != "null" else changed_at.isoformat(),
        )

    def sources(self, original: Original) -> list[Source]:
        """Where its instructions come from, nearest first, without the template's defaults.

        Raises `UnreadableInstructionsError`.
        """
        bucket, key = original.bucket, original.key
        found = [self._file(bucket, key + SIDECAR_SUFFIX), self._tags(bucket, key)]
        found.append(instructions.from_metadata(original.metadata))
        found += [self._file(bucket, folder + FOLDER_FILE) for folder in folders_of(key)]
        return [source for source in found if source is not None]

    def read(self, original: Original, max_bytes: int) -> bytes:
        """The object's bytes. Refused by its size first: an upload may have any.

        Raises `TooLargeError`, `ImageDeletedError`, and `ImageChangedError` when it is not the
        same object any more.
        """
        if original.size > max_bytes:
            raise TooLargeError(
                f"{original.key} has {original.size:,} bytes; the limit is {max_bytes:,}."
            )
        try:
            answer = self.s3.get_object(
                Bucket=original.bucket, Key=original.key, IfMatch=original.etag
            )
            return answer["Body"].read()
        except ClientError as error:
            if _code(error) in MISSING:
                raise ImageDeletedError(f"{original.key} is not in the bucket any more.") from error
            if _code(error) in ("412", "PreconditionFailed"):
                raise ImageChangedError(f"{original.key} was replaced.") from error
            raise

    def layer(self, image: Original, name: str, now: float) -> Original:
        """The layer `name`, a key relative to the image's folder.

        Raises `LayerNotThereError` in the first hour after the image was uploaded, for layers may
        come later than their image; after that, `LayerError`.
        """
        key = posixpath.normpath(posixpath.join(posixpath.dirname(image.key), name)).lstrip("/")
        if key in ("", ".", "..") or key.startswith("../"):
            raise LayerError(f"The layer {name!r} names no file in the bucket.")
        if len(key.encode()) > MAX_KEY_BYTES:
            raise LayerError(
                f"The layer {name[:80]}… has a key of more than {MAX_KEY_BYTES} bytes."
            )
        layer = self.find(image.bucket, key)
        if layer is not None:
            return layer
        if now < image.changed_at.timestamp() + LAYER_PATIENCE:
            raise LayerNotThereError(f"The layer {key} is not in the bucket yet.")
        raise LayerError(f"The layer {key} is not in the bucket.")

    def _file(self, bucket: str, key: str) -> Source | None:
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            # An image's key may be so long that no file can be beside it.
            if _code(error) in (*MISSING, "KeyTooLongError"):
                return None
            raise
        content = answer["Body"].read(instructions.MAX_FILE_BYTES + 1)
        answer["Body"].close()
        return instructions.from_file(key, content)

    def _tags(self, bucket: str, key: str) -> Source | None:
        try:
            tags = self.s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        except ClientError as error:
            if _code(error) in MISSING:
                return None  # deleted this moment; reading it will say so
            raise
        return instructions.from_tags({tag["Key"]: tag["Value"] for tag in tags})


def folders_of(key: str) -> Iterator[str]:
    """The folders that a key is in, nearest first, each with its slash; "" is the bucket itself."""
    folder = key
    while folder:
        folder = folder[: folder[:-1].rfind("/") + 1]
        yield folder


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
