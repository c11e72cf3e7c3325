"""`image-drop status` on a stack in which nothing has happened yet."""

from collections.abc import Callable
from typing import Any

from rich.console import Console

from image_drop_cli.commands.status import picture
from image_drop_cli.overview import Hour, gather
from tests.support.quiet_stack import quiet_stack


def test_untouched_stack_has_nothing_to_tell_and_needs_nobody(
    boto_client: Callable[[str], Any], input_bucket: str, output_bucket: str, table: str
) -> None:
    overview = gather(quiet_stack(boto_client).deployment)
    assert not overview.needs_somebody
    assert (overview.queue.total, overview.dead, overview.today.usd) == (0, 0, 0.0)
    assert overview.last_hour == Hour(results=0, reports=0, complete=True)
    assert overview.balance is None
    assert overview.backfill is None
    console = Console(width=120)
    with console.capture() as capture:
        console.print(picture(overview))
    assert "$0.00" in capture.get()
