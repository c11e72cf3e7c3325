"""The line at the bottom of the terminal while an upload is under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from image_drop_cli import wording

if TYPE_CHECKING:
    from image_drop_cli.upload.plan import Plan
    from image_drop_cli.upload.run import UploadRun


class ProgressBar:
    """Shows how much of an upload has arrived and how long the rest takes.

    `plan`: counted before anything is sent, so the total does not grow on the way.
    """

    def __init__(self, bar: Progress, plan: "Plan | None" = None) -> None:
        self._bar, self._plan = bar, plan
        self._task = bar.add_task("", total=plan.results if plan else None)

    def update(self, run: "UploadRun", arrived: int, sent: int = 0) -> None:
        """Show that so many images are sent, and so many results and reports have arrived."""
        progress, plan = run.progress(), self._plan
        parts = [wording.time_left(progress)]
        if plan and sent < plan.images:
            parts.insert(0, f"{sent:,} of {wording.counted(plan.images, 'image')} sent")
        self._bar.update(
            self._task,
            description=" · ".join(filter(None, parts)),
            completed=arrived,
            total=max(arrived + progress.pending, plan.results if plan else 0) or None,
        )


@contextmanager
def progress_bar(console: Console, plan: "Plan | None" = None) -> Iterator[ProgressBar]:
    """Show a progress bar on a screen, and nothing in a file or a picture of the terminal."""
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    on_a_screen = console.is_interactive
    with Progress(*columns, console=console, transient=True, disable=not on_a_screen) as bar:
        yield ProgressBar(bar, plan)
