"""`image-drop put`: send images, follow them, fetch what comes out."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from image_drop_cli import wording
from image_drop_cli.commands.instructions import (
    AspectRatio,
    Finish,
    Layer,
    Mode,
    Model,
    Overwrite,
    Prompt,
    instructions_of,
)
from image_drop_cli.connection import Exit, Json, console, fail, on_stack, say, say_json

if TYPE_CHECKING:
    from rich.console import Console

    from image_drop_cli.deployment import Deployment
    from image_drop_cli.upload.drops import Event, Run

OUT = Path("image-drop-out")


@on_stack
def put(
    deployment: "Deployment",
    paths: Annotated[
        list[Path], typer.Argument(exists=True, metavar="PATH...", help="Images, and folders.")
    ],
    mode: Mode = None,
    prompt: Prompt = None,
    model: Model = None,
    aspect_ratio: AspectRatio = None,
    layer: Layer = None,
    finish: Finish = None,
    to: Annotated[str, typer.Option(metavar="FOLDER", help="Folder of the bucket.")] = "",
    out: Annotated[Path, typer.Option(help="Where results are fetched to.")] = OUT,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the images and fetch the results.")
    ] = True,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Send images and folders, wait for what becomes of them, and fetch it.

    A folder keeps its name; its .image-drop.json, its _layers/ and the files shoe.jpg.json beside
    shoe.jpg are sent as well. Options such as --mode are sent as such a file with each image.

    Run it again after a break: it sends only what has no result. Ctrl-C stops the watching, not
    the work. With --json, each line is an event.
    """
    from image_drop.uploads import starts_nothing
    from image_drop_cli.upload.drops import Run
    from image_drop_cli.upload.folders import drops

    given = instructions_of(
        mode=mode,
        prompt=prompt,
        model=model,
        aspect_ratio=aspect_ratio,
        layer=layer,
        finish=finish,
    )
    if starts_nothing(f"{to.strip('/')}/image" if to else "image"):
        fail(f"Nothing is edited below {to}: it is hidden, or for layers.", Exit.USAGE)
    run = Run(deployment, out if wait else None, overwrite=overwrite, follow=wait)
    wanted = drops(paths, to, given, leave_out=out)
    tally = Counts()
    show = _show_json if json else _show
    try:
        show(run, run.events(wanted), tally)
    except KeyboardInterrupt:
        say(
            "",
            "No longer watching. What was sent is worked on all the same: the same command picks "
            "it up, `image-drop status` tells how far it is.",
            err=True,
        )
        raise typer.Exit(Exit.INTERRUPTED) from None
    if not json:
        say(tally.summary(out if wait else None))
    raise typer.Exit(tally.exit_code)


class Counts:
    """How many of each: counts only, so that a million files need no more room than one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, event: "Event") -> None:
        """Count an event."""
        from image_drop_cli.upload.drops import Arrived, Sent

        match event:
            case Sent(already=already):
                self.counts["there before" if already else "sent"] += 1
            case Arrived(report=report):
                self.counts["reports" if report else "results"] += 1
            case _:
                self.counts["not sent"] += 1

    @property
    def exit_code(self) -> Exit:
        """Whether a person has something to look after."""
        needs_you = self.counts["reports"] or self.counts["not sent"]
        return Exit.NEEDS_YOU if needs_you else Exit.DONE

    def summary(self, out: Path | None) -> str:
        """One line at the end."""
        if not self.counts:
            return "There is nothing to send."
        where = f" They are in {out}/." if out and self.counts["results"] else ""
        return ", ".join(f"{name}: {count:,}" for name, count in self.counts.items()) + "." + where


def _show(run: "Run", events: Any, tally: Counts) -> None:
    screen = console()
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        bar = progress.add_task("", total=None)
        for event in events:
            if event:
                tally.add(event)
                _tell(event, screen)
            standing = run.standing()
            done = tally.counts["results"] + tally.counts["reports"]
            progress.update(
                bar,
                description=wording.progress(standing),
                completed=done,
                total=done + standing.awaited or None,
            )


def _tell(event: "Event", screen: "Console") -> None:
    from image_drop.storage.output_bucket import Report
    from image_drop_cli.upload.drops import Arrived
    from image_drop_cli.upload.folders import NotSent

    match event:
        case Arrived(report=Report() as report):
            screen.print(
                f"[yellow]report[/]    {escape(event.output_key)}: {escape(report.title)}. "
                f"{escape(report.detail)} {escape(report.what_to_do)}"
            )
        case Arrived(already=already, path=path):
            note = "  [dim]was done before[/]" if already else ""
            name = escape(str(path or event.output_key))
            screen.print(f"[green]result[/]    {name}  {decimal(event.size)}{note}")
        case NotSent(key=key, reason=reason):
            screen.print(f"[red]not sent[/]  {escape(key)}: {escape(reason)}")


def _show_json(_run: "Run", events: Any, tally: Counts) -> None:
    import msgspec

    for event in events:
        if event:
            tally.add(event)
            name = {"Sent": "sent", "NotSent": "not-sent", "Arrived": "arrived"}
            line = {"event": name[type(event).__name__]} | msgspec.to_builtins(event, enc_hook=str)
            say_json(line, indent=0)
    say_json({"event": "end"} | dict(tally.counts), indent=0)
