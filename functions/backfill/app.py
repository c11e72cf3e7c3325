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
    """Made at the first event, kept as long as the environment lives."""
    return Services.from_env(os.environ)


def handler(_event: dict[str, Any], context: "LambdaContext") -> None:
    """Go on with the pass that runs, or begin the one that is due. The event does not matter."""
    backfill.run(services(), lambda: context.get_remaining_time_in_millis() / 1000)
