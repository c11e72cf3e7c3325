"""Files that were dropped on the page: kept in a folder of this run until they are sent."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from image_drop.uploads import SIDECAR_SUFFIX, starts_nothing
from image_drop_cli.aws import explained
from image_drop_cli.fetching import local_path
from image_drop_cli.upload.events import Arrived, Event, LeftAtHome, NotSent, Sent
from image_drop_cli.upload.folders import File, local_files, only_images
from image_drop_cli.upload.plan import Plan, plan_upload
from image_drop_cli.upload.run import UploadRun
from image_drop_cli.upload.sample import spread

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

MOST_NAMED = 50  # files that are named when they cannot be sent


@dataclass(frozen=True)
class Instructed:
    """What is to be done with the files of a drop. `to`: the folder of the input bucket.

    `overwrite`: replace other files that are in the bucket under the same keys.
    """

    instructions: Mapping[str, Any]
    to: str = ""
    overwrite: bool = False


@dataclass
class Progress:
    """How far the sending of a drop is. `of`: images; `not_sent`: the first, with the reasons."""

    drop: str
    of: int
    sent: int = 0
    arrived: int = 0
    reports: int = 0
    not_sent: list[NotSent] = field(default_factory=list)
    not_sent_count: int = 0
    ended: bool = False
    problem: str = ""

    def note(self, event: Event) -> None:
        """Count what happened."""
        match event:
            case Sent():
                self.sent += 1
            case NotSent():
                self.not_sent_count += 1
                if len(self.not_sent) < MOST_NAMED:
                    self.not_sent.append(event)
            case Arrived():
                self.arrived += 1
                self.reports += event.report is not None


@dataclass(frozen=True)
class Drop:
    """The files of one drop, below `folder`."""

    id: str
    folder: Path

    def place(self, name: str) -> Path:
        """Return where a file is kept. `name`: as it was dropped, with its folders.

        Raise `UnsafeKeyError`.
        """
        return local_path(self.folder, name)

    def remove(self, name: str) -> None:
        """Forget a file."""
        self.place(name).unlink(missing_ok=True)

    def files(self, wanted: Instructed) -> Iterator[File]:
        """Yield what is to be sent, as `put` would send it."""
        return only_images(
            local_files(sorted(self.folder.iterdir()), wanted.to, wanted.instructions)
        )

    def plan(self, wanted: Instructed, deployment: "Deployment") -> Plan:
        """Return what sending it will do and cost."""
        return plan_upload(self.files(wanted), deployment)

    def left_out(self, wanted: Instructed) -> list[LeftAtHome | NotSent]:
        """Return the first files that will not be sent, with the reasons."""
        found = (file for file in self.files(wanted) if isinstance(file, LeftAtHome | NotSent))
        return list(islice(found, MOST_NAMED))


class Drops:
    """The drops of one run of the console."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._drops: dict[str, Drop] = {}
        self._threads: list[threading.Thread] = []

    def note(self, thread: threading.Thread) -> None:
        """Remember a thread that sends a drop."""
        self._threads = [each for each in (*self._threads, thread) if each.is_alive()]

    def close(self) -> None:
        """Wait for the threads, which are told elsewhere to stop."""
        for thread in self._threads:
            thread.join()

    def new(self) -> Drop:
        """Begin a drop."""
        drop = Drop(id := token_urlsafe(9), self._folder / id)
        drop.folder.mkdir(parents=True)
        self._drops[id] = drop
        return drop

    def find(self, id: str) -> Drop | None:
        """Return a drop."""
        return self._drops.get(id)

    def forget(self, id: str) -> None:
        """Delete the files of a drop from this machine's folder of the run."""
        if drop := self._drops.pop(id, None):
            shutil.rmtree(drop.folder, ignore_errors=True)


@dataclass(frozen=True)
class Sending:
    """A drop that is sent and followed.

    `sample`: how many images, spread over the drop; 0 for all. `tell` hears how far it is, `expect`
    which images are on their way. It ends early once `stopped` says so.
    """

    drop: Drop
    wanted: Instructed
    plan: Plan
    sample: int
    deployment: "Deployment"
    tell: Callable[[Progress], None]
    expect: Callable[[list[str]], None]
    stopped: Callable[[], bool]

    def start(self) -> threading.Thread:
        """Begin, in a thread of its own."""
        thread = threading.Thread(target=self._work, name=f"drop {self.drop.id}", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        images = self.plan.images
        progress = Progress(self.drop.id, min(self.sample, images) if self.sample else images)
        try:
            self._send(progress)
        except (BotoCoreError, ClientError) as error:
            progress.problem = explained(error)
        except OSError as error:
            progress.problem = str(error)
        progress.ended = True
        self.tell(progress)

    def _send(self, progress: Progress) -> None:
        run = UploadRun(self.deployment, None, overwrite=self.wanted.overwrite)
        on_their_way: list[str] = []
        with closing(run.events(self._files())) as events:
            for event in events:
                if self.stopped():
                    return
                if event:
                    progress.note(event)
                    on_their_way += _started(event)
                    continue
                if on_their_way:
                    self.expect(on_their_way)
                    on_their_way = []
                self.tell(progress)

    def _files(self) -> Iterator[File]:
        files = self.drop.files(self.wanted)
        return spread(files, self.plan.images, self.sample) if self.sample else files


def _started(event: Event) -> list[str]:
    """Return the key of an image whose edit begins."""
    if not isinstance(event, Sent) or event.already or event.key.endswith(SIDECAR_SUFFIX):
        return []
    return [] if starts_nothing(event.key) else [event.key]
