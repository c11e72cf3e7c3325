"""What has been dropped and has not come out yet."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from image_drop.venice.known_models import DEFAULT_EDIT_MODEL


@dataclass(frozen=True)
class PendingResult:
    """One result that will come, or a report in its place.

    `edit_id` is empty where the pipeline cannot tell yet what it will make. A report counts when
    it was stored at `since` (seconds since 1970) or later. `id` is the waiting list's own.
    """

    key: str
    variant: str | None
    since: float
    output_key: str = ""
    edit_id: str = ""
    rate_model: str = DEFAULT_EDIT_MODEL
    id: int | None = None


class WaitingList:
    """Any number of `PendingResult`, in a temporary file of SQLite's. For one thread."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute(
            "CREATE TABLE awaited (key, variant, since, output_key, edit_id, rate_model,"
            " id INTEGER PRIMARY KEY, looked_at REAL DEFAULT 0)"
        )
        self._database.execute("CREATE INDEX by_look ON awaited (looked_at)")
        self._database.execute("CREATE INDEX by_model ON awaited (rate_model)")

    def close(self) -> None:
        """Remove the file."""
        self._database.close()

    def add(self, awaited: Iterable[PendingResult]) -> None:
        """Wait for these."""
        self._database.executemany(
            "INSERT INTO awaited (key, variant, since, output_key, edit_id, rate_model)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(a.key, a.variant, a.since, a.output_key, a.edit_id, a.rate_model) for a in awaited],
        )

    def remove(self, awaited: PendingResult) -> None:
        """Wait for it no longer."""
        self._database.execute("DELETE FROM awaited WHERE id = ?", (awaited.id,))

    def due(self, now: float, interval: float, most: int) -> list[PendingResult]:
        """Those not returned within the last `interval` seconds, the longest first."""
        rows = self._database.execute(
            "SELECT key, variant, since, output_key, edit_id, rate_model, id FROM awaited"
            " WHERE looked_at <= ? ORDER BY looked_at, id LIMIT ?",
            (now - interval, most),
        ).fetchall()
        due = [PendingResult(*row) for row in rows]
        self._database.executemany(
            "UPDATE awaited SET looked_at = ? WHERE id = ?", [(now, each.id) for each in due]
        )
        return due

    def counts(self) -> dict[str, int]:
        """How many there are, by the model whose rate Venice limits."""
        return dict(
            self._database.execute("SELECT rate_model, count(*) FROM awaited GROUP BY rate_model")
        )
