"""The Lambda invocation in which an edit is tried."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from image_drop.uploads import Upload

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@dataclass(frozen=True)
class Invocation:
    """The Lambda invocation in which an edit is tried.

    `max_slot_wait`: seconds to wait for a slot. `message_id`: of the queue message, if there is
    one. `receives`: how often that message was received, including this time. `sent_at`: when it
    was sent, in seconds since 1970, or 0. `trial`: this edit tests whether processing can resume.
    """

    context: "LambdaContext"
    max_slot_wait: float
    message_id: str = ""
    receives: int = 0
    sent_at: float = 0.0
    trial: bool = False

    def asked_at(self, upload: Upload) -> float:
        """Return when the edit was asked for, in seconds since 1970; 0 if that is not known."""
        return upload.asked_at or self.sent_at
