"""The input bucket: the image as it is now, its instructions, and its layers.

Strangers may have uploaded any of it. This module decides what they can influence: which
instructions count, and which objects an image may use as its layers.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
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
from image_drop.events import Place
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
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

MAX_LAYER_WAIT = 3600.0  # seconds
SOONEST_LOOK, LATEST_LOOK = 5.0, 120.0  # seconds until the next check for a missing layer


@dataclass(frozen=True)
class InputObject:
    """One object of the input bucket at one moment. `size` is in bytes.

    `version`: its version id, or the time of its last change if the bucket has no versions.
    `tagged`: whether it may have tags. `body`: S3's answer, if its bytes have not been read yet.
    """

    bucket: str
    key: str
    etag: str
    size: int
    changed_at: datetime
    metadata: Mapping[str, str]
    version: str = ""
    tagged: bool = True
    body: "StreamingBody | None" = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class InputBucket:
    """The input bucket, below `prefix`. `untrusted_prefixes`: as in `Settings`."""

    s3: "S3Client"
    untrusted_prefixes: tuple[str, ...] = ()
    prefix: str = ""

    def place(self, bucket: str, key: str) -> Place:
        """Return where S3 has an object."""
        return Place(bucket, self.prefix + key)

    @contextmanager
    def open_object(self, bucket: str, key: str) -> Iterator[InputObject | None]:
        """Find an object and begin to read it in one request, until the context ends.

        Raise what `find_object` raises.
        """
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=self.prefix + key)
        except ClientError as error:
            if code_of(error) not in (*MISSING, *REFUSED):
                raise
            answer = None
        if answer is None:  # a HEAD says more: an archived object has one
            yield self.find_object(bucket, key)
            return
        with closing(answer["Body"]) as body:
            yield _found(bucket, key, answer, tagged="TagCount" in answer, body=body)

    def find_object(
        self, bucket: str, key: str, before: InputObject | None = None
    ) -> InputObject | None:
        """Return the object as it is now, or None. Raise `UnreadableObjectError`.

        `before`: the object as it was seen before. If it had no tags then, S3's answer says whether
        it has some now.
        """
        try:
            head = self.s3.head_object(Bucket=bucket, Key=self.prefix + key)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            _report_refusal(error, key)
            raise
        tagged = before is None or before.tagged or "TagCount" in head
        return _found(bucket, key, head, tagged=tagged)

    def sources(self, image: InputObject) -> Iterator[Source]:
        """Yield the sources of its instructions, nearest first, without the template's defaults.

        Sources below an untrusted prefix are not read; `ignored` lists them.
        Raise `UnreadableInstructionsError` and `UnreadableObjectError`.
        """
        bucket, key = image.bucket, image.key
        if not self._untrusted(key):
            if sidecar := self._file(bucket, key + SIDECAR_SUFFIX):
                yield sidecar
            if image.tagged:
                yield self._tags(bucket, key)
            yield sources.from_metadata(image.metadata)
        for folder in folders_of(key):
            file = folder + FOLDER_FILE
            if not self._untrusted(file) and (found := self._file(bucket, file)):
                yield found

    def passed_through(self, image: InputObject) -> dict[str, str]:
        """Return its user metadata that are not instructions, by name: they go to its result.

        Metadata below an untrusted prefix do not count.
        """
        if self._untrusted(image.key):
            return {}
        return {
            name: text for name, text in sorted(image.metadata.items()) if name not in schema.KEYS
        }

    def ignored(self, image: InputObject) -> tuple[str, ...]:
        """Return what `sources` leaves out, in words and without a request.

        Without a request it is unknown whether there is a sidecar, a folder file or tags, so all
        of them are named together. The metadata are known.
        """
        prefix = self._untrusted(image.key)
        if not prefix:
            return ()
        given = sources.from_metadata(image.metadata).values
        metadata = ("the user metadata",) if any(key in schema.KEYS for key in given) else ()
        return (f"instructions below {prefix}", *metadata)

    def read_object(self, image: InputObject, max_bytes: int) -> bytes:
        """Return the object's bytes. Check its size first, because an upload may have any size.

        Raise `TooLargeError`, `UnreadableObjectError`, `ImageDeletedError`, or
        `ImageChangedError` when it is no longer the same object.
        """
        if image.size > max_bytes:
            raise TooLargeError(
                f"{image.key} has {image.size:,} bytes. The limit is {max_bytes:,} (MaxImageBytes)."
            )
        if image.body is not None and image.body.tell() == 0:
            return image.body.read()
        try:
            answer = self.s3.get_object(
                Bucket=image.bucket, Key=self.prefix + image.key, IfMatch=image.etag
            )
            return answer["Body"].read()
        except ClientError as error:
            if code_of(error) in MISSING:
                raise ImageDeletedError(f"{image.key} is no longer in the bucket.") from error
            if code_of(error) in CHANGED:
                raise ImageChangedError(f"{image.key} was replaced.") from error
            _report_refusal(error, image.key)
            raise

    def layer(self, image: InputObject, name: str, now: float) -> InputObject:
        """Return the layer `name`, a key relative to the image's folder.

        A layer is in the image's own folder, or in a `_layers/` of that folder or of one above. For
        an image below an untrusted prefix, it is outside of that prefix.

        Raise `LayerNotThereError` in the first hour after the image was uploaded, because layers
        may come later than their image; the older the image, the longer until the next check.
        Otherwise raise `LayerError`: before any request if the name is not allowed, and with the
        same text whatever is wrong.
        """
        key = layer_key(image.key, name)
        if key is None or len((self.prefix + key).encode()) > MAX_KEY_BYTES:
            raise unusable_layer(name)
        if self._untrusted(image.key) and self._untrusted(key):
            raise unusable_layer(name)
        try:
            layer = self.find_object(image.bucket, key)
        except UnreadableObjectError as error:
            raise unusable_layer(key) from error
        if layer is not None:
            return layer
        age = max(0.0, now - image.changed_at.timestamp())
        if age < MAX_LAYER_WAIT:
            raise LayerNotThereError(
                f"The layer {key} has not been uploaded yet.",
                retry_at=now + min(max(age / 4, SOONEST_LOOK), LATEST_LOOK),
            )
        raise unusable_layer(key)

    def trusts(self, key: str) -> bool:
        """Return whether instructions at a key count."""
        return self._untrusted(key) is None

    def scope(self, key: str) -> str:
        """Return the untrusted folder within which the results of a key are reused, or ""."""
        return self._untrusted(key) or ""

    def _untrusted(self, key: str) -> str | None:
        """Return the outermost untrusted folder that a key is in, or None."""
        around = [prefix for prefix in self.untrusted_prefixes if key.startswith(prefix)]
        return (min(around, key=len) or "/") if around else None

    def _file(self, bucket: str, key: str) -> Source | None:
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=self.prefix + key)
        except ClientError as error:
            # An image's key may be so long that the key of a sidecar would exceed S3's limit.
            if code_of(error) in (*MISSING, *KEY_TOO_LONG):
                return None
            _report_refusal(error, key)
            raise
        content = answer["Body"].read(sources.MAX_FILE_BYTES + 1)
        answer["Body"].close()
        return sources.from_file(key, content, answer["LastModified"].timestamp())

    def _tags(self, bucket: str, key: str) -> Source:
        try:
            answer = self.s3.get_object_tagging(Bucket=bucket, Key=self.prefix + key)
        except ClientError as error:
            if code_of(error) in (*MISSING, *DELETED):  # a delete marker answers 405
                raise ImageDeletedError(f"{key} is no longer in the bucket.") from error
            _report_refusal(error, f"the tags of {key}")
            raise
        return sources.from_tags({tag["Key"]: tag["Value"] for tag in answer["TagSet"]})


def folders_of(key: str) -> Iterator[str]:
    """Yield the folders that a key is in, nearest first, each with its slash; "" is the bucket."""
    folder = key
    while folder:
        folder = folder[: folder[:-1].rfind("/") + 1]
        yield folder


def layer_key(image_key: str, name: str) -> str | None:
    """Return the key of the layer `name` of an image, or None if it is not allowed.

    `name` is relative to the image's folder, or to the bucket if it begins with a slash. Only the
    steps of `name` are normalized (`.`, `..` and empty ones). To S3 a key is plain text, so the
    image's own folder stays as it is.
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
    return key if within else None


def unusable_layer(name: str) -> LayerError:
    """Return the error about a layer, the same whatever is wrong.

    A stranger may have named it, and must not learn whether it exists, its size or its content.
    """
    shown = name if len(name) <= 80 else name[:79] + "…"
    return LayerError(f"The layer {shown!r} cannot be used.")


def _found(
    bucket: str,
    key: str,
    head: "HeadObjectOutputTypeDef | GetObjectOutputTypeDef",
    *,
    tagged: bool,
    body: "StreamingBody | None" = None,
) -> InputObject:
    return InputObject(
        bucket,
        key,
        etag=head["ETag"].strip('"'),
        size=head["ContentLength"],
        changed_at=head["LastModified"],
        metadata=head["Metadata"],
        version=_version(head),
        tagged=tagged,
        body=body,
    )


def _version(head: "HeadObjectOutputTypeDef | GetObjectOutputTypeDef") -> str:
    version = head.get("VersionId", "null")  # S3's id of an object from before versioning
    return head["LastModified"].isoformat() if version == "null" else version


def _report_refusal(error: ClientError, what: str) -> None:
    """Raise `UnreadableObjectError` if S3 refuses access to an object for good."""
    if code_of(error) in REFUSED:
        raise UnreadableObjectError(f"S3 refuses access to {what} ({code_of(error)}).") from error
