"""Buckets, queue and table in memory, for more keys than moto's can hold; requests are counted.

boto3's calls as AWS documents them, and only those that a backfill makes. A bucket is keys and
times: listed in the order of their UTF-8 bytes, behind `StartAfter`, below `Prefix`, at most
`MaxKeys` of them or fewer.
"""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError


def time(minutes: float) -> datetime:
    """A time that is easy to write: minutes after some noon."""
    return datetime.fromtimestamp(1_800_000_000 + minutes * 60, UTC)


@dataclass
class Keys:
    """A bucket of a few keys. `at_most`: S3 may answer with fewer keys than it is asked for."""

    times: dict[str, datetime] = field(default_factory=dict)
    at_most: int = 1000
    requests: Counter[str] = field(default_factory=Counter)

    def put(self, key: str, minutes: float = 0) -> None:
        self.times[key] = time(minutes)

    def page(self, prefix: str, start: str, size: int) -> tuple[list[tuple[str, datetime]], bool]:
        found = sorted(key for key in self.times if key.startswith(prefix) and key > start)
        return [(key, self.times[key]) for key in found[:size]], len(found) > size

    def time_of(self, key: str) -> datetime | None:
        return self.times.get(key)


@dataclass
class Numbered:
    """A bucket of a great many keys that are never all in memory.

    `key(number)` grows with the number. `written(number)`: when; None is not there.
    """

    key: Callable[[int], str]
    count: int
    written: Callable[[int], datetime | None]
    at_most: int = 1000
    requests: Counter[str] = field(default_factory=Counter)

    def page(self, prefix: str, start: str, size: int) -> tuple[list[tuple[str, datetime]], bool]:
        number = bisect_right(range(self.count), max(start, prefix), key=self.key)
        found: list[tuple[str, datetime]] = []
        while number < self.count and len(found) < size:
            if (written := self.written(number)) is not None:
                found.append((self.key(number), written))
            number += 1
        return found, number < self.count

    def time_of(self, key: str) -> datetime | None:
        raise NotImplementedError(key)  # nobody looks at one of a million by itself


@dataclass(frozen=True)
class S3:
    """The client."""

    buckets: Mapping[str, Keys | Numbered]

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
        page, more = bucket.page(Prefix, StartAfter, min(MaxKeys, bucket.at_most))
        contents = [{"Key": key, "LastModified": written} for key, written in page]
        return ({"Contents": contents} if contents else {}) | {"IsTruncated": more}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        bucket = self.buckets[Bucket]
        bucket.requests["head"] += 1
        written = bucket.time_of(Key)
        if written is None:
            raise ClientError({"Error": {"Code": "404", "Message": ""}}, "HeadObject")
        return {"ETag": '"x"', "ContentLength": 1, "LastModified": written, "Metadata": {}}


@dataclass
class Sqs:
    """One queue. Messages come out in order, and are gone."""

    bodies: deque[str] = field(default_factory=deque)
    requests: Counter[str] = field(default_factory=Counter)

    def send_message_batch(self, *, QueueUrl: str, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        self.requests["send"] += 1
        self.bodies += [entry["MessageBody"] for entry in Entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803
        self.requests["attributes"] += 1
        counts = dict.fromkeys(AttributeNames, "0")
        return {"Attributes": counts | {"ApproximateNumberOfMessages": str(len(self.bodies))}}

    def take(self, number: int) -> list[str]:
        """So many messages, or all."""
        return [self.bodies.popleft() for _ in range(min(number, len(self.bodies)))]


class ConditionalCheckFailedError(Exception):
    """When a write's condition does not hold."""


@dataclass
class Table:
    """A table whose items are read and put; of conditions it knows that of a pass."""

    items: dict[str, Any] = field(default_factory=dict)
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(
            ConditionalCheckFailedException=ConditionalCheckFailedError
        )
    )

    def get_item(self, *, Key: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        item = self.items.get(Key["id"]["S"])
        return {"Item": item} if item else {}

    def batch_get_item(self, *, RequestItems: Any) -> dict[str, Any]:  # noqa: N803
        return {
            "Responses": {
                table: [
                    self.items[id] for key in wanted["Keys"] if (id := key["id"]["S"]) in self.items
                ]
                for table, wanted in RequestItems.items()
            }
        }

    def put_item(
        self,
        *,
        Item: Any,  # noqa: N803
        ConditionExpression: str,  # noqa: N803
        ExpressionAttributeValues: Any = None,  # noqa: N803
        **_: Any,
    ) -> None:
        there = self.items.get(Item["id"]["S"])
        if ConditionExpression == "attribute_not_exists(#scan)":
            held = there is None
        else:
            assert ConditionExpression == "#scan = :old"
            held = there is not None and there["scan"] == ExpressionAttributeValues[":old"]
        if not held:
            raise ConditionalCheckFailedError
        self.items[Item["id"]["S"]] = Item
