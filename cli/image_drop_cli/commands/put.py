"""`image-drop put`: upload images, follow their edits, fetch the results."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape

from image_drop_cli.connection import Exit, Json, console, fail, on_stack, say, say_json
from image_drop_cli.instruction_options import Overwrite, with_instructions
from image_drop_cli.plan_words import (
    CONFIRM_OVER,
    ConfirmOver,
    DryRun,
    Yes,
    require_consent,
    sentences,
)
from image_drop_cli.progress_bar import progress_bar
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from image_drop_cli.deployment import Deployment
    from image_drop_cli.upload.events import Event, LeftAtHome, NotSent
    from image_drop_cli.upload.folders import LocalFile
    from image_drop_cli.upload.plan import Plan
    from image_drop_cli.upload.run import UploadRun

OUT = Path("image-drop-out")


@on_stack
@with_instructions
def put(
    deployment: "Deployment",
    paths: Annotated[
        list[Path],
        typer.Argument(exists=True, metavar="PATH", help="Images and folders to upload."),
    ],
    instructions: dict[str, Any],
    to: Annotated[
        str, typer.Option(metavar="FOLDER", help="Folder of the input bucket to upload to.")
    ] = "",
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", file_okay=False, help="Folder on this machine for the results."
        ),
    ] = OUT,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help="Wait for the results and download them, or only upload."
        ),
    ] = True,
    overwrite: Overwrite = False,
    confirm_over: ConfirmOver = CONFIRM_OVER,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Upload images and folders, wait for the results, and download them.

    Says first how many calls that takes, what they cost, and what is wrong already. Files that are
    no images stay at home.

    A folder keeps its name. Its .image-drop.json and its _layers/ are uploaded too, and so is a
    file shoe.jpg.json next to shoe.jpg. Options such as --mode override what those files say.

    You can stop with Ctrl-C: images that are uploaded are still processed. Run the same command
    again to continue; it uploads only what is missing. With --json, each line is one event.
    """
    from image_drop.uploads import starts_nothing
    from image_drop_cli.manifest import noted
    from image_drop_cli.upload.folders import local_files, only_images
    from image_drop_cli.upload.plan import plan_upload
    from image_drop_cli.upload.run import UploadRun

    if starts_nothing(f"{to.strip('/')}/image" if to else "image"):
        fail(
            f"Images in {to} are never edited: the folder is hidden, or holds layers. Choose "
            "another folder with --to.",
            Exit.USAGE,
        )

    def files() -> "Iterator[LocalFile | LeftAtHome | NotSent]":
        return only_images(local_files(paths, to, instructions, exclude=out))

    plan = plan_upload(files(), deployment)
    _tell(plan, json=json)
    if dry_run:
        raise typer.Exit(Exit.NEEDS_YOU if plan.problems or plan.not_sent else Exit.DONE)
    require_consent(plan, confirm_over, yes=yes)
    run = UploadRun(deployment, out if wait else None, overwrite=overwrite, follow=wait)
    events = run.events(files())
    if wait:
        events = noted(events, deployment, out)
    counts = Counts()
    try:
        if json:
            _show_json(events, counts)
        else:
            _show(run, events, counts, plan)
    except KeyboardInterrupt:
        say(
            "",
            "Stopped waiting. Uploaded images are still being processed. Run the same command "
            "again to fetch their results, or `image-drop status` to see the queue.",
            err=True,
        )
        raise typer.Exit(Exit.INTERRUPTED) from None
    if not json:
        say(counts.summary(out if wait else None))
    raise typer.Exit(counts.exit_code)


class Counts:
    """How many events of each kind; a million files need no more memory than one."""

    def __init__(self) -> None:
        self._counts = Counter(
            sent=0, already_uploaded=0, results=0, reports=0, left_at_home=0, not_sent=0
        )

    def add(self, event: "Event") -> None:
        """Count an event."""
        from image_drop_cli.upload.events import Arrived, LeftAtHome, Sent

        match event:
            case Sent(already=already):
                self._counts["already_uploaded" if already else "sent"] += 1
            case Arrived(report=report):
                self._counts["reports" if report else "results"] += 1
            case LeftAtHome():
                self._counts["left_at_home"] += 1
            case _:
                self._counts["not_sent"] += 1

    @property
    def sent(self) -> int:
        """How many images are in the bucket."""
        return self._counts["sent"] + self._counts["already_uploaded"]

    @property
    def arrived(self) -> int:
        """How many results and reports have arrived."""
        return self._counts["results"] + self._counts["reports"]

    @property
    def exit_code(self) -> Exit:
        """Whether something needs the person."""
        needs_you = self._counts["reports"] or self._counts["not_sent"]
        return Exit.NEEDS_YOU if needs_you else Exit.DONE

    def summary(self, out: Path | None) -> str:
        """Return one line for the end."""
        if not self._counts.total():
            return "No images found."
        named = {
            "sent": f"{self._counts['sent']:,} sent",
            "already_uploaded": f"{self._counts['already_uploaded']:,} already uploaded",
            "results": counted(self._counts["results"], "result"),
            "reports": counted(self._counts["reports"], "report"),
            "left_at_home": f"{self._counts['left_at_home']:,} left at home",
            "not_sent": f"{self._counts['not_sent']:,} not sent",
        }
        parts = [text for name, text in named.items() if self._counts[name]]
        where = f" See {out}/." if out and self.arrived else ""
        return ", ".join(parts) + "." + where

    def as_dict(self) -> dict[str, int]:
        """Return all counts by name, for JSON."""
        return dict(self._counts)


def _tell(plan: "Plan", *, json: bool) -> None:
    import msgspec

    if json:
        say_json({"event": "plan"} | msgspec.to_builtins(plan), indent=0)
    else:
        say(*sentences(plan))


def _show(run: "UploadRun", events: "Iterable[Event | None]", counts: Counts, plan: "Plan") -> None:
    screen = console()
    with progress_bar(screen, plan) as bar:
        for event in events:
            if event:
                counts.add(event)
                _print_event(event, screen)
            bar.update(run, counts.arrived, counts.sent)


def _print_event(event: "Event", screen: "Console") -> None:
    from image_drop.storage.output_bucket import Report
    from image_drop_cli.upload.events import Arrived, LeftAtHome, NotSent

    match event:
        case Arrived(report=Report() as report):
            screen.print(
                f"[yellow]report[/]    {escape(event.output_key)}: {escape(report.title)}. "
                f"{escape(report.detail)} {escape(report.what_to_do)}"
            )
        case Arrived(already=already, path=path):
            note = "  [dim]finished earlier[/]" if already else ""
            name = escape(str(path or event.output_key))
            screen.print(f"[green]result[/]    {name}  {decimal(event.size)}{note}")
        case LeftAtHome(key=key, reason=reason):
            screen.print(f"[dim]at home[/]   {escape(key)}: {escape(reason)}")
        case NotSent(key=key, reason=reason):
            screen.print(f"[red]not sent[/]  {escape(key)}: {escape(reason)}")


def _show_json(events: "Iterable[Event | None]", counts: Counts) -> None:
    import msgspec

    names = {
        "Sent": "sent",
        "NotSent": "not-sent",
        "LeftAtHome": "left-at-home",
        "Arrived": "arrived",
    }
    for event in events:
        if event:
            counts.add(event)
            line = {"event": names[type(event).__name__]}
            say_json(line | msgspec.to_builtins(event, enc_hook=str), indent=0)
    say_json({"event": "end"} | counts.as_dict(), indent=0)
