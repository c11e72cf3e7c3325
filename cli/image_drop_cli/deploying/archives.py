"""Zip archives that are the same whenever they are made of the same files."""

import hashlib
import io
import zipfile
from pathlib import Path

_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip archive can hold
_MODE = 0o644 << 16  # Lambda has to read what it unpacks; nothing is run


def zipped(folder: Path, *, bytecode: bool = False) -> bytes:
    """Return an archive of the files below a folder, in the order of their names.

    `bytecode`: also what Python compiled; in a layer it is meant, elsewhere left over.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (bytecode or path.parent.name != "__pycache__"):
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _TIME)
                entry.external_attr = _MODE
                entry.compress_type = zipfile.ZIP_DEFLATED
                files.writestr(entry, path.read_bytes())
    return archive.getvalue()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some data, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
