"""Files and folders of this machine as drops: which key each gets, and in which order they go."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from image_drop.errors import UnreadableInstructionsError
from image_drop.instructions.sources import MAX_FILE_BYTES, from_file
from image_drop.uploads import FOLDER_FILE, LAYERS_FOLDER, SIDECAR_SUFFIX, starts_nothing

MAX_KEY_BYTES = 1024  # S3's limit


@dataclass(frozen=True)
class Drop:
    """A file and the key that it is dropped under; its `sidecar` is sent before it."""

    path: Path
    key: str
    sidecar: bytes | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NotSent:
    """A file is not dropped, and why."""

    key: str
    reason: str


def drops(
    paths: Iterable[Path],
    to: str = "",
    instructions: Mapping[str, Any] | None = None,
    leave_out: Path | None = None,
) -> Iterator[Drop | NotSent]:
    """What is to be sent for `paths`, one after the other, whatever their number.

    A file is dropped under its name, a folder under its own (as `cp -r` does it), both below `to`.
    In a folder, its folder file and its layers come before the images that need them. A file
    `shoe.jpg.json` beside `shoe.jpg` is its sidecar; `instructions` go into the sidecars, over what
    stands there. Hidden files, and instructions without their image, stay at home, and so does the
    folder `leave_out`, where the results are fetched to. So do links out of a folder, links to
    folders, pipes and devices; those are told.
    """
    walk = _Walk(instructions or {}, leave_out.resolve() if leave_out else None)
    prefix = f"{to.strip('/')}/" if to.strip("/") else ""
    for path in paths:
        if path.is_dir():
            name = "" if path.name == ".." else path.name  # of "." it is empty
            yield from walk.folder(path, f"{prefix}{name}/" if name else prefix, path.resolve())
        elif (obstacle := _obstacle(path, None)) is not None:
            yield NotSent(prefix + path.name, obstacle)
        else:
            yield walk.file(path, prefix + path.name, path.parent.resolve())


@dataclass(frozen=True)
class _Walk:
    """What is the same for all files of a walk. `root`: the real folder that nothing leads out of.

    A symbolic link may lead to a file within `root`. It would be easy to send a secret otherwise:
    whoever shares a folder can put a link into it.
    """

    instructions: Mapping[str, Any]
    leave_out: Path | None

    def folder(self, folder: Path, prefix: str, root: Path) -> Iterator[Drop | NotSent]:
        """Everything below a folder, in the order in which it has to go."""
        if os.path.lexists(folder / FOLDER_FILE):
            yield _as_it_is(folder / FOLDER_FILE, prefix + FOLDER_FILE, root)
        yield from _layers(folder / LAYERS_FOLDER, f"{prefix}{LAYERS_FOLDER}/", root)
        try:
            entries = os.scandir(folder)
        except OSError as error:
            yield NotSent(prefix, f"The folder cannot be read: {error.strerror}.")
            return
        with entries:
            for entry in entries:
                path, key = folder / entry.name, prefix + entry.name
                if starts_nothing(key) or entry.name == LAYERS_FOLDER:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if path.resolve() == self.leave_out:
                        continue
                    yield from self.folder(path, f"{key}/", root)
                elif not entry.name.endswith(SIDECAR_SUFFIX):
                    yield self.file(path, key, root)

    def file(self, path: Path, key: str, root: Path) -> Drop | NotSent:
        """One file, with its sidecar; or what is wrong with it."""
        drop = _as_it_is(path, key, root)
        if isinstance(drop, NotSent):
            return drop
        try:
            return replace(drop, sidecar=_sidecar(path, root, self.instructions))
        except UnreadableInstructionsError as error:
            return NotSent(key, error.detail)
        except OSError as error:
            return NotSent(key, f"Its instructions cannot be read: {error.strerror}.")


def _as_it_is(path: Path, key: str, root: Path) -> Drop | NotSent:
    """A file without a sidecar, or why it cannot be sent."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return NotSent(ascii(key)[1:-1], "Its name is not valid text. Rename the file.")
    if length > MAX_KEY_BYTES:
        return NotSent(key, f"Its key has {length:,} bytes; S3 takes {MAX_KEY_BYTES:,}.")
    obstacle = _obstacle(path, root)
    return NotSent(key, obstacle) if obstacle else Drop(path, key)


def _obstacle(path: Path, root: Path | None) -> str | None:
    """Why a file is not read, None where it is. Reading a pipe would never end."""
    if root and path.is_symlink():
        if path.is_dir():
            return "It is a link to a folder, and links to folders are not followed."
        if not path.resolve().is_relative_to(root):
            return f"It is a link out of {root}. Put the file itself there."
    return None if path.is_file() else "It is not a file: a pipe, a device, or a broken link."


def _layers(folder: Path, prefix: str, root: Path) -> Iterator[Drop | NotSent]:
    if folder.is_symlink():
        yield NotSent(prefix, "It is a link to a folder, and links to folders are not followed.")
        return
    for parent, folders, names in folder.walk():
        links = [name for name in folders if (parent / name).is_symlink()]
        for name in (*names, *links):
            if not name.startswith("."):
                path = parent / name
                yield _as_it_is(path, prefix + path.relative_to(folder).as_posix(), root)


def _sidecar(image: Path, root: Path, instructions: Mapping[str, Any]) -> bytes | None:
    """What the file next to the image says, with `instructions` over it; None without either."""
    path = image.with_name(image.name + SIDECAR_SUFFIX)
    if not os.path.lexists(path):
        return msgspec.json.encode(instructions) if instructions else None
    if (obstacle := _obstacle(path, root)) is not None:
        raise UnreadableInstructionsError(f"{path.name} is not read. {obstacle}")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    known = from_file(str(path), content)
    return msgspec.json.encode({**known.values, **instructions}) if instructions else content
