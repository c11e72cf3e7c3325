"""S3: buckets with versions, delete markers and conditional writes.

Strongly consistent, and with times in whole seconds, as S3 gives them.
"""

import hashlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3

from tests.simulation.aws.errors import client_error


@dataclass(frozen=True)
class Version:
    """One version of a key; a delete marker where `body` is None."""

    id: str
    etag: str
    at: float
    body: bytes | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "binary/octet-stream"


@dataclass(frozen=True)
class Body:
    """The stream of an answer."""

    data: bytes

    def read(self, amount: int | None = None) -> bytes:
        return self.data[:amount]

    def tell(self) -> int:
        return 0

    def close(self) -> None: ...


@cache
def _meta() -> Any:
    return boto3.client("s3", "us-east-1").meta


@dataclass
class S3:
    """All buckets of the account.

    `on_event(name, bucket, key)` is told of each object that is created or tagged.
    """

    now: Callable[[], float]
    on_event: Callable[[str, str, str], object]
    versions: dict[tuple[str, str], list[Version]] = field(default_factory=dict)
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def meta(self) -> Any:
        return _meta()

    # what people do, and what a test looks at

    def current(self, bucket: str, key: str) -> Version | None:
        """Return what the key holds now."""
        history = self.versions.get((bucket, key))
        return history[-1] if history and history[-1].body is not None else None

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys that hold something, in S3's order: that of their UTF-8 bytes."""
        return sorted(
            (
                key
                for (place, key), history in self.versions.items()
                if place == bucket and key.startswith(prefix) and history[-1].body is not None
            ),
            key=str.encode,
        )

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        media_type: str = "binary/octet-stream",
    ) -> Version:
        """Store an object."""
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        version = Version(
            self._id(), etag, self.now(), body, dict(metadata or {}), dict(tags or {}), media_type
        )
        self.versions.setdefault((bucket, key), []).append(version)
        self.on_event("ObjectCreated:Put", bucket, key)
        return version

    def tag(self, bucket: str, key: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of what the key holds; it stays the same version."""
        history = self.versions[bucket, key]
        history[-1] = replace(history[-1], tags=dict(tags))
        self.on_event("ObjectTagging:Put", bucket, key)

    def delete(self, bucket: str, key: str) -> Version:
        """Put a delete marker on a key, whatever it holds; return it."""
        marker = Version(self._id(), "", self.now(), None)
        self.versions.setdefault((bucket, key), []).append(marker)
        return marker

    # boto3's calls

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        return self._head(self._find(Bucket, Key, "404"))

    def get_object(self, *, Bucket: str, Key: str, IfMatch: str | None = None) -> dict[str, Any]:
        found = self._find(Bucket, Key, "NoSuchKey")
        if IfMatch and IfMatch.strip('"') != found.etag.strip('"'):
            raise client_error("PreconditionFailed", 412, "GetObject")
        assert found.body is not None
        return self._head(found) | {"Body": Body(found.body)}

    def get_object_tagging(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        history = self.versions.get((Bucket, Key))
        if history and history[-1].body is None:
            raise client_error("MethodNotAllowed", 405, "GetObjectTagging")
        found = self._find(Bucket, Key, "NoSuchKey")
        return {"TagSet": [{"Key": name, "Value": text} for name, text in found.tags.items()]}

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: bytes,
        Metadata: Mapping[str, str],
        ContentType: str,
        IfMatch: str | None = None,
        IfNoneMatch: str | None = None,
    ) -> dict[str, Any]:
        there = self.current(Bucket, Key)
        if IfMatch and there is None:
            raise client_error("NoSuchKey", 404, "PutObject")
        if (IfNoneMatch and there) or (IfMatch and there and there.etag != IfMatch):
            raise client_error("PreconditionFailed", 412, "PutObject")
        stored = self.put(Bucket, Key, Body, metadata=Metadata, media_type=ContentType)
        return {"ETag": stored.etag, "VersionId": stored.id}

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str | None = None) -> dict[str, Any]:
        there = self.current(Bucket, Key)
        if IfMatch and there is None:
            raise client_error("NoSuchKey", 404, "DeleteObject")
        if IfMatch and there and there.etag != IfMatch:
            raise client_error("PreconditionFailed", 412, "DeleteObject")
        self.delete(Bucket, Key)
        return {}

    def list_objects_v2(
        self, *, Bucket: str, Prefix: str = "", MaxKeys: int = 1000, StartAfter: str = ""
    ) -> dict[str, Any]:
        keys = [key for key in self.keys(Bucket, Prefix) if key.encode() > StartAfter.encode()]
        page = [(key, self.versions[Bucket, key][-1]) for key in keys[:MaxKeys]]
        contents = [
            {"Key": key, "LastModified": _time(found.at), "ETag": found.etag} for key, found in page
        ]
        listed = {"Contents": contents} if contents else {}
        return {"IsTruncated": len(keys) > MaxKeys, **listed}

    def _find(self, bucket: str, key: str, code: str) -> Version:
        found = self.current(bucket, key)
        if found is None:
            raise client_error(code, 404)
        return found

    def _head(self, found: Version) -> dict[str, Any]:
        return {
            "ETag": found.etag,
            "ContentLength": len(found.body or b""),
            "LastModified": _time(found.at),
            "Metadata": dict(found.metadata),
            "ContentType": found.media_type,
            "VersionId": found.id,
        } | ({"TagCount": len(found.tags)} if found.tags else {})

    def _id(self) -> str:
        return f"v{next(self._serial):031d}"  # as long as S3's: what holds it is billed by size


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)
