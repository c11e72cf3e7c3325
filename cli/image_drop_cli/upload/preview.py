"""The input bucket as it will be once local files are sent, for planning without sending them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from image_drop.storage.s3 import MISSING, code_of
from image_drop.uploads import SIDECAR_SUFFIX, starts_nothing
from image_drop_cli.upload.folders import LocalFile
from image_drop_cli.upload.listed_folders import ListedFolders


@dataclass
class Preview:
    """An S3 client that only reads: local files first, then the bucket.

    What many images share, folder files and layers, is asked of the bucket once. What belongs to
    one image is asked only if the folder's listing has it, and not kept. Files that images need
    stay here; images themselves only while they are planned, see `showing`. `prefix`: of the input
    bucket, `listed`: of its keys.
    """

    s3: Any
    prefix: str
    listed: ListedFolders
    _local: dict[str, tuple[LocalFile, bytes | None]] = field(default_factory=dict)
    _answers: dict[tuple[str, str], Mapping[str, Any] | None] = field(default_factory=dict)
    exact: bool = False

    def digest(self, path: Path) -> str:
        """Return the ETag that a file gets in a bucket without a KMS key, if it matters."""
        if not self.exact:
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    def add(self, file: LocalFile) -> None:
        """Show a folder file or a layer."""
        self._local[self.prefix + file.key] = file, None

    @contextmanager
    def showing(self, file: LocalFile) -> Iterator[None]:
        """Show an image with its sidecar."""
        key = self.prefix + file.key
        self._local[key] = file, None
        if file.sidecar is not None:
            self._local[key + SIDECAR_SUFFIX] = file, file.sidecar
        try:
            yield
        finally:
            del self._local[key]
            self._local.pop(key + SIDECAR_SUFFIX, None)

    def head_object(self, *, Bucket: str, Key: str) -> Mapping[str, Any]:  # noqa: N803
        """Answer as S3 does."""
        if Key in self._local:
            return self._head(Key)
        return self._asked("head_object", Bucket, Key)

    def get_object(self, *, Bucket: str, Key: str) -> Mapping[str, Any]:  # noqa: N803
        """Answer as S3 does; for what is small: instructions."""
        if Key in self._local:
            file, content = self._local[Key]
            body = file.path.read_bytes() if content is None else content
            return {**self._head(Key), "Body": BytesIO(body)}
        answer = self._asked("get_object", Bucket, Key)
        return {**answer, "Body": BytesIO(answer["Body"])}

    def get_object_tagging(self, *, Bucket: str, Key: str) -> Mapping[str, Any]:  # noqa: ARG002, N803
        """Answer as S3 does; only local images are asked for."""
        file, _ = self._local[Key]
        return {"TagSet": [{"Key": name, "Value": text} for name, text in file.tags.items()]}

    def _head(self, key: str) -> Mapping[str, Any]:
        file, content = self._local[key]
        return {
            "ETag": f'"{self.digest(file.path) if content is None else ""}"',
            "ContentLength": file.path.stat().st_size if content is None else len(content),
            "LastModified": datetime.now(UTC),
            "Metadata": dict(file.metadata) if content is None else {},
        }

    def _asked(self, operation: str, bucket: str, key: str) -> Mapping[str, Any]:
        if not starts_nothing(key.removeprefix(self.prefix)):
            answer = self._ask(operation, bucket, key) if self.listed.may_have(key) else None
        elif (operation, key) in self._answers:
            answer = self._answers[operation, key]
        else:
            answer = self._answers[operation, key] = self._ask(operation, bucket, key)
        if answer is None:
            raise _missing(operation)
        return answer

    def _ask(self, operation: str, bucket: str, key: str) -> Mapping[str, Any] | None:
        try:
            answer = getattr(self.s3, operation)(Bucket=bucket, Key=key)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
        return {**answer, "Body": answer["Body"].read()} if "Body" in answer else answer


def _missing(operation: str) -> ClientError:
    """Return a new error: one that is raised again and again keeps all its frames."""
    return ClientError({"Error": {"Code": "NoSuchKey", "Message": "No such key."}}, operation)
