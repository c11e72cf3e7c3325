"""Several items of the state table in one request."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from image_drop.errors import StorageBusyError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TRIES = 12  # DynamoDB may leave some items out while it is busy


def read_items(
    dynamodb: "DynamoDBClient",
    table: str,
    ids: Sequence[str],
    *,
    pause: Callable[[], None],
    consistent: bool = False,
) -> dict[str, Mapping[str, Any]]:
    """Return up to 100 items by id; ids without an item are left out.

    `pause` is called before each further request. `consistent`: each item as it is now, at twice
    the price. Raise `StorageBusyError` when DynamoDB does not return all of them.
    """
    asked: Any = {"Keys": [{"id": {"S": id}} for id in ids], "ConsistentRead": consistent}
    found: dict[str, Mapping[str, Any]] = {}
    for _ in range(TRIES):
        answer = dynamodb.batch_get_item(RequestItems={table: asked})
        found |= {item["id"]["S"]: item for item in answer["Responses"].get(table, [])}
        asked = answer.get("UnprocessedKeys", {}).get(table)
        if not asked:
            return found
        pause()
    raise StorageBusyError("The state table did not return all items.")
