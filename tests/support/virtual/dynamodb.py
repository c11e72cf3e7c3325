"""DynamoDB: one table, consistent reads, conditional writes, transactions of two items."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from tests.support.virtual.service import SPREAD, Meter, failure
from tests.support.virtual.world import World

READ = 0.004  # seconds, medians
WRITE = 0.006
ITEM_WRITES = 1000  # a second: DynamoDB's limit for a partition, and so for an item

Item = dict[str, dict[str, Any]]


class ConditionalCheckFailedError(ClientError):
    """A conditional write whose condition does not hold."""

    def __init__(self) -> None:
        super().__init__(failure("ConditionalCheckFailedException", 400), "DynamoDB")


class TransactionCanceledError(ClientError):
    """A transaction of which an item did not meet its condition."""

    def __init__(self, reasons: list[str]) -> None:
        cancelled = {"CancellationReasons": [{"Code": reason} for reason in reasons]}
        super().__init__(failure("TransactionCanceledException", 400) | cancelled, "DynamoDB")


@dataclass
class DynamoDB:
    """One table with the key `id`. A call takes effect at its end."""

    world: World
    meter: Meter
    items: dict[str, Item] = field(default_factory=dict)
    exceptions = SimpleNamespace(ConditionalCheckFailedException=ConditionalCheckFailedError)
    _busy: dict[str, float] = field(default_factory=dict)

    def get_item(self, *, Key: Item, **_: object) -> dict[str, Any]:  # noqa: N803
        self.world.sleep(self.world.about(READ, SPREAD))
        item = self._read(Key["id"]["S"])
        return {"Item": item} if item else {}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        self.world.sleep(self.world.about(READ, SPREAD))
        return {
            "Responses": {
                table: [
                    item
                    for key in wanted["Keys"]
                    if (item := self._read(key["id"]["S"])) is not None
                ]
                for table, wanted in RequestItems.items()
            }
        }

    def put_item(
        self,
        *,
        Item: Item,  # noqa: N803
        ConditionExpression: str = "",  # noqa: N803
        ExpressionAttributeNames: Mapping[str, str] | None = None,  # noqa: N803
        ExpressionAttributeValues: Item | None = None,  # noqa: N803
        **_: object,
    ) -> None:
        id, names = Item["id"]["S"], ExpressionAttributeNames or {}
        self._write(id, Item)
        self._check(id, ConditionExpression, names, ExpressionAttributeValues or {})
        self.items[id] = Item

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803
        """A put and an update, both or neither; costs twice what they would cost alone."""
        put, update = TransactItems[0]["Put"], TransactItems[1]["Update"]
        put_id, update_id = put["Item"]["id"]["S"], update["Key"]["id"]["S"]
        for id, item in ((put_id, put["Item"]), (update_id, self.items.get(update_id, {}))):
            self.meter["DynamoDB write unit"] += 2 * math.ceil(_size(item) / 1024 or 1)
            free_at = self._reserve(id)
        self.world.sleep(free_at - self.world.time + self.world.about(WRITE, SPREAD))
        reasons = [
            "None" if self._meets(id, part) else "ConditionalCheckFailed"
            for id, part in ((put_id, put), (update_id, update))
        ]
        if "ConditionalCheckFailed" in reasons:
            raise TransactionCanceledError(reasons)
        self.items[put_id] = put["Item"]
        self._update(update_id, update)

    def _meets(self, id: str, part: dict[str, Any]) -> bool:
        expression = part.get("ConditionExpression", "")
        names, values = (part.get(f"ExpressionAttribute{each}", {}) for each in ("Names", "Values"))
        return not expression or _holds(expression, self.items.get(id, {}), names, values)

    def update_item(
        self,
        *,
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ConditionExpression: str = "",  # noqa: N803
        ExpressionAttributeNames: Mapping[str, str] | None = None,  # noqa: N803
        ExpressionAttributeValues: Item | None = None,  # noqa: N803
        **_: object,
    ) -> dict[str, Any]:
        id, names = Key["id"]["S"], ExpressionAttributeNames or {}
        values = ExpressionAttributeValues or {}
        self._write(id, self.items.get(id, Key))
        self._check(id, ConditionExpression, names, values)
        return {
            "Attributes": self._update(
                id,
                {
                    "Key": Key,
                    "UpdateExpression": UpdateExpression,
                    "ExpressionAttributeNames": names,
                    "ExpressionAttributeValues": values,
                },
            )
        }

    def _update(self, id: str, update: Mapping[str, Any]) -> Item:
        names = update.get("ExpressionAttributeNames", {})
        values = update["ExpressionAttributeValues"]
        item = self.items[id] = dict(self.items.get(id, update["Key"]))
        for action, name, value in _assignments(update["UpdateExpression"]):
            name = names.get(name, name)
            if action == "SET":
                item[name] = values[value]
            elif "NS" in values[value]:
                numbers = {*item.get(name, {"NS": []})["NS"], *values[value]["NS"]}
                item[name] = {"NS": sorted(numbers)}
            else:
                total = int(item.get(name, {"N": "0"})["N"]) + int(values[value]["N"])
                item[name] = {"N": str(total)}
        return item

    def delete_item(self, *, Key: Item, **_: object) -> None:  # noqa: N803
        self._write(Key["id"]["S"], Key)
        self.items.pop(Key["id"]["S"], None)

    def _read(self, id: str) -> Item | None:
        item = self.items.get(id)
        self.meter["DynamoDB read unit"] += math.ceil(_size(item or {}) / 4096) or 1
        return item

    def _write(self, id: str, item: Item) -> None:
        """What a write costs; failed conditions cost as much."""
        self.meter["DynamoDB write unit"] += math.ceil(_size(item) / 1024)
        free_at = self._reserve(id)
        self.world.sleep(free_at - self.world.time + self.world.about(WRITE, SPREAD))

    def _reserve(self, id: str) -> float:
        """Return when an item can take one more write, and count it."""
        free_at = max(self.world.time, self._busy.get(id, 0.0))
        self._busy[id] = free_at + 1 / ITEM_WRITES
        return free_at

    def _check(self, id: str, expression: str, names: Mapping[str, str], values: Item) -> None:
        if expression and not _holds(expression, self.items.get(id, {}), names, values):
            raise ConditionalCheckFailedError


def _size(item: Item) -> int:
    return sum(
        len(name) + len(value) if isinstance(value, (str, bytes)) else len(name) + 1
        for name, typed in item.items()
        for value in typed.values()
    )


_COMPARISON = re.compile(r"([#:\w]+) (=|<>|<=|>=|<|>) ([#:\w]+)")
_EXISTENCE = re.compile(r"attribute_(not_)?exists\(([#\w]+)\)")
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _holds(expression: str, item: Item, names: Mapping[str, str], values: Item) -> bool:
    def value(operand: str) -> Any:
        typed = values[operand] if operand[0] == ":" else item.get(names.get(operand, operand))
        if typed is None:
            return None
        ((kind, plain),) = typed.items()
        return float(plain) if kind == "N" else plain

    def compare(left: str, operator: str, right: str) -> bool:
        a, b = value(left), value(right)
        return a is not None and b is not None and _OPERATORS[operator](a, b)

    def exists(name: str) -> bool:
        return names.get(name, name) in item

    return bool(eval(_condition(expression), {"compare": compare, "exists": exists}))


@cache
def _condition(expression: str) -> Any:
    """A condition of the project's own code as a Python expression."""
    source = _EXISTENCE.sub(lambda m: f"{'not ' if m[1] else ''}exists({m[2]!r})", expression)
    source = _COMPARISON.sub(r"compare('\1', '\2', '\3')", source)
    for word in ("AND", "OR", "NOT"):
        source = re.sub(rf"\b{word}\b", word.lower(), source)
    return compile(source, expression, "eval")


@cache
def _assignments(expression: str) -> list[tuple[str, str, str]]:
    """`SET a = :x, b = :y ADD c :z` → (SET, a, :x), (SET, b, :y), (ADD, c, :z)."""
    parts = re.split(r"\b(SET|ADD)\b", expression)[1:]
    return [
        (action, *_pair(assignment))
        for action, clause in zip(parts[::2], parts[1::2], strict=True)
        for assignment in clause.split(",")
    ]


def _pair(assignment: str) -> tuple[str, str]:
    name, value = re.split(r" = | ", assignment.strip())
    return name, value
