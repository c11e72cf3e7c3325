"""`image-drop backfill`: images without a result, such as those older than the stack."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from image_drop_cli.connection import Exit, Json, fail, on_stack, say, say_json
from image_drop_cli.plan_words import (
    CONFIRM_OVER,
    ConfirmOver,
    DryRun,
    Yes,
    require_consent,
    sentences,
)
from image_drop_cli.wording import backfill_status

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

app = typer.Typer(
    help="Edit images that are in the bucket and have no result yet.", no_args_is_help=True
)


@app.command()
@on_stack
def start(
    deployment: "Deployment",
    prefix: Annotated[
        str,
        typer.Argument(
            metavar="PREFIX",
            help='Prefix of the object keys, such as photos/. Use "" for the whole bucket.',
        ),
    ],
    confirm_over: ConfirmOver = CONFIRM_OVER,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Start editing all images below a prefix that have no result.

    Says first how many calls that takes and what they cost, and asks if that is much.

    The stack works in the background, as fast as Venice allows. It never queues more than a day of
    work.
    """
    from image_drop.state.scans import AlreadyRunningError
    from image_drop_cli.upload.plan import plan_backfill

    plan = plan_backfill(prefix, deployment)
    if json:
        say_json(plan)
    else:
        say(*sentences(plan))
    if dry_run:
        return
    require_consent(plan, confirm_over, yes=yes, json=json)
    scans = deployment.services.scans
    try:
        scans.start(prefix, time.time())
    except AlreadyRunningError:
        fail(
            f"A backfill is already running. {backfill_status(scans.current())} Wait until it "
            "finishes, or stop it with `image-drop backfill cancel`.",
            Exit.NEEDS_YOU,
        )
    if json:
        return
    say(
        f"Started a backfill of {prefix or 'the whole bucket'}. It queues the first images within "
        "minutes. `image-drop backfill status` shows how far it is."
    )


@app.command()
@on_stack
def status(deployment: "Deployment", json: Json = False) -> None:
    """Show how far the last backfill is.

    With --json, null means that no backfill has been started.
    """
    current = deployment.services.scans.current()
    if json:
        say_json(current)
    else:
        say(backfill_status(current))


@app.command()
@on_stack
def cancel(deployment: "Deployment") -> None:
    """Stop the backfill. Images that it has queued are still processed."""
    before = deployment.services.scans.current()
    if before is None or not before.running:
        fail("No backfill is running.", Exit.NEEDS_YOU)
    say(backfill_status(deployment.services.scans.cancel()))
