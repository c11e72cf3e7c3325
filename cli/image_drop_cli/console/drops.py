"""Files that were dropped on the page: kept in a folder of this run until they are sent."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from image_drop.uploads import SIDECAR_SUFFIX, starts_nothing
from image_drop_cli.aws import explained
from image_drop_cli.fetching import UnsafeKeyError, local_path
from image_drop_cli.upload.events import Arrived, LeftAtHome, NotSent, Sent
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


def send(
    drop: Drop,
    wanted: Instructed,
    plan: Plan,
    sample: int,
    deployment: "Deployment",
    tell: Callable[[Progress], None],
    expect: Callable[[list[str]], None],
) -> threading.Thread:
    """Send a drop and follow it, in a thread of its own.

    `sample`: how many images, spread over the drop; 0 for all. `tell` hears how far it is, `expect`
    which images are on their way.
    """
    progress = Progress(drop.id, min(sample, plan.images) if sample else plan.images)

    def work() -> None:
        try:
            _send(drop, wanted, plan, sample, deployment, progress, tell, expect)
        except (BotoCoreError, ClientError) as error:
            progress.problem = explained(error)
        except (OSError, UnsafeKeyError) as error:
            progress.problem = str(error)
        progress.ended = True
        tell(progress)

    thread = threading.Thread(target=work, name=f"drop {drop.id}", daemon=True)
    thread.start()
    return thread


def _send(
    drop: Drop,
    wanted: Instructed,
    plan: Plan,
    sample: int,
    deployment: "Deployment",
    progress: Progress,
    tell: Callable[[Progress], None],
    expect: Callable[[list[str]], None],
) -> None:
    files: Iterator[File] = drop.files(wanted)
    if sample:
        files = spread(files, plan.images, sample)
    run = UploadRun(deployment, None, overwrite=wanted.overwrite)
    on_their_way: list[str] = []
    for event in run.events(files):
        match event:
            case Sent(key, already):
                progress.sent += 1
                if not already and _is_image(key):
                    on_their_way.append(key)
            case NotSent():
                progress.not_sent_count += 1
                if len(progress.not_sent) < MOST_NAMED:
                    progress.not_sent.append(event)
            case Arrived():
                progress.arrived += 1
                progress.reports += event.report is not None
            case None:
                if on_their_way:
                    expect(on_their_way)
                    on_their_way = []
                tell(progress)


def _is_image(key: str) -> bool:
    return not starts_nothing(key) and not key.endswith(SIDECAR_SUFFIX)
