"""A hot folder: files are taken when they are complete, for as long as the command runs."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import watchfiles

from image_drop.uploads import SIDECAR_SUFFIX
from image_drop_cli.upload.events import NotSent
from image_drop_cli.upload.folders import File, LocalFile, only_images

SETTLED = 1.0  # seconds for which a file has to stay the same
SOONEST = 0.5  # seconds between two looks, however much is written
EVERY = 30.0  # seconds; network drives and waking machines may tell nothing of new files

type Found = LocalFile | NotSent


@dataclass
class Looks:
    """Which files of a folder are complete and new: the same size and time in two looks.

    `_seen`: how each file was, and since when. `_taken`: how it was when it was taken.
    """

    _seen: dict[str, tuple[object, float]] = field(default_factory=dict)
    _taken: dict[str, object] = field(default_factory=dict)
    _finished: dict[str, object] = field(default_factory=dict)

    def take(self, found: Iterable[Found], now: float) -> list[Found]:
        """Return what is complete and was not taken before. `now`: in seconds, of any clock."""
        seen: dict[str, tuple[object, float]] = {}
        complete = []
        for file in found:
            look = _look_of(file)
            if self._taken.get(file.key) == look:
                continue
            before, since = self._seen.get(file.key, (None, now))
            if before == look and now - since >= SETTLED:
                self._taken[file.key] = look
                complete.append(file)
            else:
                seen[file.key] = look, since if before == look else now
        self._seen = seen
        return complete

    @property
    def all_taken(self) -> bool:
        """Whether no file has to be looked at again soon."""
        return not self._seen

    def note_finished(self, key: str) -> None:
        """Note that a file has its results."""
        if key in self._taken:
            self._finished[key] = self._taken[key]

    def forget_unfinished(self) -> None:
        """Take the others again: the upload was interrupted."""
        self._taken = dict(self._finished)

    def forget(self, key: str) -> None:
        """Take the next file of this name, which was moved away."""
        self._taken.pop(key, None)
        self._finished.pop(key, None)


def hot_files(
    walk: Callable[[], Iterable[Found]],
    looks: Looks,
    changed: Event,
    monotonic: Callable[[], float],
) -> Iterator[File | None]:
    """Yield each file that is complete, and None whenever there is none now. It never ends."""
    looked = monotonic() - EVERY
    while True:
        now = monotonic()
        wait = SOONEST if changed.is_set() or not looks.all_taken else EVERY
        if now - looked >= wait:
            changed.clear()
            looked = now
            yield from only_images(looks.take(walk(), now))
        yield None


@contextmanager
def changes_in(folders: Iterable[Path]) -> Iterator[Event]:
    """Yield an event that is set whenever something changes in the folders."""
    changed, stop = Event(), Event()

    def watch() -> None:
        for _ in watchfiles.watch(
            *folders, stop_event=stop, watch_filter=None, ignore_permission_denied=True
        ):
            changed.set()

    thread = Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield changed
    finally:
        stop.set()
        thread.join(timeout=5)


def move_done(path: Path, folder: Path, done: Path) -> Path:
    """Move a file of the hot folder, with its sidecar, and return where it is now.

    A file that is there already stays; the new one gets a number.
    """
    target = _free(done / path.relative_to(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    sidecar = path.with_name(path.name + SIDECAR_SUFFIX)
    shutil.move(path, target)
    if sidecar.is_file():
        shutil.move(sidecar, target.with_name(target.name + SIDECAR_SUFFIX))
    return target


def _look_of(file: Found) -> object:
    if isinstance(file, NotSent):
        return file.reason
    try:
        status = file.path.stat()
    except OSError:  # it is gone again
        return None
    return status.st_size, status.st_mtime_ns, file.sidecar


def _free(path: Path) -> Path:
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
