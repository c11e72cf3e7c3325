"""`image-drop clean`: results of earlier instructions."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from image_drop_cli.commands.fetch import Prefix
from image_drop_cli.connection import Exit, console, on_stack, say
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.older_results import OlderResult


@on_stack
def clean(
    deployment: "Deployment",
    prefix: Prefix = "",
    yes: Annotated[bool, typer.Option("--yes", help="Remove them without asking first.")] = False,
) -> None:
    """List and remove older results that lie next to the present result of the same image.

    When the format of a result changes, such as from shoe.jpg.png to shoe.jpg.jpg, the older file
    stays. This removes it from the output bucket, after asking.
    """
    from image_drop_cli.older_results import find_older_results, remove

    found = find_older_results(deployment, prefix)
    if not found:
        say("No older results found.")
        return
    _show(found)
    what = counted(len(found), "older result")
    if not yes and not typer.confirm(f"Remove {what}?"):
        raise typer.Exit(Exit.NEEDS_YOU)
    for each in found:
        remove(each, deployment.services)
    say(f"Removed {what}.")


def _show(found: "list[OlderResult]") -> None:
    table = Table(box=SIMPLE_HEAD)
    for heading in ("older result", "stored", "present result"):
        table.add_column(heading, overflow="fold")
    for each in found:
        stored = f"{each.stored.stored_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(escape(each.stored.key), stored, escape(each.present))
    console().print(table)
