"""A value that all functions share and change: one item of the state table, by compare-and-swap.

boto3 repeats a request whose answer was lost, and a conditional write then fails because of its
own success. So a change is applied again to the new value: give everything that you add an id,
and let a change that finds its id do nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from image_drop.errors import StorageBusyError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type Found[T] = tuple[T, int]  # a value and its version

TRIES = 40  # at a conflicting write; ten simultaneous uploads were measured to need up to ten


@dataclass(frozen=True)
class AtomicItem[T]:
    """The value of one item; `empty` while there is no item.

    The item holds the value as MessagePack and a version that counts its changes.
    """

    dynamodb: "DynamoDBClient"
    table: str
    id: str
    empty: T

    def read(self) -> Found[T]:
        """Return the value as it is now, and its version."""
        return self.decoded(
            self.dynamodb.get_item(
                TableName=self.table, Key={"id": {"S": self.id}}, ConsistentRead=True
            ).get("Item")
        )

    def decoded(self, item: Mapping[str, Any] | None) -> Found[T]:
        """Return the value and the version of this item, which was read with others."""
        if item is None:
            return self.empty, 0
        value = msgspec.msgpack.decode(bytes(item["value"]["B"]), type=type(self.empty))
        return value, int(item["version"]["N"])

    def swap(self, version: int, value: T, expiration: float | None = None) -> bool:
        """Replace the value with this `version`; return whether it was still there.

        False may also mean that the answer was lost, so read again. `expiration`: when DynamoDB
        may remove the item, in seconds since 1970.
        """
        return self._conflict(version, value, expiration) is None

    def change(
        self,
        change: Callable[[T], T],
        *,
        pause: Callable[[int], None] = lambda _: None,
        expiration: float | None = None,
        known: Found[T] | None = None,
    ) -> T:
        """Change the value, and return the new one. A change that changes nothing is free.

        `known`: the value as it was last seen, which saves a read if nobody has changed it since.
        `pause` is called after each conflict, with its number. Raise `StorageBusyError` after 40.
        """
        found: Found[T] | None = None
        if known and (changed := change(known[0])) != known[0]:
            found = self._conflict(known[1], changed, expiration)
            if found is None:
                return changed
        for conflicts in range(1, TRIES + 1):
            value, version = found or self.read()
            found = None
            changed = change(value)
            if changed == value or self.swap(version, changed, expiration):
                return changed
            pause(conflicts)
        raise StorageBusyError(f"Too many functions update the item {self.id!r} at the same time.")

    def _conflict(self, version: int, value: T, expiration: float | None) -> Found[T] | None:
        """Replace the value with this version, or return what is there instead."""
        item: dict[str, Any] = {
            "id": {"S": self.id},
            "value": {"B": msgspec.msgpack.encode(value)},
            "version": {"N": str(version + 1)},
        }
        if expiration is not None:
            item["expiration"] = {"N": f"{expiration:.0f}"}
        try:
            self.dynamodb.put_item(
                TableName=self.table,
                Item=item,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **_unchanged(version),
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException as error:
            answer: Mapping[str, Any] = error.response
            return self.decoded(answer.get("Item"))
        return None


def _unchanged(version: int) -> Mapping[str, Any]:
    if not version:
        return {"ConditionExpression": "attribute_not_exists(version)"}
    return {
        "ConditionExpression": "version = :old",
        "ExpressionAttributeValues": {":old": {"N": str(version)}},
    }
