"""`image-drop status`: what is going on."""

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from image_drop_cli.connection import Exit, Json, console, on_stack, say_json
from image_drop_cli.wording import duration

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.overview import Overview, Today

REFRESH = 2.0  # seconds
COUNT_AGAIN = 60.0  # seconds; the last hour takes a listing of the bucket


@on_stack
def status(
    deployment: "Deployment",
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Tell what waits, how fast it goes, and whether anything needs you.

    Exit code 1 if the line is stopped or there are dead letters.
    """
    from image_drop_cli.overview import gather

    overview = gather(deployment)
    if json:
        _print_json(overview)
    elif watch:
        overview = _watch(deployment, overview)
    else:
        console().print(picture(overview))
    raise typer.Exit(Exit.NEEDS_YOU if overview.needs_somebody else Exit.DONE)


def picture(overview: "Overview") -> Table:
    """The overview for a person."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("stack", escape(overview.stack))
    table.add_row("queue", _queue(overview))
    for rate in overview.rates:
        free = f", the next in {rate.free_in:.0f} s" if rate.free_in >= 1 else ""
        table.add_row(
            f"rate, {escape(rate.model)}",
            f"{rate.used} calls in the last minute of {rate.limit}{free}",
        )
    table.add_row("line", _line(overview))
    if overview.balance is not None:
        table.add_row("balance", f"${overview.balance:,.2f}")
    table.add_row("spent today", _spent(overview.today))
    table.add_row("dead letters", _dead(overview))
    hour = overview.last_hour
    table.add_row(
        "last hour",
        f"{hour.results:,} results, {hour.reports:,} reports"
        + ("" if hour.complete else " in the first 100,000 objects of the bucket"),
    )
    if overview.backfill:
        table.add_row("backfill", escape(backfill_line(overview)))
    return table


def backfill_line(overview: "Overview") -> str:
    """Where the last pass stands."""
    from image_drop_cli.commands.backfill import described

    return described(overview.backfill)


def _queue(overview: "Overview") -> str:
    queue = overview.queue
    if not queue.total:
        return "nothing waits"
    left = overview.seconds_left
    return (
        f"{queue.visible:,} wait, {queue.delayed:,} have their time set, {queue.hidden:,} are "
        "worked on or wait for their next try"
        + (f"; up to {duration(left)} left" if left is not None else "")
    )


def _line(overview: "Overview") -> str:
    line = overview.line
    if not line.stopped:
        return "[green]running[/]"
    ago = duration(time.time() - line.since)
    return f"[bold red]stopped[/] for {ago} ({escape(line.reason)}): {escape(line.detail)}"


def _spent(today: "Today") -> str:
    parts = [f"${today.usd:,.2f}" + (f" of ${today.limit_usd:,.2f}" if today.limit_usd else "")]
    if today.unconfirmed_usd:
        parts.append(f"${today.unconfirmed_usd:,.2f} more in progress or unconfirmed")
    return ", ".join(parts)


def _dead(overview: "Overview") -> str:
    if not overview.dead:
        return "none"
    codes = ", ".join(f"{count} {escape(code)}" for code, count in overview.dead_codes.items())
    return f"[bold red]{overview.dead:,}[/] ({codes}); `image-drop dead list` tells more"


def _watch(deployment: "Deployment", overview: "Overview") -> "Overview":
    from image_drop_cli.overview import gather

    counted = time.monotonic()
    try:
        with Live(picture(overview), console=console()) as live:
            while True:
                time.sleep(REFRESH)
                fresh = time.monotonic() - counted < COUNT_AGAIN
                overview = gather(deployment, overview.last_hour if fresh else None)
                counted = counted if fresh else time.monotonic()
                live.update(picture(overview))
    except KeyboardInterrupt:
        return overview


def _print_json(overview: "Overview") -> None:

    say_json(overview)
