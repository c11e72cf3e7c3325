"""The records of images in DynamoDB, see `edit_record`: read, claimed, changed and released.

A record is one item of the state table that changes by compare-and-swap only: a write requires the
version that was read. So one of two writers wins. A request that boto3 repeats because its answer
was lost fails its own condition; reading the item then shows that it had succeeded.

Money moves in the same transaction as the record of it. All times are seconds since 1970.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from image_drop.errors import InProgressError, StorageBusyError
from image_drop.state.batch import read_items
from image_drop.state.edit_record import Attempt, Record
from image_drop.telemetry import never_failing

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RECORD_TTL = 400 * 86_400  # seconds: a year, and some more to compare years
RECHECK_AFTER = 30.0  # seconds until another delivery checks whether the holder is done
TRIES = 12  # at a conflicting transaction: all calls of a day write the day's item


class RecordChangedError(StorageBusyError):
    """Raised when a record has changed since it was read, so another invocation works on it."""


class RefusedMoveError(Exception):
    """Raised when the other item of a transaction did not meet its condition."""


class Stored(msgspec.Struct, frozen=True):
    """A record and the version of its item; version 0 is not stored yet."""

    id: str
    version: int
    record: Record


type Change = Callable[[Record], Record]
type Move = Callable[[Record], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Records:
    """The records, one item each, for `RECORD_TTL` after their last change.

    A record of an image with a report stays, because a later result has to remove the report.
    """

    dynamodb: "DynamoDBClient"
    table: str
    now: Callable[[], float]
    sleep: Callable[[float], None]
    rng: random.Random

    def read_record(self, id: str) -> Stored:
        """Return the record as it is now, an empty one if there is none."""
        item = self.dynamodb.get_item(
            TableName=self.table, Key={"id": {"S": id}}, ConsistentRead=True
        ).get("Item")
        return stored(id, item)

    def read_records(self, ids: Sequence[str]) -> dict[str, Record]:
        """Return up to 100 records by id; ids without a record are left out."""
        items = read_items(self.dynamodb, self.table, ids, pause=self._back_off)
        return {id: stored(id, item).record for id, item in items.items()}

    def read_with(self, id: str, *others: str) -> dict[str, Mapping[str, Any]]:
        """Return a record's item and other items of the table as they are now, in one request."""
        return read_items(
            self.dynamodb, self.table, (id, *others), pause=self._back_off, consistent=True
        )

    def claim(self, read: Stored, holder: str, until: float) -> "Hold":
        """Take an image, whose record was just read, until a time.

        Raise `InProgressError` when another invocation has it.
        """
        if read.record.is_held(self.now()):
            raise InProgressError(
                "Another invocation is working on this image.",
                retry_at=self.now() + RECHECK_AFTER,
            )
        try:
            held = self.write_record(read, read.record.held(holder, until))
        except RecordChangedError as error:
            raise InProgressError(
                "Another invocation has just started on this image.",
                retry_at=self.now() + RECHECK_AFTER,
            ) from error
        return Hold(self, holder, held, died=bool(read.record.holder))

    def write_record(
        self,
        old: Stored,
        new: Record,
        move: Mapping[str, Any] | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Stored:
        """Replace the record that was read.

        `move`: the update of another item in the same transaction, as a parameter of DynamoDB's
        `Update` without the table's name. `note`: another item for the transaction, as a
        parameter of `Put`. Raise `RecordChangedError`, or `RefusedMoveError` when the move's
        condition does not hold.
        """
        stored = Stored(old.id, old.version + 1, new)
        put = self._put(old, stored)
        for _ in range(TRIES):
            try:
                if move is None and note is None:
                    self.dynamodb.put_item(**put)
                else:
                    items: Any = [{"Put": put}]
                    items += [{"Update": {"TableName": self.table, **move}}] if move else []
                    items += [{"Put": note}] if note else []
                    self.dynamodb.transact_write_items(TransactItems=items)
            except ClientError as error:
                reasons = _reasons(error)
                if not reasons:
                    raise
                # A repeated request fails because of its own success.
                if self.read_record(old.id) == stored:
                    return stored
                if reasons[0] == "ConditionalCheckFailed":
                    raise RecordChangedError(
                        "Another invocation has changed the record."
                    ) from error
                if "ConditionalCheckFailed" in reasons:
                    raise RefusedMoveError from error
                self._back_off()
            else:
                return stored
        raise StorageBusyError("Too many calls update the day's spend at the same time.")

    def change_record(
        self,
        id: str,
        change: Change,
        move: Move | None = None,
        known: Stored | None = None,
        note: Mapping[str, Any] | None = None,
    ) -> Stored:
        """Change a record, again after each conflict with another writer.

        `change` returns the record itself if there is nothing to do; then `move` is not called.
        `known`: the record as it was last seen, which saves a read. `note`: see `write_record`.
        """
        for _ in range(TRIES):
            old = known or self.read_record(id)
            known = None
            new = change(old.record)
            if new == old.record:
                return old
            try:
                return self.write_record(old, new, move(old.record) if move else None, note)
            except RecordChangedError:
                self._back_off()
        raise StorageBusyError("Too many invocations update the record at the same time.")

    def _put(self, old: Stored, new: Stored) -> dict[str, Any]:
        condition: dict[str, Any] = (
            {
                "ConditionExpression": "version = :old",
                "ExpressionAttributeValues": {":old": {"N": str(old.version)}},
            }
            if old.version
            else {"ConditionExpression": "attribute_not_exists(version)"}
        )
        item = {
            "id": {"S": new.id},
            "version": {"N": str(new.version)},
            "record": {"S": msgspec.json.encode(new.record).decode()},
        }
        if not new.record.report:
            item["expiration"] = {"N": str(int(self.now()) + RECORD_TTL)}
        return {"TableName": self.table, "Item": item, **condition}

    def _back_off(self) -> None:
        self.sleep(self.rng.uniform(0.005, 0.1))


@dataclass
class Hold:
    """A claim on an image: no other invocation writes for it until its release, or its time.

    `died`: whether the previous holder never released it. `owed`: a change that could not be
    written when it was due, and is written with the release. `later`: changes that need no write of
    their own; the next one has them.
    """

    records: Records
    holder: str
    stored: Stored
    died: bool = False
    owed: tuple[Change, Move | None] | None = None
    later: tuple[Change, ...] = ()
    sure: bool = True  # whether the table holds `stored`; not known after a write that failed

    @property
    def record(self) -> Record:
        """The record as this holder knows it: what it has last seen or written, and `later`."""
        return self._with_later(self.stored.record)

    def update(
        self, change: Change, move: Move | None = None, note: Mapping[str, Any] | None = None
    ) -> None:
        """Change the record. Raise `InProgressError` when another invocation has taken it over."""

        def changed(record: Record) -> Record:
            if record.holder != self.holder:
                raise InProgressError("The time of this invocation is over; another one continues.")
            return change(self._with_later(record))

        known = self.stored if self.sure else None
        self.sure = False
        self.stored = self.records.change_record(self.stored.id, changed, move, known, note)
        self.later = ()
        self.sure = True

    def update_later(self, change: Change) -> None:
        """Change the record with the next write, at the latest with the release.

        Only for what the next holder can do again, or can take for granted when this one dies.
        """
        self.later = (*self.later, change)

    def update_or_owe(self, what: str, change: Change, move: Move | None = None) -> None:
        """Change the record; if AWS fails, change it with the release instead."""
        self.owed = change, move
        with never_failing(what):
            self.update(change, move)
            self.owed = None

    def release(self, attempt: Attempt | None = None) -> None:
        """Release the record, and write the owed change. `attempt`: it ended without an outcome."""
        change, move = self.owed or (lambda record: record, None)
        self.update(lambda record: change(record).released(attempt), move)

    def _with_later(self, record: Record) -> Record:
        return reduce(lambda changed, change: change(changed), self.later, record)


def stored(id: str, item: Mapping[str, Any] | None) -> Stored:
    """Return the record in an item of the table, an empty one if there is none."""
    if item is None:
        return Stored(id, 0, Record())
    record = msgspec.json.decode(item["record"]["S"], type=Record)
    return Stored(id, int(item["version"]["N"]), record)


def _reasons(error: ClientError) -> list[str]:
    """Return why DynamoDB refused each item of a write, [] for an error of another kind."""
    code = error.response["Error"]["Code"]
    if code == "ConditionalCheckFailedException":
        return ["ConditionalCheckFailed"]
    if code == "TransactionCanceledException":
        reasons: Any = error.response.get("CancellationReasons", ())
        return [reason.get("Code", "None") for reason in reasons]
    if code == "TransactionConflictException":
        return ["TransactionConflict"]
    return []
