"""`image-drop spend`: what the last days have cost."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from image_drop_cli.connection import Json, console, on_stack, say, say_json
from image_drop_cli.spending import AWS_USD, MAX_DAYS, By
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.spending import Spending

WIDTH = 24  # characters of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉"


@on_stack
def spend(
    deployment: "Deployment",
    days: Annotated[
        int, typer.Option(min=1, max=MAX_DAYS, help="Number of days of UTC, today included.")
    ] = 30,
    by: Annotated[
        By,
        typer.Option(help="Divide the spend by day, by model, or by folder of the input bucket."),
    ] = By.DAY,
    json: Json = False,
) -> None:
    """Show what the last days have cost at Venice, and about what at AWS.

    Calls in progress, and calls that Venice never answered, are unconfirmed.
    """
    from image_drop_cli.spending import spending

    found = spending(deployment, days, by)
    if json:
        say_json(found)
    else:
        _show(found)


def _show(found: "Spending") -> None:
    if found.parts:
        console().print(_table(found))
    say(*_totals(found))


def _table(found: "Spending") -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("folder" if found.by is By.PREFIX else found.by.value, overflow="fold")
    table.add_column("calls", justify="right")
    table.add_column("cost", justify="right")
    table.add_column("")
    most = max(part.usd for part in found.parts)
    for part in found.parts:
        cost = f"${part.usd:,.2f}"
        if part.unconfirmed_usd:
            cost += f" + ${part.unconfirmed_usd:,.2f} unconfirmed"
        table.add_row(escape(part.name), f"{part.calls:,}", cost, bar(part.usd, most))
    return table


def bar(value: float, most: float) -> str:
    """Return a bar as long as `value` is of `most`; at least a thin one if it is above 0."""
    if value <= 0:
        return ""
    full, part = divmod(max(1, round(value / most * WIDTH * 8)), 8)
    return ("█" * full + EIGHTHS[part]).rstrip()


def _totals(found: "Spending") -> list[str]:
    period = f"From {found.first} to {found.last} (UTC)"
    lines = [f"{period}: ${found.usd:,.2f} for {counted(found.calls, 'call')}."]
    if found.unconfirmed_usd:
        lines.append(
            f"${found.unconfirmed_usd:,.2f} more is unconfirmed: calls in progress, or without an "
            "answer."
        )
    if found.reused:
        lines.append(
            f"${found.saved_usd:,.2f} saved: {counted(found.reused, 'result')} of pictures that "
            "were paid for before."
        )
    lines.append(
        f"AWS: about ${found.aws_usd:,.2f}, estimated at ${1000 * AWS_USD:.2f} for a thousand "
        "calls of 12 s. Storage and traffic are not included."
    )
    return lines
