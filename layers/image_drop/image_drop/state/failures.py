"""How often a queue message has failed. Waiting does not count.

SQS counts receives, and most of them are waits: for a slot, for the account, for a layer. So each
failure adds the number of its receive to a set, where a repeated request changes nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FAILURES_TTL = 15 * 86_400  # seconds; SQS forgets a message after 14 days


@dataclass(frozen=True)
class Failures:
    """The counts, one item for each message."""

    dynamodb: "DynamoDBClient"
    table: str

    def add(self, message_id: str, receive: int, now: float) -> int:
        """Note that a receive of a message has failed; return how many have."""
        answer = self.dynamodb.update_item(
            TableName=self.table,
            Key={"id": {"S": f"message#{message_id}"}},
            UpdateExpression="ADD failed :receive SET expiration = :expiration",
            ExpressionAttributeValues={
                ":receive": {"NS": [str(receive)]},
                ":expiration": {"N": str(int(now) + FAILURES_TTL)},
            },
            ReturnValues="ALL_NEW",
        )
        return len(answer["Attributes"]["failed"]["NS"])

    def count(self, message_id: str) -> int:
        """Return how often a message has failed."""
        item = self.dynamodb.get_item(
            TableName=self.table,
            Key={"id": {"S": f"message#{message_id}"}},
            ConsistentRead=True,
        ).get("Item")
        return len(item["failed"]["NS"]) if item else 0
