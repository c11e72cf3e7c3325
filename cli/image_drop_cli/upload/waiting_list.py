"""The results that have not arrived yet."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from image_drop.venice.known_models import DEFAULT_EDIT_MODEL


@dataclass(frozen=True)
class PendingResult:
    """One result that will come, or a report in its place.

    `edit_id` is empty where the pipeline cannot tell yet what it will make. A report counts if it
    was stored at `since` (seconds since 1970) or later. `id` is the waiting list's own.
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
            "CREATE TABLE pending (key, variant, since, output_key, edit_id, rate_model,"
            " id INTEGER PRIMARY KEY, checked_at REAL DEFAULT 0)"
        )
        self._database.execute("CREATE INDEX by_check ON pending (checked_at)")
        self._database.execute("CREATE INDEX by_key ON pending (key)")
        self._counts: Counter[str] = Counter()  # SQLite would look at every row for them

    def close(self) -> None:
        """Remove the file."""
        self._database.close()

    def add(self, pending: Iterable[PendingResult]) -> None:
        """Add results to wait for."""
        pending = list(pending)
        self._counts.update(each.rate_model for each in pending)
        self._database.executemany(
            "INSERT INTO pending (key, variant, since, output_key, edit_id, rate_model)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(p.key, p.variant, p.since, p.output_key, p.edit_id, p.rate_model) for p in pending],
        )

    def remove(self, pending: PendingResult) -> None:
        """Remove a result that has arrived, or will not."""
        removed = self._database.execute("DELETE FROM pending WHERE id = ?", (pending.id,)).rowcount
        self._counts[pending.rate_model] -= removed

    def due(self, now: float, interval: float, limit: int) -> list[PendingResult]:
        """Return up to `limit` results not returned for `interval` seconds, the oldest first."""
        rows = self._database.execute(
            "SELECT key, variant, since, output_key, edit_id, rate_model, id FROM pending"
            " WHERE checked_at <= ? ORDER BY checked_at, id LIMIT ?",
            (now - interval, limit),
        ).fetchall()
        due = [PendingResult(*row) for row in rows]
        self._database.executemany(
            "UPDATE pending SET checked_at = ? WHERE id = ?", [(now, each.id) for each in due]
        )
        return due

    def has(self, key: str) -> bool:
        """Return whether results of an image are pending."""
        row = self._database.execute("SELECT 1 FROM pending WHERE key = ? LIMIT 1", (key,))
        return row.fetchone() is not None

    def counts(self) -> dict[str, int]:
        """Return how many results are pending, by the model whose rate Venice limits."""
        return {model: count for model, count in self._counts.items() if count}
