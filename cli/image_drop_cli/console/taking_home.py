"""Results as one file to take home: a zip that is made while it is downloaded."""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, override

from image_drop.storage.s3 import MISSING, REFUSED, code_of
from image_drop_cli.fetching import DamagedError, UnsafeKeyError, local_path, save_undamaged
from image_drop_cli.manifest import NAME, Row, as_csv

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

MISSED = "not in this zip.txt"


class _Pipe(io.RawIOBase):
    """What a zip is written to, and taken from piece by piece; it cannot be sought in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: object, /) -> int:
        part = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def csv_of(rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield the manifest as a file for a spreadsheet."""
    yield b"\xef\xbb\xbf"  # Excel needs a mark
    for line in as_csv(rows):
        yield line.encode()


def zip_of(rows: Sequence[Row], deployment: "Deployment") -> Iterator[bytes]:
    """Yield a zip with the results of these rows, and their manifest.

    Each result is checked as `image-drop fetch` does. One that is gone, or whose key is no plain
    path, is named in a text instead. One result at a time is on this machine.
    """
    pipe, missed = _Pipe(), list[str]()
    with TemporaryDirectory() as folder, zipfile.ZipFile(pipe, "w", allowZip64=True) as archive:
        for key in dict.fromkeys(row.result for row in rows if row.result):
            if reason := _add(key, archive, Path(folder), deployment):
                missed.append(f"{key}: {reason}\n")
            yield pipe.taken()
        archive.writestr(NAME, b"".join(csv_of(rows)))
        if missed:
            archive.writestr(MISSED, "".join(missed))
    yield pipe.taken()


def _add(key: str, archive: zipfile.ZipFile, folder: Path, deployment: "Deployment") -> str:
    """Add a result; return why it is missing, or an empty text."""
    s3 = deployment.client("s3")
    path = folder / "result"
    try:
        local_path(folder, key)
        size = save_undamaged(s3, deployment.services.output_bucket.place(key), path)
    except UnsafeKeyError as error:
        return str(error)
    except DamagedError:
        return "It arrived damaged. Download it again."
    except s3.exceptions.ClientError as error:
        if code_of(error) not in (*MISSING, *REFUSED):
            raise
        return "It is no longer in the output bucket, or you may not read it."
    if size is None:
        return "Image Drop did not make this file."
    archive.write(path, key)  # stored, for pictures are compressed already
    path.unlink()
    return ""
