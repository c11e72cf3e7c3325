"""S3: objects with conditional writes, and listings in the order of their keys."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.support.virtual.service import SPREAD, Meter, failure
from tests.support.virtual.world import World

HEAD = 0.015  # seconds, medians
GET = 0.060  # a photo of 2 MB
SMALL = 0.020
PUT = 0.080  # a result of 2 MB
LIST = 0.100  # a thousand keys
EVENT = 0.8  # from the upload to the invocation; "typically seconds"


class NotFoundError(ClientError):
    """S3's 404."""

    def __init__(self) -> None:
        super().__init__(failure("404", 404), "S3")


class PreconditionFailedError(ClientError):
    """S3's 412."""

    def __init__(self) -> None:
        super().__init__(failure("PreconditionFailed", 412), "S3")


@dataclass(frozen=True, slots=True)
class Object:
    """What is stored under a key."""

    body: bytes
    etag: str
    metadata: Mapping[str, str]
    modified: datetime


@dataclass
class Bucket:
    """Objects by key, and how often they were asked for.

    `at_most`: a listing may answer with fewer keys than it is asked for.
    """

    objects: dict[str, Object] = field(default_factory=dict)
    at_most: int = 1000
    requests: Counter[str] = field(default_factory=Counter)

    def page(self, prefix: str, start: str, size: int) -> tuple[list[tuple[str, datetime]], bool]:
        """Return keys behind `start` and their times, and whether there are more."""
        found = sorted(key for key in self.objects if key.startswith(prefix) and key > start)
        return [(key, self.objects[key].modified) for key in found[:size]], len(found) > size


@dataclass(frozen=True)
class _Body:
    data: bytes

    def read(self, amount: int | None = None) -> bytes:
        return self.data[:amount]

    def close(self) -> None: ...


@cache
def _meta() -> Any:
    return boto3.client("s3", "us-east-1").meta


@dataclass
class S3:
    """All buckets. `on_put(bucket, key)` is told of each object that is written."""

    world: World
    meter: Meter
    on_put: Callable[[str, str], object] = lambda bucket, key: None
    buckets: dict[str, Bucket] = field(default_factory=lambda: defaultdict(Bucket))
    meta: Any = field(default_factory=_meta)

    def put(self, bucket: str, key: str, body: bytes, metadata: Mapping[str, str]) -> None:
        """Store an object at once: the person's upload, or the end of a PUT."""
        self.meter["S3 PUT"] += 1
        number = int(self.meter["S3 PUT"])
        modified = datetime.fromtimestamp(self.world.time, UTC)
        stored = Object(body, f'"{number:032x}"', metadata, modified)
        self.buckets[bucket].objects[key] = stored
        self.on_put(bucket, key)

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        self._read(Bucket, "head", HEAD)
        return self._head(self._find(Bucket, Key))

    def get_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        self._read(Bucket, "get", GET if IfMatch else SMALL)
        found = self._find(Bucket, Key)
        if IfMatch and IfMatch.strip('"') != found.etag.strip('"'):
            raise PreconditionFailedError
        return self._head(found) | {"Body": _Body(found.body)}

    def get_object_tagging(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        self._read(Bucket, "tags", HEAD)
        self._find(Bucket, Key)
        return {"TagSet": []}

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        MaxKeys: int,  # noqa: N803
        StartAfter: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        bucket = self.buckets[Bucket]
        bucket.requests["list"] += 1
        self.meter["S3 PUT"] += 1  # a listing costs as much
        self.world.sleep(self.world.about(LIST, SPREAD))
        page, more = bucket.page(Prefix, StartAfter, min(MaxKeys, bucket.at_most))
        contents = [{"Key": key, "LastModified": modified} for key, modified in page]
        return ({"Contents": contents} if contents else {}) | {"IsTruncated": more}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        Metadata: Mapping[str, str],  # noqa: N803
        ContentType: str,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        self.world.sleep(self.world.about(PUT, SPREAD))
        there = self.buckets[Bucket].objects.get(Key)
        if (IfNoneMatch and there) or (IfMatch and (not there or there.etag != IfMatch)):
            self.meter["S3 PUT"] += 1
            raise PreconditionFailedError
        self.put(Bucket, Key, Body, Metadata)
        return {"ETag": self.buckets[Bucket].objects[Key].etag}

    def delete_object(self, *, Bucket: str, Key: str, IfMatch: str) -> dict[str, Any]:  # noqa: N803
        self.world.sleep(self.world.about(HEAD, SPREAD))
        self.buckets[Bucket].objects.pop(Key, None)
        return {}

    def _read(self, bucket: str, kind: str, median: float) -> None:
        self.buckets[bucket].requests[kind] += 1
        self.meter["S3 GET"] += 1
        self.world.sleep(self.world.about(median, SPREAD))

    def _find(self, bucket: str, key: str) -> Object:
        try:
            return self.buckets[bucket].objects[key]
        except KeyError:
            raise NotFoundError from None

    def _head(self, found: Object) -> dict[str, Any]:
        return {
            "ETag": found.etag,
            "ContentLength": len(found.body),
            "LastModified": found.modified,
            "Metadata": found.metadata,
        }
