"""The line: whether calls are made at all.

A key that Venice does not accept, an empty balance or a spent budget is no image's fault. The
line stops, so that the backlog waits in the queue instead of failing one by one. `account` watches
it and, when the account works again, lets one edit alone try before all others follow.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from image_drop.errors import LineStoppedError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEM = "line"
LOOK_AGAIN = 60.0  # seconds; by then the account watch has paused the queue


@dataclass(frozen=True)
class Status:
    """The line at one moment. `reason` is an error code; `since` in seconds since 1970."""

    stopped: bool = False
    reason: str = ""
    detail: str = ""
    since: float = 0.0


@dataclass(frozen=True)
class Line:
    """The line's state, one item that all functions read before they call."""

    dynamodb: "DynamoDBClient"
    table: str

    def status(self) -> Status:
        """The line as it is now."""
        item = self.dynamodb.get_item(
            TableName=self.table, Key={"id": {"S": ITEM}}, ConsistentRead=True
        ).get("Item")
        if item is None:
            return Status()
        return Status(
            stopped=item["stopped"]["BOOL"],
            reason=item["reason"]["S"],
            detail=item["detail"]["S"],
            since=float(item["since"]["N"]),
        )

    def require(self, now: float) -> None:
        """Nothing, when calls may be made. Raises `LineStoppedError` when not."""
        status = self.status()
        if status.stopped:
            raise LineStoppedError(
                f"The line is stopped: {status.detail}", retry_at=now + LOOK_AGAIN
            )

    def stop(self, reason: str, detail: str, now: float) -> bool:
        """Stop the line; whether it was running until now."""
        return self._set(Status(True, reason, detail, now))

    def resume(self, now: float) -> bool:
        """Let calls be made again; whether the line was stopped until now."""
        return self._set(Status(stopped=False, since=now))

    def _set(self, status: Status) -> bool:
        item: dict[str, Any] = {
            "id": {"S": ITEM},
            "stopped": {"BOOL": status.stopped},
            "reason": {"S": status.reason},
            "detail": {"S": status.detail},
            "since": {"N": f"{status.since:.3f}"},
        }
        try:
            self.dynamodb.put_item(
                TableName=self.table,
                Item=item,
                ConditionExpression="stopped = :other"
                + (" OR attribute_not_exists(stopped)" if status.stopped else ""),
                ExpressionAttributeValues={":other": {"BOOL": not status.stopped}},
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True
