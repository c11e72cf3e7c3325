"""Events that the webhook did not take: EventBridge leaves them in a queue of their own."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from image_drop.storage.retry_queue import BATCH, depth_of
from image_drop_cli.aws import DeploymentError

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

HOLD = 120  # seconds that an event is kept from others; a batch takes at most 50
LISTED = 100  # events whose reason is read
# What EventBridge does: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html
TIMEOUT = 5.0  # seconds for an answer
SECRET_HEADER = "X-Image-Drop-Secret"


@dataclass(frozen=True)
class Redelivery:
    """What became of the events. `refusal`: why it ended early; empty if all are delivered."""

    delivered: int
    refusal: str = ""


@dataclass(frozen=True)
class DeadEvents:
    """The events that a stack's webhook did not take."""

    deployment: "Deployment"
    url: str
    queue: str

    @classmethod
    def of(cls, deployment: "Deployment") -> "DeadEvents | None":
        """Return those of a stack; None if it has no webhook."""
        url = deployment.parameters.get("WebhookUrl", "")
        return (
            cls(deployment, url, deployment.physical_id("WebhookDeadLetterQueue")) if url else None
        )

    def count(self) -> int:
        """Return how many there are, about."""
        return depth_of(self._sqs, self.queue).total

    def reasons(self) -> dict[str, int]:
        """Return how many there are for each of EventBridge's reasons, of up to a hundred."""
        found: list[Any] = []
        while len(found) < LISTED and (some := self._receive()):
            found += some
        self._release(found)
        return dict(Counter(map(_reason, found)))

    def redeliver(self) -> Redelivery:
        """Send the events to the webhook until it refuses one, and delete what it took.

        Raise `DeploymentError` if the secret is missing.
        """
        headers, delivered = self._headers(), 0
        with requests.Session() as session:
            while some := self._receive():
                for number, message in enumerate(some):
                    if refusal := self._refusal(session, message["Body"], headers):
                        self._release(some[number:])
                        return Redelivery(delivered, refusal)
                    self._sqs.delete_message(
                        QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"]
                    )
                    delivered += 1
        return Redelivery(delivered)

    @property
    def _sqs(self) -> Any:
        return self.deployment.client("sqs")

    def _headers(self) -> dict[str, str]:
        name, ssm = (
            self.deployment.parameters["WebhookSecretParameter"],
            self.deployment.client("ssm"),
        )
        try:
            secret = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        except ssm.exceptions.ParameterNotFound as error:
            raise DeploymentError(
                f"The webhook's secret is gone from the SSM parameter {name}. Store it again."
            ) from error
        return {SECRET_HEADER: secret, "Content-Type": "application/json; charset=utf-8"}

    def _refusal(self, session: requests.Session, body: str, headers: dict[str, str]) -> str:
        """Send an event, and return why the webhook did not take it; empty if it did."""
        try:
            answer = session.post(
                self.url, body.encode(), headers=headers, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            return f"{self.url} did not answer: {type(error).__name__}."
        if answer.ok and not answer.is_redirect:
            return ""
        moved = f" and named {answer.headers['Location']}" if answer.is_redirect else ""
        return f"{self.url} answered {answer.status_code}{moved}."

    def _receive(self) -> list[Any]:
        answer = self._sqs.receive_message(
            QueueUrl=self.queue,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HOLD,
            WaitTimeSeconds=0 if self.deployment.is_local else 1,
            MessageAttributeNames=["All"],
        )
        found: list[Any] = answer.get("Messages", [])
        return found

    def _release(self, messages: list[Any]) -> None:
        for each in messages:
            self._sqs.change_message_visibility(
                QueueUrl=self.queue, ReceiptHandle=each["ReceiptHandle"], VisibilityTimeout=0
            )


def _reason(message: Any) -> str:
    """Return EventBridge's reason for a dead letter.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    values = message.get("MessageAttributes", {})
    words = [
        values[name]["StringValue"] for name in ("ERROR_CODE", "ERROR_MESSAGE") if name in values
    ]
    return ": ".join(words) or "unknown"
