"""`image-drop manifest`: what became of each image, and what it cost."""

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from image_drop_cli.commands.fetch import Prefix
from image_drop_cli.connection import Exit, Json, console, fail, on_stack, say, say_json
from image_drop_cli.moments import Since, since
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.manifest import Manifest


@on_stack
def manifest(
    deployment: "Deployment",
    prefix: Prefix = "",
    newer: Since = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for a spreadsheet.")] = False,
    json: Json = False,
) -> None:
    """List what became of each image and what it cost.

    The costs of all images add up to what the days have cost, see `image-drop spend`. With --since,
    only calls since then count.
    """
    from image_drop_cli.manifest import manifest as manifest_of

    if csv and json:
        fail("Both --csv and --json were given. Use one of them.", Exit.USAGE)
    found = manifest_of(deployment, prefix, since(newer, time.time()))
    if json:
        say_json(found)
    elif csv:
        _print_csv(found)
    else:
        _show(found)


def _print_csv(found: "Manifest") -> None:
    from image_drop_cli.manifest import as_csv

    for line in as_csv(found.rows):
        say(line.removesuffix("\n"))
    say(_total(found), err=True)  # a row of its own would count twice in a sum


def _show(found: "Manifest") -> None:
    if found.rows:
        table = Table(box=SIMPLE_HEAD)
        for heading in ("file", "outcome", "model", "result or what to do"):
            table.add_column(heading, overflow="fold")
        table.add_column("calls", justify="right")
        table.add_column("cost", justify="right")
        for row in found.rows:
            name = f"{row.file} ({row.variant})" if row.variant else row.file
            what = f"{row.code}: {row.what_to_do}" if row.code else row.result
            outcome = row.outcome if row.outcome == "result" else f"[yellow]{row.outcome}[/]"
            cost = f"${row.usd:,.2f}"
            table.add_row(
                escape(name), outcome, escape(row.model), escape(what), f"{row.attempts:,}", cost
            )
        console().print(table)
    say(_total(found))


def _total(found: "Manifest") -> str:
    rows = counted(len(found.rows), "row")
    if not found.unconfirmed_usd:
        return f"{rows}, ${found.usd:,.2f}."
    return f"{rows}, ${found.usd:,.2f}, and ${found.unconfirmed_usd:,.2f} unconfirmed."
