"""The line at the bottom of the terminal while an upload is under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from image_drop_cli import wording

if TYPE_CHECKING:
    from image_drop_cli.upload.run import UploadRun


class ProgressBar:
    """Shows how much of an upload has arrived and how long the rest takes."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def update(self, run: "UploadRun", arrived: int) -> None:
        """Show that so many results and reports have arrived."""
        progress = run.progress()
        self._bar.update(
            self._task,
            description=wording.time_left(progress),
            completed=arrived,
            total=arrived + progress.pending or None,
        )


@contextmanager
def progress_bar(console: Console) -> Iterator[ProgressBar]:
    """Show a progress bar on a screen, and nothing in a file or a picture of the terminal."""
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    on_a_screen = console.is_interactive
    with Progress(*columns, console=console, transient=True, disable=not on_a_screen) as bar:
        yield ProgressBar(bar)
