"""Every five minutes, and when the account is refused: stop, keep or resume the line."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from image_drop import account
from image_drop.invocation import Invocation
from image_drop.services import Services

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MAX_SLOT_WAIT = 70.0  # seconds to wait for a slot; a little more than one of Venice's minutes


@cache
def services() -> Services:
    """Made at the first event, kept as long as the environment lives."""
    return Services.from_env(os.environ)


def handler(_event: dict[str, Any], context: "LambdaContext") -> None:
    """Look at the account. The event does not matter: what counts is how things are now."""
    s = services()
    account.watch(s, Invocation(context, MAX_SLOT_WAIT))
