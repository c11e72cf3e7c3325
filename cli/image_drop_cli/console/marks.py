"""What a person has decided about results: kept, or rejected with a note.

That is kept on this machine, next to the other settings of the command line. It belongs to one
result: when the image is edited again, the new result has to be looked at.
"""

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Verdict(StrEnum):
    """What somebody thinks of a result."""

    KEPT = "kept"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Mark:
    """A decision about the result that was stored at `at`, as the manifest tells it."""

    verdict: Verdict
    at: str
    note: str = ""


class Marks:
    """The decisions about the results of one stack, in a file of SQLite's. For any thread."""

    def __init__(self, path: Path, stack: str) -> None:
        """Open the file, or make it. `stack`: what tells this stack from all others.

        Where no file can be made, decisions last as long as this object.
        """
        self._stack = stack
        self._lock = threading.Lock()
        self._database = sqlite3.connect(_writable(path), check_same_thread=False)
        with self._database:
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS marks (stack, file, variant, at, verdict, note,"
                " PRIMARY KEY (stack, file, variant))"
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def all(self) -> dict[tuple[str, str], Mark]:
        """Return all decisions by image and variant."""
        with self._lock, closing(self._database.cursor()) as cursor:
            rows = cursor.execute(
                "SELECT file, variant, at, verdict, note FROM marks WHERE stack = ?",
                (self._stack,),
            ).fetchall()
        return {(row[0], row[1]): Mark(Verdict(row[3]), row[2], row[4]) for row in rows}

    def put(self, images: Iterable[tuple[tuple[str, str], Mark | None]]) -> None:
        """Write decisions down; None takes one back."""
        with self._lock, self._database:
            for (file, variant), mark in images:
                place = (self._stack, file, variant)
                if mark is None:
                    self._database.execute(
                        "DELETE FROM marks WHERE stack = ? AND file = ? AND variant = ?", place
                    )
                else:
                    self._database.execute(
                        "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?, ?)",
                        (*place, mark.at, mark.verdict.value, mark.note),
                    )


def _writable(path: Path) -> Path | str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        return ":memory:"
    return path
