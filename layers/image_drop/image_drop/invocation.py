"""The Lambda invocation that an edit is tried in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@dataclass(frozen=True)
class Invocation:
    """The Lambda invocation that a try happens in.

    `max_slot_wait`: seconds to wait for a slot. `message_id`, `receives`: of a queue message, and
    how often it was received, this time included. `trial`: this is the one edit that tries whether
    processing may resume.
    """

    context: "LambdaContext"
    max_slot_wait: float
    message_id: str = ""
    receives: int = 0
    trial: bool = False
