"""Every five minutes: feed the retry queue with images that have no result yet."""

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from image_drop import backfill
from image_drop.services import Services

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def services() -> Services:
    """Return the services, made at the first event and kept as long as the environment."""
    return Services.from_env(os.environ)


def handler(_event: dict[str, Any], context: "LambdaContext") -> None:
    """Continue the running scan, or start the one that is due. The event does not matter."""
    backfill.run(services(), lambda: context.get_remaining_time_in_millis() / 1000)
