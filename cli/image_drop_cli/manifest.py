"""What became of each image and what it cost, one row for each image or variant."""

import csv
import io
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

from image_drop.errors import ImageDropError, subclasses
from image_drop.state.billing import MICRO
from image_drop.state.edit_record import Call, OutcomeKind, Record
from image_drop_cli.image_records import READ_TOGETHER, read_records, scan_records
from image_drop_cli.saving import moved_into_place
from image_drop_cli.upload.events import Arrived, Event, NotSent
from image_drop_cli.wording import printable

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

NAME = "manifest.csv"  # of the file that `put` writes; no result has this key
UNFINISHED = "unfinished"
NOT_SENT = "not sent"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula begins so
SETTLES = 5  # looks at records whose result is in the bucket already
SETTLES_WITHIN = 0.5  # seconds between two looks
MAX_MEMORY = 1_000_000  # bytes of rows; more go into a temporary file


@dataclass(frozen=True)
class Row:
    """One image, or one variant of it.

    `file`: its key in the input bucket. `outcome`: `result`, `report`, `dead letter`, `unfinished`
    or, for a file that `put` could not send, `not sent`. `result`: key of the result or report in
    the output bucket. `model`: of the last call, and of its enlargement. `usd`: of all calls that
    were charged, also those of earlier results; `unconfirmed_usd`: of calls in progress or without
    an answer. `attempts`: calls, refused ones too; a record keeps the last 50. `seconds`: the
    try that made the result.
    `check`: `passed`, or what its preset's shop would refuse; empty without rules.
    `reused_from`: the result whose answer was served, if the picture was paid for before.
    `at`: when it ended, in UTC.
    """

    file: str
    variant: str = ""
    reference: str = ""
    outcome: str = UNFINISHED
    result: str = ""
    model: str = ""
    usd: float = 0.0
    unconfirmed_usd: float = 0.0
    attempts: int = 0
    seconds: float = 0.0
    check: str = ""
    reused_from: str = ""
    at: str = ""
    code: str = ""
    what_to_do: str = ""


@dataclass(frozen=True)
class Manifest:
    """All rows, in the order of the files, and what they sum up to, in US dollars."""

    rows: tuple[Row, ...]
    usd: float
    unconfirmed_usd: float


COLUMNS = tuple(field.name for field in fields(Row))
ADVICE = {error.code: error.advice for error in subclasses(ImageDropError)}


def manifest(deployment: "Deployment", prefix: str = "", since: float = 0.0) -> Manifest:
    """Return what became of the images whose key begins with `prefix`.

    `since`: only images that had a call or an outcome since then (seconds since 1970), and only
    the calls since then. Over all images, the sums are those of the ledger: each call is written
    into its image's record and into the day's spend in one transaction.
    """
    found = (
        row_of(each.key, each.variant, each.record, since)
        for each in scan_records(deployment, prefix)
    )
    rows = sorted((row for row in found if row), key=lambda row: (row.file, row.variant))
    return Manifest(
        tuple(rows),
        round(sum(row.usd for row in rows), 6),
        round(sum(row.unconfirmed_usd for row in rows), 6),
    )


def row_of(key: str, variant: str | None, record: Record, since: float = 0.0) -> Row | None:
    """Return the row of an image; None if it has none, see `manifest`.

    An image whose variants have records of their own has none, unless it was paid for itself.
    """
    outcome, calls = record.outcome, [each for each in record.calls if each.at >= since]
    paid, unconfirmed = record.paid_micro_usd(since), record.unconfirmed_micro_usd(since)
    if outcome and outcome.kind is OutcomeKind.VARIANTS:
        if not paid and not unconfirmed:
            return None
        outcome = None
    if since and not calls and not (outcome and outcome.at >= since):
        return None
    row = Row(
        file=key,
        variant=variant or "",
        model=_models(calls),
        usd=paid / MICRO,
        unconfirmed_usd=unconfirmed / MICRO,
        attempts=len(calls),
    )
    if outcome is None:
        code = record.attempt.code if record.attempt else ""  # why it is queued
        return replace(row, code=code, what_to_do=ADVICE.get(code, "") if code else "")
    return replace(
        row,
        reference=outcome.reference,
        outcome=outcome.kind.value,
        result=outcome.key,
        seconds=outcome.seconds,
        check=outcome.check,
        reused_from=outcome.reused_from,
        at=datetime.fromtimestamp(outcome.at, UTC).isoformat(timespec="seconds"),
        code=outcome.code,
        what_to_do=ADVICE.get(outcome.code, "") if outcome.code else "",
    )


def _models(calls: Sequence[Call]) -> str:
    """Return the model of the last call; with that of the first one, if it was the second."""
    edit = calls[-1].digest.partition("-")[0] if calls else ""
    models = [call.model for call in calls if call.digest.partition("-")[0] == edit]
    return " + ".join(dict.fromkeys(models))


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a CSV file (RFC 4180), the heading first.

    Keys and references are written by strangers: a spreadsheet takes no cell for a formula, and a
    terminal obeys none. Such cells begin with an apostrophe, or contain escapes.
    """
    yield _line(COLUMNS)
    for row in rows:
        yield _line(_cell(getattr(row, column)) for column in COLUMNS)


def noted(
    events: Iterable[Event | None], deployment: "Deployment", out: Path
) -> Iterator[Event | None]:
    """Pass the events of an upload on, and write the manifest of its run into `out` at the end.

    A run that ends early, such as with Ctrl-C, gets a manifest of what has arrived by then.
    """
    run = RunManifest(deployment, out / NAME)
    try:
        for event in events:
            if event:
                run.add(event)
            yield event
    finally:
        run.close()


class RunManifest:
    """The manifest of one run of `put`. Memory does not grow with the number of files."""

    def __init__(self, deployment: "Deployment", path: Path) -> None:
        self._deployment = deployment
        self._path = path
        self._arrived: list[Arrived] = []
        self._rows = SpooledTemporaryFile(MAX_MEMORY, "w+", encoding="utf-8", newline="")  # noqa: SIM115  # closed by `close`
        self._count = 0

    def add(self, event: Event) -> None:
        """Note what arrived, or was not sent."""
        if isinstance(event, NotSent):
            row = Row(event.key, outcome=NOT_SENT, what_to_do=event.reason)
            self._write([row])
        elif isinstance(event, Arrived):
            self._arrived.append(event)
            if len(self._arrived) == READ_TOGETHER:
                self._flush()

    def close(self) -> None:
        """Move the file into place; a run in which nothing happened leaves none."""
        try:
            self._flush()
        finally:
            if self._count:
                self._rows.seek(0)
                with (
                    moved_into_place(self._path) as part,
                    part.open("w", encoding="utf-8-sig", newline="") as file,  # Excel needs a mark
                ):
                    file.writelines(as_csv(()))
                    shutil.copyfileobj(self._rows, file)
            self._rows.close()

    def _flush(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._write(_row_of_arrived(each, record) for each, record in self._settled(arrived))

    def _write(self, rows: Iterable[Row]) -> None:
        for line in islice(as_csv(rows), 1, None):
            self._rows.write(line)
            self._count += 1

    def _settled(self, arrived: Sequence[Arrived]) -> Iterator[tuple[Arrived, Record | None]]:
        """Return the record of each result; the function writes it right after the result."""
        images = [(each.key, each.variant) for each in arrived]
        for again in range(SETTLES, -1, -1):
            records = read_records(self._deployment, images) if images else {}
            late = [
                each
                for each in arrived
                if not each.already and not _tells(records.get((each.key, each.variant)), each)
            ]
            if not late or not again:
                break
            time.sleep(SETTLES_WITHIN)
        return ((each, records.get((each.key, each.variant))) for each in arrived)


def _tells(record: Record | None, arrived: Arrived) -> bool:
    return bool(record and record.outcome and record.outcome.key == arrived.output_key)


def _row_of_arrived(arrived: Arrived, record: Record | None) -> Row:
    row = row_of(arrived.key, arrived.variant, record) if record else None
    if row and row.result == arrived.output_key:
        return row
    report = arrived.report  # the record has expired, or tells of something newer
    return Row(
        file=arrived.key,
        variant=arrived.variant or "",
        reference=(report and report.reference) or "",
        outcome=(OutcomeKind.REPORT if report else OutcomeKind.RESULT).value,
        result=arrived.output_key,
        usd=row.usd if row else 0.0,
        unconfirmed_usd=row.unconfirmed_usd if row else 0.0,
        code=report.code if report else "",
        what_to_do=report.what_to_do if report else "",
    )


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _cell(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    text = printable(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text
