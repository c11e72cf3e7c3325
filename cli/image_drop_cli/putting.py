"""How `put` carries out its plan: all at once, a sample first, or as files come."""

import threading
import time
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from image_drop_cli.aws import explained, may_pass
from image_drop_cli.connection import has_display, say, say_json
from image_drop_cli.manifest import noted
from image_drop_cli.put_output import Counts, show, show_json
from image_drop_cli.upload import sample, watch
from image_drop_cli.upload.events import Arrived, Event, NotSent, Sent
from image_drop_cli.upload.folders import File, LocalFile, local_files, only_images
from image_drop_cli.upload.run import UploadRun

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.upload.plan import Plan

TRY_AGAIN = 30.0  # seconds, while the network is gone or nobody is signed in


@dataclass(frozen=True)
class Putting:
    """What was asked for on the command line."""

    deployment: "Deployment"
    paths: tuple[Path, ...]
    to: str
    instructions: Mapping[str, Any]
    out: Path
    wait: bool
    overwrite: bool
    json: bool
    move_done: Path | None

    def files(self) -> Iterator[File]:
        """Yield what is to be sent."""
        return only_images(self.walk())

    def carry_out(self, plan: "Plan") -> Counts:
        """Send everything, and follow it."""
        run, counts = self.run(), Counts()
        self._show(self._noted(run.events(self.files())), counts, run, plan)
        return counts

    def sample(self, plan: "Plan", count: int) -> Path | None:
        """Edit a few images, draw what became of them, and open it; where it is, if any came."""
        files, again = tee(sample.spread(self.files(), plan.images, count))
        run, arrived = self.run(), list[Arrived]()
        events = _remembering(run.events(files), arrived)
        self._show(events, Counts(), run, plan.part(count))
        if not arrived:
            return None
        sheet = sample.draw_sheet(arrived, sample.originals_of(again), self.out)
        if self.json:
            say_json({"event": "sample", "contact_sheet": sheet}, indent=0)
        elif has_display():
            webbrowser.open(sheet.resolve().as_uri())
        return None if self.json else sheet

    def watch(self) -> Counts:
        """Send what is there and what comes, until Ctrl-C."""
        counts = Counts()
        if not self.json:
            say("Waiting for new images. Ctrl-C stops it.")
        with watch.changes_in(self.paths) as changed:
            hot = HotFolder(self, watch.Looks(), changed)
            self._show(self._noted(hot.events()), counts)
        return counts

    def walk(self) -> Iterator[LocalFile | NotSent]:
        """Yield the files of the folders as they are now, images or not."""
        exclude = [self.out, *([self.move_done] if self.move_done else [])]
        return local_files(self.paths, self.to, self.instructions, exclude)

    def run(self) -> UploadRun:
        """Return a run that sends and follows files."""
        out = self.out if self.wait else None
        return UploadRun(self.deployment, out, overwrite=self.overwrite, follow=self.wait)

    def _noted(self, events: Iterable[Event | None]) -> Iterable[Event | None]:
        return noted(events, self.deployment, self.out) if self.wait else events

    def _show(
        self,
        events: Iterable[Event | None],
        counts: Counts,
        run: UploadRun | None = None,
        plan: "Plan | None" = None,
    ) -> None:
        if self.json:
            show_json(events, counts)
        else:
            show(events, counts, run, plan)


@dataclass(frozen=True)
class HotFolder:
    """A folder that is watched: what is new is sent, what has its results may be moved."""

    putting: Putting
    looks: watch.Looks
    changed: threading.Event
    sleep: Callable[[float], None] = time.sleep

    def events(self) -> Iterator[Event | None]:
        """Yield what happens, also after the network was gone or the credentials expired."""
        while True:
            try:
                yield from self._events()
            except (BotoCoreError, ClientError) as error:
                if not may_pass(error):
                    raise
                say(f"{explained(error)} Trying again in {TRY_AGAIN:.0f} s.", err=True)
                self.looks.forget_unfinished()
                self.sleep(TRY_AGAIN)

    def _events(self) -> Iterator[Event | None]:
        run, paths, reported = self.putting.run(), dict[str, Path](), set[str]()
        hot = watch.hot_files(self.putting.walk, self.looks, self.changed, time.monotonic)
        for event in run.events(_with_paths(hot, paths)):
            yield event
            if isinstance(event, Sent):
                reported.discard(event.key)
            if not isinstance(event, Arrived):
                continue
            key = event.key
            reported |= {key} if event.report else set()
            if run.is_waiting_for(key):
                continue
            self.looks.note_finished(key)
            if self.putting.move_done and key not in reported:
                yield self._move(key, paths[key], self.putting.move_done)

    def _move(self, key: str, path: Path, done: Path) -> NotSent | None:
        folder = next(each for each in self.putting.paths if path.is_relative_to(each))
        try:
            watch.move_done(path, folder, done)
        except OSError as error:
            return NotSent(key, f"It could not be moved to {done}: {error.strerror or error}.")
        self.looks.forget(key)
        return None


def _with_paths(files: Iterable[File | None], paths: dict[str, Path]) -> Iterator[File | None]:
    for file in files:
        if isinstance(file, LocalFile):
            paths[file.key] = file.path
        yield file


def _remembering(events: Iterable[Event | None], arrived: list[Arrived]) -> Iterator[Event | None]:
    for event in events:
        if isinstance(event, Arrived):
            arrived.append(event)
        yield event
