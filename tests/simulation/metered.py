"""What requests take and cost: in front of a state, time passes and AWS's bill grows.

For benchmarks. Nothing fails here, and a request takes effect at its end.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, override

from tests.simulation.aws.dynamodb import DynamoDB, Item
from tests.simulation.world import World

SPREAD = 0.4  # sigma of the log-normal latencies: one call in a hundred takes 2.5 times as long
# Median seconds of a request, assumed from what is commonly seen inside a region; what AWS bills.
REQUESTS: Mapping[str, tuple[float, str | None]] = {
    "head_object": (0.015, "S3 GET"),
    "get_object": (0.060, "S3 GET"),  # a photo of 2 MB
    "get_object_tagging": (0.015, "S3 GET"),
    "list_objects_v2": (0.100, "S3 PUT"),  # a thousand keys; costs as much as a PUT
    "put_object": (0.080, "S3 PUT"),  # a result of 2 MB
    "delete_object": (0.015, None),
    "get_item": (0.004, "DynamoDB read unit"),
    "batch_get_item": (0.004, "DynamoDB read unit"),
    "put_item": (0.006, "DynamoDB write unit"),
    "update_item": (0.006, "DynamoDB write unit"),
    "transact_write_items": (0.006, "DynamoDB write unit"),
    "send_message": (0.010, "SQS request"),
    "send_message_batch": (0.010, "SQS request"),
    "receive_message": (0.010, "SQS request"),
    "change_message_visibility": (0.010, "SQS request"),
    "delete_message": (0.010, "SQS request"),
    "get_queue_attributes": (0.010, "SQS request"),
    "put_events": (0.015, "event"),
    "get_parameter": (0.010, None),
    "update_event_source_mapping": (0.015, None),
    "get_account_settings": (0.015, None),
}
SMALL = 0.020  # seconds; of a file with instructions
ITEM_WRITES = 1000  # a second: DynamoDB's limit for a partition, and so for an item


class Meter(defaultdict[str, float]):
    """What AWS would bill, by kind: requests, units, GB-seconds, bytes."""

    def __init__(self) -> None:
        super().__init__(int)


@dataclass
class Metered:
    """A boto3 client of a state."""

    world: World
    meter: Meter
    state: Any

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.state, name)
        if name in ("meta", "exceptions"):
            return found
        return partial(self._request, name, found)

    def _request(self, operation: str, act: Callable[..., Any], **parameters: Any) -> Any:
        seconds, kind = REQUESTS[operation]
        if operation == "get_object" and parameters["Key"].endswith(".json"):
            seconds = SMALL
        if kind:
            self.meter[kind] += self.units(operation, parameters)
        self.world.sleep(self.held_up(operation, parameters) + self.world.about(seconds, SPREAD))
        return act(**parameters)

    def units(self, operation: str, parameters: Mapping[str, Any]) -> float:
        """Return how many units AWS bills."""
        return len(parameters["Entries"]) if operation == "put_events" else 1

    def held_up(self, operation: str, parameters: Mapping[str, Any]) -> float:
        """Return the seconds until the service has room for the request."""
        return 0.0


@dataclass
class MeteredTable(Metered):
    """A client of the state table. A failed condition costs as much as a write."""

    state: DynamoDB
    _free_at: dict[str, float] = field(default_factory=dict)

    @override
    def units(self, operation: str, parameters: Mapping[str, Any]) -> float:
        if operation == "get_item":
            return self._read_units(parameters["Key"])
        if operation == "batch_get_item":  # without consistency at half the price
            ((_, asked),) = parameters["RequestItems"].items()
            units = sum(map(self._read_units, asked["Keys"]))
            return units if asked.get("ConsistentRead") else units / 2
        each = 2 if operation == "transact_write_items" else 1
        return sum(each * _units(item, 1024) for item in self._written(operation, parameters))

    @override
    def held_up(self, operation: str, parameters: Mapping[str, Any]) -> float:
        now = last = self.world.time
        for item in self._written(operation, parameters):
            id = item["id"]["S"]
            last = max(last, self._free_at.get(id, now))
            self._free_at[id] = max(now, self._free_at.get(id, now)) + 1 / ITEM_WRITES
        return last - now

    def _written(self, operation: str, parameters: Mapping[str, Any]) -> list[Item]:
        """Return the items that a request writes; of one that it updates, as it is before."""
        if operation.endswith("get_item"):
            return []
        whole: list[Mapping[str, Any]] = [{"": parameters}]
        parts = [next(iter(part.values())) for part in parameters.get("TransactItems", whole)]
        return [
            part.get("Item") or self.state.items.get(part["Key"]["id"]["S"], part["Key"])
            for part in parts
        ]

    def _read_units(self, key: Item) -> int:
        return _units(self.state.items.get(key["id"]["S"], {}), 4096)


def _units(item: Item, size: int) -> int:
    """Return how many units of so many bytes an item takes, at least one."""
    length = sum(
        len(name) + (len(value) if isinstance(value, (str, bytes)) else 1)
        for name, typed in item.items()
        for value in typed.values()
    )
    return math.ceil(length / size) or 1
