"""DynamoDB: one table with the key `id`; conditions, transactions, and reads that may be old."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

from tests.simulation.aws.errors import ConditionalCheckFailedException, client_error

Item = dict[str, dict[str, Any]]
STALE = 1.0  # seconds that an eventually consistent read may be behind; "usually within a second"


@dataclass
class DynamoDB:
    """The state table. `on_write(id)` is told of each item that changes."""

    now: Callable[[], float]
    rng: random.Random
    on_write: Callable[[str], object] = lambda _: None
    items: dict[str, Item] = field(default_factory=dict)
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(
            ConditionalCheckFailedException=ConditionalCheckFailedException
        )
    )
    _before: dict[str, tuple[float, Item | None]] = field(default_factory=dict)
    _tokens: dict[str, float] = field(default_factory=dict)

    def get_item(self, *, Key: Item, ConsistentRead: bool = False, **_: object) -> dict[str, Any]:
        item = self._read(Key["id"]["S"], consistent=ConsistentRead)
        return {"Item": item} if item else {}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        ((table, asked),) = RequestItems.items()
        assert 1 <= len(asked["Keys"]) <= 100
        consistent = asked.get("ConsistentRead", False)
        found = [self._read(key["id"]["S"], consistent=consistent) for key in asked["Keys"]]
        return {"Responses": {table: [item for item in found if item]}, "UnprocessedKeys": {}}

    def put_item(self, *, Item: Item, **parameters: Any) -> dict[str, Any]:
        id = Item["id"]["S"]
        if not self._meets(id, parameters):
            shown = parameters.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            raise ConditionalCheckFailedException(self.items.get(id) if shown else None)
        self._write(id, dict(Item))
        return {}

    def update_item(self, *, Key: Item, **parameters: Any) -> dict[str, Any]:
        id = Key["id"]["S"]
        if not self._meets(id, parameters):
            raise ConditionalCheckFailedException
        return {"Attributes": self._update(id, {"Key": Key, **parameters})}

    def transact_write_items(
        self, *, TransactItems: list[dict[str, Any]], ClientRequestToken: str | None = None
    ) -> dict[str, Any]:
        """All or nothing; the same token again within ten minutes changes nothing."""
        if ClientRequestToken and self.now() - self._tokens.get(ClientRequestToken, 0.0) < 600:
            return {}
        parts = [next(iter(each.items())) for each in TransactItems]
        ids = [(part.get("Item") or part["Key"])["id"]["S"] for _, part in parts]
        reasons = [
            "None" if self._meets(id, part) else "ConditionalCheckFailed"
            for id, (_, part) in zip(ids, parts, strict=True)
        ]
        if set(reasons) != {"None"}:
            raise transaction_canceled(*reasons)
        for id, (kind, part) in zip(ids, parts, strict=True):
            if kind == "Put":
                self._write(id, dict(part["Item"]))
            else:
                self._update(id, part)
        if ClientRequestToken:
            self._tokens[ClientRequestToken] = self.now()
        return {}

    def _read(self, id: str, *, consistent: bool) -> Item | None:
        changed_at, before = self._before.get(id, (0.0, None))
        if not consistent and self.now() - changed_at < STALE and self.rng.random() < 0.3:
            return dict(before) if before else None
        item = self.items.get(id)
        return dict(item) if item else None

    def _write(self, id: str, item: Item) -> None:
        self._before[id] = self.now(), self.items.get(id)
        self.items[id] = item
        self.on_write(id)

    def _update(self, id: str, update: Mapping[str, Any]) -> Item:
        names = update.get("ExpressionAttributeNames", {})
        values = update["ExpressionAttributeValues"]
        item = dict(self.items.get(id, update["Key"]))
        for action, name, value in _assignments(update["UpdateExpression"]):
            name = names.get(name, name)
            if action == "SET":
                item[name] = values[value]
            elif kind := next((each for each in ("NS", "SS") if each in values[value]), None):
                members = {*item.get(name, {kind: []})[kind], *values[value][kind]}
                item[name] = {kind: sorted(members)}
            else:
                total = int(item.get(name, {"N": "0"})["N"]) + int(values[value]["N"])
                item[name] = {"N": str(total)}
        self._write(id, item)
        return dict(item)

    def _meets(self, id: str, part: Mapping[str, Any]) -> bool:
        expression = part.get("ConditionExpression", "")
        names, values = (part.get(f"ExpressionAttribute{each}", {}) for each in ("Names", "Values"))
        return not expression or _holds(expression, self.items.get(id, {}), names, values)


def transaction_canceled(*reasons: str) -> Exception:
    """Return the error of a transaction that was cancelled for these reasons, one for each item."""
    codes: Any = [{"Code": reason} for reason in reasons]
    return client_error(
        "TransactionCanceledException", 400, "TransactWriteItems", CancellationReasons=codes
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
    """Return a condition of the project's own code as a Python expression."""
    source = _EXISTENCE.sub(lambda m: f"{'not ' if m[1] else ''}exists({m[2]!r})", expression)
    source = _COMPARISON.sub(r"compare('\1', '\2', '\3')", source)
    for word in ("AND", "OR", "NOT"):
        source = re.sub(rf"\b{word}\b", word.lower(), source)
    return compile(source, expression, "eval")


@cache
def _assignments(expression: str) -> list[tuple[str, str, str]]:
    """`SET a = :x, b = :y ADD c :z` → (SET, a, :x), (SET, b, :y), (ADD, c, :z)."""
    parts = re.split(r"\b(SET|ADD)\b", expression)[1:]
    found: list[tuple[str, str, str]] = []
    for action, clause in zip(parts[::2], parts[1::2], strict=True):
        for assignment in clause.split(","):
            name, value = re.split(r" = | ", assignment.strip())
            found.append((action, name, value))
    return found
