"""What `put` prints: its plan, its events, and how many of each there were."""

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.markup import escape

from image_drop_cli.connection import Exit, console, say, say_json
from image_drop_cli.plan_words import sentences
from image_drop_cli.progress_bar import progress_bar
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from image_drop_cli.upload.events import Event
    from image_drop_cli.upload.plan import Plan
    from image_drop_cli.upload.run import UploadRun


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


def tell_plan(plan: "Plan", *, json: bool) -> None:
    """Print what will happen."""
    import msgspec

    if json:
        say_json({"event": "plan"} | msgspec.to_builtins(plan), indent=0)
    else:
        say(*sentences(plan))


def show(
    events: "Iterable[Event | None]",
    counts: Counts,
    run: "UploadRun | None" = None,
    plan: "Plan | None" = None,
) -> None:
    """Print each event as it happens, above the progress of `run` if there is one."""
    screen = console()
    with progress_bar(screen, plan) if run else nullcontext() as bar:
        for event in events:
            if event:
                counts.add(event)
                _print_event(event, screen)
            if run and bar:
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


def show_json(events: "Iterable[Event | None]", counts: Counts) -> None:
    """Print each event as JSON on a line of its own."""
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
