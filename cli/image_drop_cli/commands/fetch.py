"""`image-drop fetch`: results and reports on any machine."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape

from image_drop_cli.commands.put import OUT
from image_drop_cli.connection import Exit, Json, console, on_stack, say, say_json
from image_drop_cli.moments import Since, since

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.fetching import Fetched, NotFetched

Prefix = Annotated[
    str,
    typer.Argument(
        metavar="PREFIX", help="Prefix of the keys, such as photos/. Without it, the whole bucket."
    ),
]


@on_stack
def fetch(
    deployment: "Deployment",
    prefix: Prefix = "",
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", file_okay=False, help="Folder on this machine for the results."
        ),
    ] = OUT,
    newer: Since = None,
    json: Json = False,
) -> None:
    """Download results and reports to this machine.

    What is there already, with the same size and checksum, is not downloaded again. You can stop
    with Ctrl-C and run the same command again to continue. With --json, each line is one event.
    """
    from image_drop_cli.fetching import fetch as fetched

    counts = {"fetched": 0, "already_there": 0, "not_fetched": 0}
    files = fetched(deployment, out, prefix, since(newer, time.time()))
    try:
        for each in files:
            _count(each, counts)
            if json:
                say_json(_event(each), indent=0)
            else:
                _show(each)
    except KeyboardInterrupt:
        say("", "Stopped. Run the same command again to continue.", err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None
    if json:
        say_json({"event": "end"} | counts, indent=0)
    else:
        say(_summary(counts, out))
    raise typer.Exit(Exit.NEEDS_YOU if counts["not_fetched"] else Exit.DONE)


def _count(each: "Fetched | NotFetched", counts: dict[str, int]) -> None:
    from image_drop_cli.fetching import NotFetched

    if isinstance(each, NotFetched):
        counts["not_fetched"] += 1
    else:
        counts["already_there" if each.already else "fetched"] += 1


def _event(each: "Fetched | NotFetched") -> dict[str, Any]:
    from image_drop_cli.fetching import NotFetched

    name = "not-fetched" if isinstance(each, NotFetched) else "fetched"
    return {"event": name} | vars(each)


def _show(each: "Fetched | NotFetched") -> None:
    """Print what is new; files that were there already are only counted."""
    from image_drop_cli.fetching import NotFetched

    screen = console()
    if isinstance(each, NotFetched):
        screen.print(f"[red]not fetched[/]  {escape(each.key)}: {escape(each.reason)}")
    elif not each.already:
        screen.print(f"[green]fetched[/]  {escape(str(each.path))}  {decimal(each.size)}")


def _summary(counts: dict[str, int], out: Path) -> str:
    if not any(counts.values()):
        return "No results found."
    named = {
        "fetched": f"{counts['fetched']:,} fetched",
        "already_there": f"{counts['already_there']:,} already there",
        "not_fetched": f"{counts['not_fetched']:,} not fetched",
    }
    return ", ".join(text for name, text in named.items() if counts[name]) + f". See {out}/."
