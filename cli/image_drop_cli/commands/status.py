"""`image-drop status`: the state of a stack."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from image_drop_cli.connection import Exit, Json, console, on_stack, say_json
from image_drop_cli.wording import backfill_status, counted, duration, folders_status

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.overview import Functions, Overview, Rate, Today

REFRESH = 2.0  # seconds
COUNT_AGAIN = 60.0  # seconds; the metrics of the last hour are no newer


@on_stack
def status(
    deployment: "Deployment",
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every two seconds until Ctrl-C.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the queue, throughput, spend and anything that needs attention.

    The exit code is 1 if processing is paused or there are dead letters.
    """
    from image_drop_cli.overview import gather

    overview = gather(deployment)
    if json:
        say_json(overview)
    elif watch:
        overview = _watch(deployment, overview)
    else:
        console().print(shown(overview))
    raise typer.Exit(Exit.NEEDS_YOU if overview.needs_you else Exit.DONE)


def shown(overview: "Overview") -> Group:
    """Return the overview as a person reads it: a sentence or two, then the details."""
    return Group(*map(Text.from_markup, sentences(overview)), "", table_of(overview))


def sentences(overview: "Overview") -> Iterator[str]:
    """Yield what matters now, in whole sentences, as markup."""
    processing, queue = overview.processing, overview.queue.total
    name = escape(overview.stack)
    if processing.paused:
        ago = duration(time.time() - processing.since)
        yield (
            f"[bold red]{name} has been paused[/] for {ago} ({escape(processing.reason)}): "
            f"{escape(processing.detail)} {escape(processing.how_it_resumes)}"
        )
    else:
        yield f"[green]{name} is running.[/]"
    yield _waiting(queue, overview.seconds_left) + " " + _today(overview.today)
    if overview.dead:
        yield (
            f"[bold red]{counted(overview.dead, 'dead letter')}[/] {_needs(overview.dead)} you: "
            "see `image-drop dead list`."
        )


def _waiting(queued: int, seconds_left: float | None) -> str:
    if not queued:
        return "Nothing is queued."
    left = f", which takes up to {duration(seconds_left)}" if seconds_left else ""
    return f"{counted(queued, 'upload')} {'is' if queued == 1 else 'are'} queued{left}."


def _today(today: "Today") -> str:
    limit = f" of ${today.limit_usd:,.2f}" if today.limit_usd else ""
    only = " (the limit of today only)" if today.limit_usd != today.usual_limit_usd else ""
    return f"Today has cost ${today.usd:,.2f}{limit}{only}.{_saved(today)}"


def _saved(today: "Today") -> str:
    if not today.reused:
        return ""
    return f" ${today.saved_usd:,.2f} saved: {counted(today.reused, 'result')} reused."


def _needs(count: int) -> str:
    return "needs" if count == 1 else "need"


def table_of(overview: "Overview") -> Table:
    """Return the details of the overview."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for label, text in _rows(overview):
        table.add_row(escape(label), text)
    return table


def _rows(overview: "Overview") -> Iterator[tuple[str, str]]:
    yield "images go to", escape(overview.input)
    yield "results are in", escape(overview.output)
    yield "queue", _queue(overview)
    for rate in overview.rates:
        yield f"rate, {rate.model}", _rate(rate)
    yield "functions", _functions(overview.functions)
    yield "processing", _processing(overview)
    if overview.balance is not None:
        yield "balance", f"${overview.balance:,.2f}"
    yield "spent today", _spent(overview.today)
    for model, usd in overview.today.usd_by_model.items():
        calls = counted(overview.today.calls_by_model.get(model, 0), "call")
        yield f"  {model}", f"${usd:,.2f} for {calls}"
    yield "dead letters", _dead(overview)
    hour = overview.last_hour
    yield "last hour", f"{counted(hour.results, 'result')}, {counted(hour.reports, 'report')}"
    if overview.backfill:
        yield "backfill", escape(backfill_status(overview.backfill))
    if overview.folders and (overview.folders.running or overview.folders.folders):
        yield "folder files", escape(folders_status(overview.folders))


def _queue(overview: "Overview") -> str:
    queue, left = overview.queue, overview.seconds_left
    if not queue.total:
        return "empty"
    return f"{queue.visible:,} ready, {queue.delayed:,} scheduled, {queue.hidden:,} in progress" + (
        f"; up to {duration(left)} left" if left is not None else ""
    )


def _rate(rate: "Rate") -> str:
    free = f"; next call in {rate.free_in:.0f} s" if rate.free_in >= 1 else ""
    return f"{rate.used} of {counted(rate.limit, 'call')} in the last minute{free}"


def _functions(functions: "Functions") -> str:
    allowed = f"up to {functions.allowed:,} at once"
    match functions.cause:
        case "account":
            short = "half of what the AWS account runs at once"
        case "parameter":
            short = "MaximumConcurrency"
        case _:
            return f"{allowed}, as many as the rate needs"
    return f"{allowed} of {functions.needed:,} that the rate needs: {short}"


def _processing(overview: "Overview") -> str:
    processing = overview.processing
    if not processing.paused:
        return "[green]running[/]"
    ago = duration(time.time() - processing.since)
    reason, detail = escape(processing.reason), escape(processing.detail)
    return f"[bold red]paused[/] for {ago} ({reason}): {detail}"


def _spent(today: "Today") -> str:
    spent = f"${today.usd:,.2f}" + (f" of ${today.limit_usd:,.2f}" if today.limit_usd else "")
    if not today.unconfirmed_usd:
        return spent
    return f"{spent}, and ${today.unconfirmed_usd:,.2f} in progress or unconfirmed"


def _dead(overview: "Overview") -> str:
    if not overview.dead:
        return "none"
    codes = ", ".join(f"{count} {escape(code)}" for code, count in overview.dead_codes.items())
    return f"[bold red]{overview.dead:,}[/] ({codes}); see `image-drop dead list`"


def _watch(deployment: "Deployment", overview: "Overview") -> "Overview":
    from image_drop_cli.overview import gather

    counted_at = time.monotonic()
    try:
        with Live(shown(overview), console=console()) as live:
            while True:
                time.sleep(REFRESH)
                fresh = time.monotonic() - counted_at < COUNT_AGAIN
                overview = gather(deployment, overview.last_hour if fresh else None, overview)
                counted_at = counted_at if fresh else time.monotonic()
                live.update(shown(overview))
    except KeyboardInterrupt:
        return overview
