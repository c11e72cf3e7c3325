"""The stack's two queues, as a person looks at them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

_ATTRIBUTES: tuple["QueueAttributeNameType", ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


@dataclass(frozen=True)
class Depth:
    """Messages in a queue, by SQS's own approximate count.

    `hidden`: received, and worked on or waiting for their next try; SQS does not tell which.
    """

    visible: int
    delayed: int
    hidden: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.delayed + self.hidden


def depth(sqs: "SQSClient", url: str) -> Depth:
    """How many messages the queue at `url` holds."""
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_ATTRIBUTES)["Attributes"]
    return Depth(*(int(found.get(name, "0")) for name in _ATTRIBUTES))
