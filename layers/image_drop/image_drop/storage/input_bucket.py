"""The input bucket: the image as it is now, what is to be done with it, and its layers.

Strangers may have uploaded any of it. What they may decide is decided here: which instructions
count, and which objects an image may name as its layers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from image_drop.errors import (
    ImageChangedError,
    ImageDeletedError,
    LayerError,
    LayerNotThereError,
    TooLargeError,
    UnreadableObjectError,
)
from image_drop.instructions import schema, sources
from image_drop.instructions.sources import Source
from image_drop.storage.s3 import (
    CHANGED,
    DELETED,
    KEY_TOO_LONG,
    MAX_KEY_BYTES,
    MISSING,
    REFUSED,
    code_of,
)
from image_drop.uploads import FOLDER_FILE, LAYERS_FOLDER, SIDECAR_SUFFIX

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

MAX_LAYER_WAIT = 3600.0  # seconds
SOONEST_LOOK, LATEST_LOOK = 5.0, 120.0  # seconds until a layer is looked for again


@dataclass(frozen=True)
class InputObject:
    """One object of the input bucket at one moment. `size` is in bytes.

    `version`: its version id, or the time of its last change where the bucket has no versions.
    """

    bucket: str
    key: str
    etag: str
    size: int
    changed_at: datetime
    metadata: Mapping[str, str]
    version: str = ""


@dataclass(frozen=True)
class InputBucket:
    """The input bucket. `untrusted_prefixes`: as in `Settings`."""

    s3: "S3Client"
    untrusted_prefixes: tuple[str, ...] = ()

    def find(self, bucket: str, key: str) -> InputObject | None:
        """Return the object as it is now, or None. Raises `UnreadableObjectError`."""
        try:
            head = self.s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            _report_refusal(error, key)
            raise
        return InputObject(
            bucket,
            key,
            etag=head["ETag"].strip('"'),
            size=head["ContentLength"],
            changed_at=head["LastModified"],
            metadata=head["Metadata"],
            version=_version(head),
        )

    def sources(self, image: InputObject) -> list[Source]:
        """Return where its instructions come from, nearest first, without the template's defaults.

        What lies below an untrusted prefix is not asked for; `ignored` tells it.
        Raises `UnreadableInstructionsError` and `UnreadableObjectError`.
        """
        bucket, key = image.bucket, image.key
        found: list[Source | None] = []
        if not self._untrusted(key):
            found = [
                self._file(bucket, key + SIDECAR_SUFFIX),
                self._tags(bucket, key),
                sources.from_metadata(image.metadata),
            ]
        files = (folder + FOLDER_FILE for folder in folders_of(key))
        found += [self._file(bucket, file) for file in files if not self._untrusted(file)]
        return [source for source in found if source is not None]

    def ignored(self, image: InputObject) -> tuple[str, ...]:
        """Return what `sources` leaves out, in words and without a request.

        Whether there is a sidecar or a folder file below an untrusted prefix is not known, so that
        is said of all; the metadata are known.
        """
        prefix = self._untrusted(image.key)
        if not prefix:
            return ()
        given = sources.from_metadata(image.metadata).values
        metadata = ("the user metadata",) if any(key in schema.KEYS for key in given) else ()
        return (f"instructions below {prefix}", *metadata)

    def read(self, image: InputObject, max_bytes: int) -> bytes:
        """Return the object's bytes. Refused by its size first: an upload may have any.

        Raises `TooLargeError`, `UnreadableObjectError`, `ImageDeletedError`, and
        `ImageChangedError` when it is not the same object any more.
        """
        if image.size > max_bytes:
            raise TooLargeError(
                f"{image.key} has {image.size:,} bytes; the limit is {max_bytes:,}."
            )
        try:
            answer = self.s3.get_object(Bucket=image.bucket, Key=image.key, IfMatch=image.etag)
            return answer["Body"].read()
        except ClientError as error:
            if code_of(error) in MISSING:
                raise ImageDeletedError(f"{image.key} is not in the bucket any more.") from error
            if code_of(error) in CHANGED:
                raise ImageChangedError(f"{image.key} was replaced.") from error
            _report_refusal(error, image.key)
            raise

    def layer(self, image: InputObject, name: str, now: float) -> InputObject:
        """Return the layer `name`, a key relative to the image's folder.

        It lies in the image's own folder, or in a `_layers/` of that folder or of one above. For an
        image below an untrusted prefix, it lies above that prefix.

        Raises `LayerNotThereError` in the first hour after the image was uploaded, for layers may
        come later than their image; the older the image, the longer until the next look. Otherwise
        `LayerError`: before any request for a name that is not allowed, and in the same words
        whatever is wrong.
        """
        key = layer_key(image.key, name)
        if key is None or (self._untrusted(image.key) and self._untrusted(key)):
            raise unusable_layer(name)
        try:
            layer = self.find(image.bucket, key)
        except UnreadableObjectError as error:
            raise unusable_layer(key) from error
        if layer is not None:
            return layer
        age = max(0.0, now - image.changed_at.timestamp())
        if age < MAX_LAYER_WAIT:
            raise LayerNotThereError(
                f"The layer {key} is not in the bucket yet.",
                retry_at=now + min(max(age / 4, SOONEST_LOOK), LATEST_LOOK),
            )
        raise unusable_layer(key)

    def _untrusted(self, key: str) -> str | None:
        """The widest untrusted folder that a key is in; None where it is in none."""
        around = [prefix for prefix in self.untrusted_prefixes if key.startswith(prefix)]
        return (min(around, key=len) or "/") if around else None

    def _file(self, bucket: str, key: str) -> Source | None:
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            # An image's key may be so long that no file can be next to it.
            if code_of(error) in (*MISSING, *KEY_TOO_LONG):
                return None
            _report_refusal(error, key)
            raise
        content = answer["Body"].read(sources.MAX_FILE_BYTES + 1)
        answer["Body"].close()
        return sources.from_file(key, content)

    def _tags(self, bucket: str, key: str) -> Source | None:
        try:
            tags = self.s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        except ClientError as error:
            # Deleted this moment; reading it will say so. 405 is what a delete marker answers.
            if code_of(error) in (*MISSING, *DELETED):
                return None
            _report_refusal(error, f"the tags of {key}")
            raise
        return sources.from_tags({tag["Key"]: tag["Value"] for tag in tags})


def folders_of(key: str) -> Iterator[str]:
    """The folders that a key is in, nearest first, each with its slash; "" is the bucket itself."""
    folder = key
    while folder:
        folder = folder[: folder[:-1].rfind("/") + 1]
        yield folder


def layer_key(image_key: str, name: str) -> str | None:
    """Return the key that `name` stands for next to an image, or None where it is not allowed.

    `name` is relative to the image's folder; with a slash before it, to the bucket. Only `.`, `..`
    and empty steps of the name have a meaning: to S3 a key is a plain text, and so the image's own
    folder is never rewritten.
    """
    own = next(folders_of(image_key))
    steps = [] if name.startswith("/") else own.split("/")[:-1]
    for step in name.split("/"):
        if step == ".." and not steps:
            return None
        if step == "..":
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    key = "/".join(steps)
    places = (own, *(f"{folder}{LAYERS_FOLDER}/" for folder in folders_of(image_key)))
    within = any(key.startswith(place) and key != place for place in places)
    return key if within and len(key.encode()) <= MAX_KEY_BYTES else None


def unusable_layer(name: str) -> LayerError:
    """Return the report about a layer, the same whatever is wrong.

    A stranger may have named it: whether it exists, its size and its content are not theirs.
    """
    shown = name if len(name) <= 80 else name[:79] + "…"
    return LayerError(f"The layer {shown!r} cannot be used.")


def _version(head: "HeadObjectOutputTypeDef") -> str:
    version = head.get("VersionId", "null")  # the id of an object that is older than the versions
    return head["LastModified"].isoformat() if version == "null" else version


def _report_refusal(error: ClientError, what: str) -> None:
    """Raise `UnreadableObjectError` where S3 refuses an object for good."""
    if code_of(error) in REFUSED:
        raise UnreadableObjectError(f"S3 refuses to give {what}: {code_of(error)}.") from error
