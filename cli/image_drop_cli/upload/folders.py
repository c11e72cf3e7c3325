"""Files and folders of this machine: which key each file gets, and in which order they are sent."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from image_drop.errors import UnreadableInstructionsError
from image_drop.imaging.headers import media_type_of
from image_drop.instructions.sources import MAX_FILE_BYTES, from_file
from image_drop.storage.s3 import MAX_KEY_BYTES
from image_drop.uploads import FOLDER_FILE, LAYERS_FOLDER, SIDECAR_SUFFIX, starts_nothing
from image_drop_cli.upload.events import LeftAtHome, NotSent

_ENOUGH = 512  # bytes that tell a format
LINK_TO_FOLDER = "It is a link to a folder, and such links are not followed. Copy the folder here."


@dataclass(frozen=True)
class LocalFile:
    """A file and the key that it is sent to; its `sidecar` is sent before it."""

    path: Path
    key: str
    sidecar: bytes | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)


type File = LocalFile | LeftAtHome | NotSent


def local_files(
    paths: Iterable[Path],
    to: str = "",
    instructions: Mapping[str, Any] | None = None,
    exclude: Iterable[Path] = (),
) -> Iterator[LocalFile | NotSent]:
    """Yield what is to be sent for `paths`, one after the other, whatever their number.

    A file gets its name as its key, a folder keeps its own name (as with `cp -r`), both below `to`.
    The folder file and the layers of a folder come before the images that need them. A file
    `shoe.jpg.json` next to `shoe.jpg` is its sidecar; `instructions` override what it says.

    Hidden files are skipped, and so are instructions without their image, and the folders
    `exclude`, such as that of fetched results. Links out of a folder, links to folders, pipes and
    devices become a `NotSent`.
    """
    walk = _Walk(instructions or {}, frozenset(each.resolve() for each in exclude))
    prefix = f"{to.strip('/')}/" if to.strip("/") else ""
    for path in paths:
        if path.is_dir():
            name = "" if path.name == ".." else path.name  # of "." it is empty
            yield from walk.folder(path, f"{prefix}{name}/" if name else prefix, path.resolve())
        elif (obstacle := _obstacle(path, None)) is not None:
            yield NotSent(prefix + path.name, obstacle)
        else:
            yield walk.file(path, prefix + path.name, path.parent.resolve())


def only_images(files: Iterable[LocalFile | NotSent]) -> Iterator[File]:
    """Leave files at home that are no images by their first bytes, whatever their names say."""
    for file in files:
        if isinstance(file, LocalFile) and not _is_instructions(file.key):
            try:
                with file.path.open("rb") as content:
                    begin = content.read(_ENOUGH)
            except OSError as error:
                yield NotSent(file.key, f"{file.path}: {error.strerror or error}.")
                continue
            if media_type_of(begin) is None:
                reason = "It is not an image." if begin else "It is empty."
                yield LeftAtHome(file.key, reason)
                continue
        yield file


def _is_instructions(key: str) -> bool:
    return starts_nothing(key) or key.endswith(SIDECAR_SUFFIX)


class BlockedFolders:
    """Folders whose images are not sent, because a folder file or a layer of theirs was not."""

    def __init__(self) -> None:
        self._prefixes: list[str] = []

    def block(self, key: str) -> None:
        """Block the folder that needs `key`; nothing if that is neither folder file nor layer."""
        layers = f"/{key}".find(f"/{LAYERS_FOLDER}/")
        if layers >= 0:
            self._prefixes.append(key[:layers])
        elif f"/{key}".endswith(f"/{FOLDER_FILE}"):
            self._prefixes.append(key.removesuffix(FOLDER_FILE))

    def contain(self, key: str) -> bool:
        """Return whether a key is in a blocked folder."""
        return any(key.startswith(prefix) for prefix in self._prefixes)


@dataclass(frozen=True)
class _Walk:
    """What is the same for all files of a walk. `root`: the real folder that must not be left.

    A symbolic link may lead to a file within `root`. Whoever shares a folder could otherwise make
    you send a secret, with a link to it.
    """

    instructions: Mapping[str, Any]
    exclude: frozenset[Path]

    def folder(self, folder: Path, prefix: str, root: Path) -> Iterator[LocalFile | NotSent]:
        """Yield everything below a folder, in the order in which it is sent."""
        if os.path.lexists(folder / FOLDER_FILE):
            yield _plain_file(folder / FOLDER_FILE, prefix + FOLDER_FILE, root)
        yield from _layers(folder / LAYERS_FOLDER, f"{prefix}{LAYERS_FOLDER}/", root)
        try:
            entries = os.scandir(folder)
        except OSError as error:
            yield NotSent(
                prefix, f"The folder cannot be read: {error.strerror}. Check its permissions."
            )
            return
        with entries:
            for entry in entries:
                path, key = folder / entry.name, prefix + entry.name
                if starts_nothing(key) or entry.name == LAYERS_FOLDER:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if path.resolve() in self.exclude:
                        continue
                    yield from self.folder(path, f"{key}/", root)
                elif not entry.name.endswith(SIDECAR_SUFFIX):
                    yield self.file(path, key, root)

    def file(self, path: Path, key: str, root: Path) -> LocalFile | NotSent:
        """Return one file with its sidecar, or what is wrong with it."""
        file = _plain_file(path, key, root)
        if isinstance(file, NotSent):
            return file
        try:
            return replace(file, sidecar=_sidecar(path, root, self.instructions))
        except UnreadableInstructionsError as error:
            return NotSent(key, error.detail)
        except OSError as error:
            name = path.name + SIDECAR_SUFFIX
            return NotSent(key, f"{name} cannot be read: {error.strerror}. Check its permissions.")


def _plain_file(path: Path, key: str, root: Path) -> LocalFile | NotSent:
    """Return a file without a sidecar, or why it cannot be sent."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return NotSent(ascii(key)[1:-1], "Its name is not valid text. Rename the file.")
    if length > MAX_KEY_BYTES:
        return NotSent(
            key,
            f"Its key has {length:,} bytes; S3 allows {MAX_KEY_BYTES:,}. Shorten the names of the "
            "file and its folders.",
        )
    obstacle = _obstacle(path, root)
    return NotSent(key, obstacle) if obstacle else LocalFile(path, key)


def _obstacle(path: Path, root: Path | None) -> str | None:
    """Return why a file is not read, or None if it is. Reading a pipe would never end."""
    if root and path.is_symlink():
        if path.is_dir():
            return LINK_TO_FOLDER
        if not path.resolve().is_relative_to(root):
            return f"It is a link to a file outside {root}. Copy the file here."
    if path.is_file():
        return None
    return "It is a pipe, a device or a broken link, not a file. Replace or remove it."


def _layers(folder: Path, prefix: str, root: Path) -> Iterator[LocalFile | NotSent]:
    if folder.is_symlink():
        yield NotSent(prefix, LINK_TO_FOLDER)
        return
    for parent, folders, names in folder.walk():
        links = [name for name in folders if (parent / name).is_symlink()]
        for name in (*names, *links):
            if not name.startswith("."):
                path = parent / name
                yield _plain_file(path, prefix + path.relative_to(folder).as_posix(), root)


def _sidecar(image: Path, root: Path, instructions: Mapping[str, Any]) -> bytes | None:
    """Return what the file next to the image says, overridden by `instructions`.

    None if there is neither. Raise `UnreadableInstructionsError` and `OSError`.
    """
    path = image.with_name(image.name + SIDECAR_SUFFIX)
    if not os.path.lexists(path):
        return msgspec.json.encode(instructions) if instructions else None
    if (obstacle := _obstacle(path, root)) is not None:
        raise UnreadableInstructionsError(f"{path.name} was not read. {obstacle}")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    known = from_file(str(path), content)
    return msgspec.json.encode({**known.values, **instructions}) if instructions else content
