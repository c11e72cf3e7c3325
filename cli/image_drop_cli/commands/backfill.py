"""`image-drop backfill`: images that were there before, or whose events were lost."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from image_drop_cli.connection import Exit, Json, fail, on_stack, say, say_json
from image_drop_cli.wording import duration

if TYPE_CHECKING:
    from image_drop.state.scans import Scan
    from image_drop_cli.deployment import Deployment

app = typer.Typer(help="Edit what is in the bucket and has no result yet.", no_args_is_help=True)


@app.command()
@on_stack
def start(
    deployment: "Deployment",
    prefix: Annotated[str, typer.Argument(help='Of the keys; "" is the whole bucket.')],
) -> None:
    """Begin to work through all images below a prefix that have no result.

    The stack does it by itself, as fast as Venice allows, and never queues more than a day of work.
    """
    from image_drop.state.scans import AlreadyRunningError

    try:
        deployment.services.scans.start(prefix, time.time())
    except AlreadyRunningError as error:
        fail(str(error), Exit.NEEDS_YOU)
    say(
        f"Started on {_shown(prefix)}; the first images are queued within minutes. "
        "`image-drop backfill status` tells how far it is."
    )


@app.command()
@on_stack
def status(deployment: "Deployment", json: Json = False) -> None:
    """Tell how far it is. With --json: null where there has been none."""

    current = deployment.services.scans.current()
    if json:
        say_json(current)
    else:
        say(described(current))


@app.command()
@on_stack
def cancel(deployment: "Deployment") -> None:
    """Stop it. What it has queued is still done; nothing is lost."""
    before = deployment.services.scans.current()
    if before is None or not before.running:
        fail("None is running.", Exit.NEEDS_YOU)
    say(described(deployment.services.scans.cancel()))


def described(current: "Scan | None") -> str:
    """Where a pass stands, in a sentence."""
    if current is None:
        return "There has been none."
    what = f"{_shown(current.prefix)}: {current.seen:,} images seen, {current.queued:,} queued"
    if current.cancelled:
        return f"{what}; cancelled."
    if current.finished is not None:
        ago = duration(time.time() - current.finished)
        return f"{what}; finished {ago} ago."
    return f"{what}; running for {duration(time.time() - current.started)}."


def _shown(prefix: str) -> str:
    return prefix or "the whole bucket"
