"""Files and folders of this machine as drops: which key each gets, and in which order they go."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from image_drop.errors import UnreadableInstructionsError
from image_drop.instructions import MAX_FILE_BYTES, from_file
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
    folder `leave_out`, where the results are fetched to.
    """
    walk = _Walk(instructions or {}, leave_out.resolve() if leave_out else None)
    prefix = f"{to.strip('/')}/" if to.strip("/") else ""
    for path in paths:
        if path.is_dir():
            name = "" if path.name == ".." else path.name  # of "." it is empty
            yield from walk.folder(path, f"{prefix}{name}/" if name else prefix)
        else:
            yield walk.file(path, prefix + path.name)


@dataclass(frozen=True)
class _Walk:
    """What is the same for all files of a walk."""

    instructions: Mapping[str, Any]
    leave_out: Path | None

    def folder(self, folder: Path, prefix: str) -> Iterator[Drop | NotSent]:
        """Everything below a folder, in the order in which it has to go."""
        if (folder / FOLDER_FILE).is_file():
            yield Drop(folder / FOLDER_FILE, prefix + FOLDER_FILE)
        for layer in _files(folder / LAYERS_FOLDER):
            yield Drop(layer, prefix + layer.relative_to(folder).as_posix())
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
                    yield from self.folder(path, f"{key}/")
                elif entry.is_file() and not entry.name.endswith(SIDECAR_SUFFIX):
                    yield self.file(path, key)

    def file(self, path: Path, key: str) -> Drop | NotSent:
        """One file, with its sidecar; or what is wrong with it."""
        try:
            length = len(key.encode())
        except UnicodeEncodeError:
            return NotSent(ascii(key)[1:-1], "Its name is not valid text. Rename the file.")
        if length > MAX_KEY_BYTES:
            return NotSent(key, f"Its key has {length:,} bytes; S3 takes {MAX_KEY_BYTES:,}.")
        try:
            return Drop(path, key, _sidecar(path, self.instructions))
        except UnreadableInstructionsError as error:
            return NotSent(key, error.detail)
        except OSError as error:
            return NotSent(key, f"Its instructions cannot be read: {error.strerror}.")


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in folder.walk():
        for name in names:
            if not name.startswith("."):
                yield root / name


def _sidecar(image: Path, instructions: Mapping[str, Any]) -> bytes | None:
    """What stands beside the image, with `instructions` over it; None where there is neither."""
    path = image.with_name(image.name + SIDECAR_SUFFIX)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return msgspec.json.encode(instructions) if instructions else None
    known = from_file(str(path), content)
    return msgspec.json.encode({**known.values, **instructions}) if instructions else content
