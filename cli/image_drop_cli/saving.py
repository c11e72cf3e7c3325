"""Files on this machine: written under a temporary name, then moved into place."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def moved_into_place(path: Path) -> Iterator[Path]:
    """Yield a path to write to, and move that file to `path` at the end.

    If the body fails, `path` stays as it was. Folders that are missing are made. Two programs may
    write the same file, so the temporary name is random.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
