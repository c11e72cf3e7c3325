"""The trigger that feeds the retry function from the queue; it can be paused."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from image_drop.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True)
class QueueTrigger:
    """The event source mapping that feeds the retry function from the queue.

    While it is paused, messages stay in the queue and their receives are not counted. A change
    takes effect in about a minute, and AWS refuses another one until then. Enabling an enabled
    trigger changes nothing, so its state is not read.
    """

    awslambda: "LambdaClient"
    uuid: str

    def switch(self, *, on: bool) -> None:
        """Enable or disable the trigger; leave one that is still changing to the next round."""
        try:
            self.awslambda.update_event_source_mapping(UUID=self.uuid, Enabled=on)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUseException":
                raise
            logger.info("queue trigger is changing", wanted=on)
