"""What the gallery shows: every image with its outcome, in an order that stays.

A tile is a row of the manifest. Images that are on their way keep their place when their result
arrives, so that nothing moves below a person's eyes.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from image_drop.state.edit_record import OutcomeKind
from image_drop_cli.console.marks import Mark, Verdict
from image_drop_cli.manifest import UNFINISHED, Row

type Name = tuple[str, str]  # the key of an image, and its variant or an empty text

RESULT, NEEDS_YOU = OutcomeKind.RESULT.value, (OutcomeKind.REPORT.value, "dead letter")
PATIENCE = 120.0  # seconds in which the outcome before a retry is not taken for its own
SHOWN = (
    "all",
    "results",
    "on-the-way",
    "needs-you",
    "set-aside",
    "kept",
    "rejected",
    "undecided",
)


@dataclass(frozen=True)
class View:
    """Which tiles, and in which order. `show`: a word of `SHOWN`; `text`: a part of the key."""

    show: str = "all"
    prefix: str = ""
    text: str = ""
    by_name: bool = False


@dataclass(frozen=True)
class Tile:
    """A row of the manifest, when it was first seen (seconds since 1970), and what was decided.

    `retried_at`, `before`: when somebody has retried it, and the time of the outcome before that.
    """

    row: Row
    since: float
    mark: Mark | None = None
    retried_at: float = 0.0
    before: str = ""

    def is_told_by(self, row: Row, now: float) -> bool:
        """Return whether a row says nothing new about it."""
        same = self.row == row
        early = now < self.retried_at + PATIENCE and row.at == self.before
        return same or early

    @property
    def name(self) -> Name:
        """What tells it from all others."""
        return self.row.file, self.row.variant

    @property
    def kind(self) -> str:
        """Where it is shown: `results`, `needs-you`, `set-aside` or `on-the-way`."""
        if self.row.outcome == RESULT:
            return "results"
        if self.failed:
            return "set-aside" if self.mark else "needs-you"
        return "on-the-way"

    @property
    def failed(self) -> bool:
        """Whether it has a report, or is a dead letter."""
        return self.row.outcome in NEEDS_YOU

    def is_in(self, view: View) -> bool:
        """Return whether a view has it."""
        row, verdict = self.row, self.mark.verdict if self.mark else None
        match view.show:
            case "results" | "needs-you" | "set-aside" | "on-the-way":
                chosen = self.kind == view.show
            case "kept" | "rejected":
                chosen = self.kind == "results" and verdict == view.show
            case "undecided":
                chosen = self.kind == "results" and verdict is None
            case _:
                chosen = True
        if not chosen or not row.file.startswith(view.prefix):
            return False
        return not view.text or view.text.casefold() in row.file.casefold()


@dataclass
class Gallery:
    """All tiles, for any number of threads. `version` grows with each change."""

    version: int = 0
    _tiles: dict[Name, Tile] = field(default_factory=dict)
    _variants: dict[str, set[str]] = field(default_factory=dict)  # of each image
    _views: dict[View, list[Tile]] = field(default_factory=dict)
    _marks: dict[Name, Mark] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def update(self, rows: Iterable[Row], now: float) -> list[Tile]:
        """Take rows over as they are now; return the tiles that are new or have changed."""
        changed = []
        with self._lock:
            for row in rows:
                known = self._tiles.get((row.file, row.variant))
                if known and known.is_told_by(row, now):
                    continue
                since = known.since if known else _seconds(row.at, now)
                changed.append(self._put(Tile(row, since)))
                if row.variant:
                    self._forget_waiting(row.file)
            if changed:
                self._changed()
        return changed

    def expect(self, keys: Iterable[str], now: float, since: float | None = None) -> list[Tile]:
        """Show images that have just been sent or retried, before the stack has a row for them.

        `since`: the place of those that are new; now, if it is not given.
        """
        with self._lock:
            new = []
            for key in keys:
                for tile in self.variants(key) or [Tile(Row(key), since or now)]:
                    row = replace(tile.row, outcome=UNFINISHED, code="", what_to_do="", at="")
                    before = tile.row.at or tile.before
                    new.append(self._put(replace(tile, row=row, retried_at=now, before=before)))
            if new:
                self._changed()
        return new

    def forget_missing(self, names: Iterable[Name], older_than: float) -> None:
        """Drop tiles that the stack no longer knows, but for those that were sent since then."""
        with self._lock:
            known = set(names)
            gone = [
                name
                for name, tile in self._tiles.items()
                if name not in known and tile.since < older_than
            ]
            for name in gone:
                self._remove(name)
            if gone:
                self._changed()

    def mark(self, marks: Mapping[Name, Mark | None]) -> list[Tile]:
        """Note what a person has decided; None takes a decision back."""
        with self._lock:
            for name, mark in marks.items():
                if mark is None:
                    self._marks.pop(name, None)
                else:
                    self._marks[name] = mark
            self._changed()
            return [self._put(self._tiles[name]) for name in marks if name in self._tiles]

    def find(self, file: str, variant: str = "") -> Tile | None:
        """Return one tile."""
        return self._tiles.get((file, variant))

    def variants(self, file: str) -> list[Tile]:
        """Return all tiles of an image, by the names of its variants."""
        with self._lock:
            return [self._tiles[file, each] for each in sorted(self._variants.get(file, ()))]

    def waiting(self) -> list[Name]:
        """Return what has no outcome yet."""
        with self._lock:
            return [name for name, tile in self._tiles.items() if tile.kind == "on-the-way"]

    def view(self, view: View) -> list[Tile]:
        """Return the tiles of a view in its order."""
        with self._lock:
            if (known := self._views.get(view)) is not None:
                return known
            found = [tile for tile in self._tiles.values() if tile.is_in(view)]
            found.sort(key=_by_name if view.by_name else _newest_first)
            self._views[view] = found
            return found

    def counts(self) -> dict[str, int]:
        """Return how many tiles each word of `SHOWN` has."""
        with self._lock:
            kinds = Counter(tile.kind for tile in self._tiles.values())
            verdicts = Counter(
                tile.mark.verdict
                for tile in self._tiles.values()
                if tile.mark and tile.kind == "results"
            )
            return {
                "all": len(self._tiles),
                "results": kinds["results"],
                "on-the-way": kinds["on-the-way"],
                "needs-you": kinds["needs-you"],
                "set-aside": kinds["set-aside"],
                "kept": verdicts[Verdict.KEPT],
                "rejected": verdicts[Verdict.REJECTED],
                "undecided": kinds["results"] - verdicts.total(),
            }

    def _put(self, tile: Tile) -> Tile:
        mark = self._marks.get(tile.name)
        # A decision is about one outcome; a newer one has to be looked at again.
        valid = mark if mark and mark.at == tile.row.at else None
        tile = replace(tile, mark=valid)
        self._tiles[tile.name] = tile
        self._variants.setdefault(tile.row.file, set()).add(tile.row.variant)
        return tile

    def _remove(self, name: Name) -> None:
        del self._tiles[name]
        self._variants[name[0]].discard(name[1])

    def _forget_waiting(self, file: str) -> None:
        whole = self._tiles.get((file, ""))
        if whole and whole.kind == "on-the-way":
            self._remove((file, ""))

    def _changed(self) -> None:
        self.version += 1
        self._views.clear()


def _seconds(at: str, now: float) -> float:
    return datetime.fromisoformat(at).timestamp() if at else now


def _by_name(tile: Tile) -> tuple[str, str]:
    return tile.row.file.casefold(), tile.row.variant


def _newest_first(tile: Tile) -> tuple[float, str, str]:
    return -tile.since, tile.row.file, tile.row.variant
