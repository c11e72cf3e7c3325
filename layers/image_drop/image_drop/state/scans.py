"""The backfill's scan in the state table: one item, so that a scan can stop at any point."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEM, FOLDERS_ITEM = "backfill", "backfill-folders"
MAX_FOLDERS = 200  # that wait; DynamoDB's items have 400 KB, and a key has 1 KB
DAY = 86_400.0  # seconds
# The time of an object is when its upload began, and the buckets end an upload after 7 days.
LONGEST_UPLOAD = 7 * DAY


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """One walk through a prefix. Times in seconds since 1970; `seen` and `queued` count images.

    `cursor`: everything up to this key has been seen. `automatic`: the schedule started it, and it
    takes only images that changed after `since`. `whole_at`: when a scan of the whole bucket last
    began or ended. `whole_started`: when the last completed one began. `baseline`: images from
    before are for no scheduled scan. `again`: a folder file changed, so images without instructions
    are taken. `folders`: those whose files have changed and that are next.
    """

    prefix: str
    started: float
    since: float = 0.0
    whole_started: float = 0.0
    cursor: str = ""
    finished: float | None = None
    cancelled: bool = False
    automatic: bool = False
    seen: int = 0
    queued: int = 0
    whole_at: float = 0.0
    baseline: float = 0.0
    again: bool = False
    folders: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether there is something left to do."""
        return self.finished is None and not self.cancelled

    def with_folder(self, folder: str) -> "Scan":
        """Return the scan with one more folder that is next, and none of those within it."""
        if any(folder.startswith(each) for each in self.folders):
            return self
        others = (each for each in self.folders if not each.startswith(folder))
        return msgspec.structs.replace(self, folders=(*others, folder))


class AlreadyRunningError(Exception):
    """Raised when a scan should start while another one runs."""


class TooManyFoldersError(Exception):
    """Raised when so many folders are waiting that no more fit."""


@dataclass(frozen=True)
class ScanStore:
    """The running scan, or the last one, in the state table.

    A write succeeds only if nobody has written since the last read. So when two invocations meet,
    one continues and one stops, and a cancelled scan stays cancelled.
    """

    dynamodb: "DynamoDBClient"
    table: str
    item: str = ITEM

    def current(self) -> Scan | None:
        """Return the running scan, or else the last one."""
        item = self.dynamodb.get_item(
            TableName=self.table, Key={"id": {"S": self.item}}, ConsistentRead=True
        ).get("Item")
        return msgspec.json.decode(item["scan"]["S"], type=Scan) if item else None

    def start(self, prefix: str, now: float, *, automatic: bool = False) -> Scan:
        """Start a scan, which the functions continue. Raise `AlreadyRunningError`."""
        last = self.current()
        if last and last.running:
            raise AlreadyRunningError(
                f"A backfill of {last.prefix or 'the whole bucket'} is already running and has "
                f"seen {last.seen:,} images. Wait until it ends, or cancel it."
            )
        whole_at = now if not prefix else last.whole_at if last else 0.0
        whole_started = last.whole_started if last else 0.0
        baseline = last.baseline if last else 0.0
        new = Scan(
            prefix=prefix,
            started=now,
            since=max(baseline, whole_started - LONGEST_UPLOAD) if automatic else 0.0,
            whole_started=whole_started,
            automatic=automatic,
            whole_at=whole_at,
            baseline=baseline,
        )
        if not self.advance(last, new):
            raise AlreadyRunningError("Another backfill was started at the same moment.")
        return new

    def start_from(self, now: float) -> Scan | None:
        """Note that scheduled scans take no image from before, if there was no scan yet."""
        nothing = Scan(
            prefix="",
            started=now,
            finished=now,
            automatic=True,
            whole_at=now,
            whole_started=now,
            baseline=now,
        )
        self.advance(None, nothing)
        return self.current()

    def look_again(self, folder: str, now: float) -> None:
        """Note that the instructions of a folder have changed. Raise `TooManyFoldersError`."""
        while True:
            last = self.current()
            new = (last or Scan(prefix="", started=now, finished=now, again=True)).with_folder(
                folder
            )
            if len(new.folders) > MAX_FOLDERS:
                raise TooManyFoldersError(folder)
            if new == last or self.advance(last, new):
                return

    def next_folder(self, now: float) -> Scan | None:
        """Return the scan of the folder that is looked at now or next; None if none is left."""
        last = self.current()
        if last is None or last.running:
            return last
        if not last.folders:
            return None
        folder, *rest = last.folders
        new = Scan(prefix=folder, started=now, again=True, folders=tuple(rest))
        return new if self.advance(last, new) else None  # another invocation goes on with it

    def cancel(self) -> Scan | None:
        """Cancel the running scan, if there is one; the images it has queued are still edited."""
        while (last := self.current()) and last.running:
            cancelled = msgspec.structs.replace(last, cancelled=True)
            if self.advance(last, cancelled):
                return cancelled
        return last

    def advance(self, old: Scan | None, new: Scan) -> bool:
        """Replace the scan that was read; return False if it has changed since."""
        condition: dict[str, Any] = (
            {
                "ConditionExpression": "#scan = :old",
                "ExpressionAttributeValues": {":old": {"S": _json(old)}},
            }
            if old
            else {"ConditionExpression": "attribute_not_exists(#scan)"}
        )
        try:
            self.dynamodb.put_item(
                TableName=self.table,
                Item={"id": {"S": self.item}, "scan": {"S": _json(new)}},
                ExpressionAttributeNames={"#scan": "scan"},
                **condition,
            )
        except self.dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True


def _json(one: Scan) -> str:
    return msgspec.json.encode(one).decode()
