"""Files go into the input bucket, each at most once, with its sidecar before it."""

import base64
import hashlib
import mimetypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from io import BufferedIOBase, BytesIO
from typing import Any, BinaryIO, Self
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError

from image_drop.events import Place
from image_drop.storage.s3 import BAD_DIGEST, CHANGED, code_of
from image_drop.uploads import SIDECAR_SUFFIX
from image_drop_cli.upload.events import NotSentError
from image_drop_cli.upload.folders import LocalFile
from image_drop_cli.upload.objects import BY_PUT, StoredObject, find_object


@dataclass(frozen=True)
class SendResult:
    """A file is in the bucket; `already` if it was there before.

    `instructions_changed_at`: when its sidecar was replaced, in seconds since 1970; 0 if it was
    not.
    """

    already: bool
    instructions_changed_at: float


@dataclass(frozen=True)
class Sender:
    """Sends files to the input bucket.

    `place`: where the bucket has a key.
    `max_bytes`: the stack refuses larger images. `overwrite`: replace different objects under the
    same keys, instead of refusing the file.
    """

    s3: Any
    place: Callable[[str], Place]
    max_bytes: int
    overwrite: bool

    def send(self, file: LocalFile) -> SendResult:
        """Send a file, unless the bucket has the same one at its key.

        Raise `NotSentError` if this file cannot be sent, `OSError` if it cannot be read, and
        boto3's errors if the bucket cannot be used.
        """
        with file.path.open("rb") as content:
            size = os.fstat(content.fileno()).st_size
            if size > self.max_bytes:
                raise NotSentError(
                    f"The file has {size:,} bytes; the stack accepts {self.max_bytes:,} "
                    "(MaxImageBytes). Send a smaller version."
                )
            digest = _Digest.of(content)
            existing = self._existing(file.key, digest, "a different file")
            changed_at = self._send_sidecar(file, existing)
            if existing is not _Existing.SAME:
                self._send_content(file, content, digest)
        return SendResult(existing is _Existing.SAME, changed_at)

    def _send_sidecar(self, file: LocalFile, image: "_Existing") -> float:
        """Return when the instructions in the bucket changed to these; 0 if they did not.

        Instructions that `put` wrote itself are replaced, those of anybody else only with
        `overwrite`.
        """
        if file.sidecar is None:
            return 0.0
        key = file.key + SIDECAR_SUFFIX
        digest = _Digest.of(BytesIO(file.sidecar))
        seen = find_object(self.s3, key, self.place(key))
        own = seen if seen and seen.by_put else None
        if self._known(seen, digest, "different instructions", own=bool(own)) is _Existing.SAME:
            return 0.0
        if image is _Existing.OTHER:
            # The new instructions are not for the old image, whose edit would cost money.
            # The bucket keeps its versions.
            old = self.place(file.key)
            self.s3.delete_object(Bucket=old.bucket, Key=old.key)
        values: dict[str, Any] = {"IfMatch": own.etag} if own and not self.overwrite else {}
        self._put(
            key, file.sidecar, digest, ContentType="application/json", Metadata=BY_PUT, **values
        )
        stored = find_object(self.s3, key, self.place(key))
        return stored.changed_at if stored else 0.0

    def _existing(self, key: str, digest: "_Digest", what: str) -> "_Existing":
        return self._known(find_object(self.s3, key, self.place(key)), digest, what)

    def _known(
        self, stored: StoredObject | None, digest: "_Digest", what: str, *, own: bool = False
    ) -> "_Existing":
        if stored is None:
            return _Existing.NOTHING
        if digest.matches(stored):
            return _Existing.SAME
        if self.overwrite or own:
            return _Existing.OTHER
        raise NotSentError(
            f"The bucket already has {what} at {stored.key}. Choose another folder with --to, or "
            "replace it with --overwrite."
        )

    def _send_content(self, file: LocalFile, content: BinaryIO, digest: "_Digest") -> None:
        before = _fingerprint(content)
        content.seek(0)
        try:
            self._put(
                file.key,
                content,
                digest,
                ContentType=mimetypes.guess_type(file.path)[0] or "application/octet-stream",
                Tagging=urlencode(file.tags),
                Metadata=dict(file.metadata),
            )
        except (ClientError, BotoCoreError) as error:
            # A file that shrinks on its way makes S3 wait, and the connection break.
            broken = isinstance(error, ClientError) and code_of(error) in BAD_DIGEST
            if broken or _fingerprint(content) != before:
                raise NotSentError(
                    "The file changed while it was being read. Send it again when it is complete."
                ) from error
            raise

    def _put(self, key: str, body: bytes | BinaryIO, digest: "_Digest", **values: Any) -> None:
        """Put an object, unless somebody else has just put a different one there."""
        if not self.overwrite and "IfMatch" not in values:
            values["IfNoneMatch"] = "*"
        place = self.place(key)
        try:
            self.s3.put_object(
                Bucket=place.bucket,
                Key=place.key,
                Body=body,
                ContentMD5=base64.b64encode(digest.md5).decode(),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=digest.sha256_base64,
                **values,
            )
        except ClientError as error:
            if code_of(error) not in CHANGED:
                raise
            existing = self._existing(key, digest, "a different file, uploaded just now,")
            if existing is not _Existing.SAME:
                raise NotSentError(
                    f"Somebody else changed {key} at the same moment. Run the command again."
                ) from error


class _Existing(Enum):
    """What the bucket has at the key of a file."""

    NOTHING = auto()
    SAME = auto()
    OTHER = auto()


@dataclass(frozen=True)
class _Digest:
    """What tells that an object has the same bytes as a file.

    Its ETag is the MD5 if it was put in one piece without a KMS key. `put` sends a SHA-256 with
    each object, so S3 knows that one whatever the key.
    """

    md5: bytes
    sha256: bytes

    @classmethod
    def of(cls, file: BufferedIOBase) -> Self:
        """Read a file to its end, twice."""
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
        file.seek(0)
        return cls(md5, hashlib.file_digest(file, "sha256").digest())

    @property
    def sha256_base64(self) -> str:
        """The SHA-256 in S3's notation."""
        return base64.b64encode(self.sha256).decode()

    def matches(self, stored: StoredObject) -> bool:
        """Return whether an object has these bytes."""
        return stored.etag == self.md5.hex() or stored.sha256 == self.sha256_base64


def _fingerprint(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
