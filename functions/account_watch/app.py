"""Every five minutes, and after a refusal of the account: pause or resume, announce the spend."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from image_drop import account, spend_watch
from image_drop.invocation import Invocation
from image_drop.services import Services

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

MAX_SLOT_WAIT = 70.0  # seconds to wait for a slot; a little more than one of Venice's minutes


@cache
def services() -> Services:
    """Return the services, made at the first event and kept as long as the environment."""
    return Services.from_env(os.environ)


def handler(_event: dict[str, Any], context: "LambdaContext") -> None:
    """Check the account. The event does not matter, only the current state does."""
    s = services()
    account.watch(s, Invocation(context, MAX_SLOT_WAIT))
    spend_watch.watch(s)
