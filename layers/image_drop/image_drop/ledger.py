"""Which paid calls are still without an answer.

Venice has no idempotency key: a call that was sent and never answered may have been charged, and
only a new call tells. So each call is noted before it is made and struck out when its outcome is
known and safe; what is left over after a crash or a timeout is a call that may have been paid for
nothing. An edit gets one more call after such a one, and no third.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from image_drop.errors import OutcomeUnknownError
from image_drop.originals import Original

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_UNANSWERED = 2
KEPT_FOR = 30 * 24 * 3600  # seconds; twice as long as a message can wait in the queue


@dataclass(frozen=True)
class Ledger:
    """The notes, one item for each edit and upload: an image uploaded again starts afresh."""

    dynamodb: "DynamoDBClient"
    table: str

    def begin(self, edit_id: str, original: Original, now: float) -> int:
        """Note a call that is about to be made; how many earlier ones stayed without an answer.

        Raises `OutcomeUnknownError` when there were two already.
        """
        try:
            return self._add(1, edit_id, original, now, "NOT unanswered >= :bound", MAX_UNANSWERED)
        except self.dynamodb.exceptions.ConditionalCheckFailedException as error:
            raise OutcomeUnknownError(
                f"{MAX_UNANSWERED} calls for this edit stayed without an answer."
            ) from error

    def settle(self, edit_id: str, original: Original, now: float) -> bool:
        """Strike a call out: its result is stored, or Venice answered and charged nothing.

        Returns whether there was one to strike out; none where the note has expired.
        """
        try:
            self._add(-1, edit_id, original, now, "unanswered > :bound", 0)
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _add(
        self, number: int, edit_id: str, original: Original, now: float, condition: str, bound: int
    ) -> int:
        """Add to the unanswered calls where the condition holds; how many there were before."""
        answer = self.dynamodb.update_item(
            TableName=self.table,
            Key={"id": {"S": f"calls#{edit_id}#{int(original.changed_at.timestamp())}"}},
            UpdateExpression="ADD unanswered :number SET expiration = :expiration",
            ConditionExpression=condition,
            ExpressionAttributeValues={
                ":number": {"N": str(number)},
                ":bound": {"N": str(bound)},
                ":expiration": {"N": str(int(now) + KEPT_FOR)},
            },
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["unanswered"]["N"]) - number
