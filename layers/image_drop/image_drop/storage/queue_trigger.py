"""The trigger that feeds the retry function from the queue; it can be paused."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from image_drop.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import ScalingConfigTypeDef


LEAST, MOST = 2, 1000  # functions at once; SQS's own bounds


@dataclass(frozen=True)
class Concurrency:
    """How many functions for queued edits may run at once.

    `needed`: by the calls. `account`: what the AWS account runs at once, whatever the function.
    `maximum`: the template's parameter.
    """

    needed: int
    account: int
    maximum: int

    @property
    def allowed(self) -> int:
        """As many as needed, but never more than half of the account's: others need some too."""
        return max(LEAST, min(self.needed, self.account // 2, self.maximum))

    @property
    def cause(self) -> Literal["need", "account", "parameter"]:
        """What sets the number."""
        if self.needed <= self.allowed:
            return "need"
        return "account" if self.account // 2 <= self.maximum else "parameter"


@dataclass(frozen=True)
class QueueTrigger:
    """The event source mapping that feeds the retry function from the queue.

    `maximum`: functions that may run at once, whatever is needed.

    While it is paused, messages stay in the queue and their receives are not counted. A change
    takes effect in about a minute, and AWS refuses another one until then. Enabling an enabled
    trigger changes nothing, so its state is not read.
    """

    awslambda: "LambdaClient"
    uuid: str
    maximum: int = MOST

    def concurrency(self, needed: int) -> Concurrency:
        """Return how many functions may run at once when so many are needed."""
        limits = self.awslambda.get_account_settings()["AccountLimit"]
        return Concurrency(needed, limits["ConcurrentExecutions"], self.maximum)

    def switch(self, *, on: bool, at_once: int) -> None:
        """Enable or disable the trigger, with at most so many functions `at_once`.

        Leave a trigger that is still changing to the next round.
        """
        scaling: ScalingConfigTypeDef = {"MaximumConcurrency": at_once}
        try:
            self.awslambda.update_event_source_mapping(
                UUID=self.uuid, Enabled=on, ScalingConfig=scaling
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUseException":
                raise
            logger.info("queue trigger is changing", wanted=on)
