"""One record for each image and variant: who works on it, its paid calls, and how it ended.

The record is the truth about an edit; buckets, queue and events follow from it. This module is
pure; `records` keeps the items in DynamoDB. All times are seconds since 1970.
"""

from collections.abc import Collection, Iterable
from enum import StrEnum

import msgspec

MAX_CLOSED = 50  # settled calls that a record keeps; the days' sums include all of them
MAX_HISTORY = 20  # steps
MAX_DROPS = 20  # that an outcome keeps
MAX_SAVED = 20  # ETags
MAX_UNSENT = 50  # events; DynamoDB's items have 400 KB, and the event bus was away for days


class CallState(StrEnum):
    """What is known about a call's charge."""

    OPEN = "open"  # sent or about to be sent, and not known to be charged or free
    PAID = "paid"
    FREE = "free"


class Call(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A call that was begun. `micro_usd`: millionths of a dollar, reserved first, then charged.

    `digest`: of the request, see `Edit.call_digest`. `drop`: see `Outcome.drops`. `date`: the day
    of UTC that it counts for. `output_key`: where its result goes; empty once its outcome is noted.
    """

    id: str
    digest: str
    drop: str
    at: float
    date: str
    model: str
    micro_usd: int
    output_key: str = ""
    state: CallState = CallState.OPEN


class OutcomeKind(StrEnum):
    """Where an edit's outcome is found."""

    RESULT = "result"
    REPORT = "report"
    VARIANTS = "variants"  # each has a record of its own
    DEAD_LETTER = "dead letter"  # with a report; a redrive retries it


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How an edit ended. `key` and `etag`: of its object in the output bucket.

    `edit_id`: see `Edit.id`; empty if the instructions were not good enough for an edit.
    `drops`: ids of what asked for it: versions of the image, explicit retries, dead messages.
    `source_etag`: of the image. `code`: of a report. `reference`: the caller's own id. `seconds`:
    from the start of the try to its result. `check`: of the result against its preset's rules.
    `reused_from`: the key whose answer was served, if the picture had been paid for before.
    """

    kind: OutcomeKind
    edit_id: str
    drops: tuple[str, ...]
    source_etag: str
    key: str
    etag: str
    at: float
    code: str = ""
    reference: str = ""
    seconds: float = 0.0
    check: str = ""
    reused_from: str = ""


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Venice's refusal of a call that has no report yet, so that the call is not repeated.

    `digest`, `drop`: as in `Call`; the rest as in `RefusedError`.
    """

    digest: str
    drop: str
    code: str
    detail: str
    status: int | None = None
    request_id: str | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The last attempt, if it ended without an outcome: then the image is queued.

    `code`: of its error. `retry_at`: when the error allows the next attempt, 0 if it names no time.
    `message_id`: of the queue's message, empty if the upload function made the attempt. `failures`:
    of the image before that message; the message's own are counted in its item, see `failures`.
    """

    at: float
    code: str
    retry_at: float = 0.0
    message_id: str = ""
    failures: int = 0


class Step(msgspec.Struct, frozen=True, array_like=True):
    """A step in the life of an image: a kind of outcome, or the code of an error.

    `times`: how often it happened in a row; `at`: the first time.
    """

    at: float
    what: str
    times: int = 1


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything known about one image, or about one variant of it.

    `holder`: a random id while an invocation works on it, until `held_until` at the latest.
    `kept_digest`, `kept_key`: the call and the key of the paid answer kept in the output bucket;
    `larger_digest`, `larger_key`: the same of the edit's second call, see `Edit.enlarges`.
    `outbox`: events about outcomes, as JSON, until they are announced; oldest first.
    `report`: whether there may be a report in the output bucket. `attempt`: None after an outcome.
    `forgotten_micro_usd`: what the paid calls cost that `calls` no longer holds. `saved`: the ETags
    of the last reused results that are counted in a day's sums.
    """

    holder: str = ""
    held_until: float = 0.0
    calls: tuple[Call, ...] = ()
    outcome: Outcome | None = None
    refusal: Refusal | None = None
    kept_digest: str = ""
    kept_key: str = ""
    outbox: tuple[str, ...] = ()
    history: tuple[Step, ...] = ()
    report: bool = False
    attempt: Attempt | None = None
    forgotten_micro_usd: int = 0
    larger_digest: str = ""
    larger_key: str = ""
    saved: tuple[str, ...] = ()

    def is_held(self, now: float) -> bool:
        """Return whether an invocation works on it; a holder that died loses it at its time."""
        return bool(self.holder) and now < self.held_until

    def held(self, holder: str, until: float) -> "Record":
        """Return the record with this holder. One that died may have written a report."""
        report = self.report or bool(self.holder)
        return msgspec.structs.replace(self, holder=holder, held_until=until, report=report)

    def with_report(self, there: bool) -> "Record":
        """Return the record with or without a report in the output bucket."""
        return msgspec.structs.replace(self, report=there)

    def released(self, attempt: Attempt | None = None) -> "Record":
        """Return the record without a holder. `attempt`: the one that has just ended in vain."""
        record = msgspec.structs.replace(self, holder="", held_until=0.0, attempt=attempt)
        return record.after(Step(attempt.at, attempt.code)) if attempt else record

    def kept_answer(self, digest: str) -> str:
        """Return the key of the kept answer to a call; empty if there is none."""
        if digest == self.larger_digest:
            return self.larger_key
        return self.kept_key if digest == self.kept_digest else ""

    def with_answer(self, digest: str, key: str, *, larger: bool) -> "Record":
        """Return the record with a kept answer. `larger`: to the second call of an edit."""
        if larger:
            return msgspec.structs.replace(self, larger_digest=digest, larger_key=key)
        return msgspec.structs.replace(self, kept_digest=digest, kept_key=key)

    def without_answer(self, digest: str) -> "Record":
        """Return the record without the kept answer to a call."""
        if digest == self.larger_digest:
            return msgspec.structs.replace(self, larger_digest="", larger_key="")
        return msgspec.structs.replace(self, kept_digest="", kept_key="")

    def call(self, id: str) -> Call | None:
        """Return the call with this id, or None."""
        return next((each for each in self.calls if each.id == id), None)

    def calls_for(self, digest: str, drop: str) -> tuple[Call, ...]:
        """Return the calls that were begun for the same request and drop."""
        return tuple(each for each in self.calls if (each.digest, each.drop) == (digest, drop))

    def unanswered(self, digest: str, drop: str) -> int:
        """Return how many of those may have been charged without a result."""
        return sum(each.state is CallState.OPEN for each in self.calls_for(digest, drop))

    def begun(self, call: Call) -> "Record":
        """Return the record with one more call, and without the oldest settled ones."""
        if self.call(call.id):
            return self
        closed = [each for each in self.calls if each.state is not CallState.OPEN]
        forgotten = closed[: max(0, len(closed) - MAX_CLOSED)]
        kept = tuple(each for each in self.calls if each not in forgotten)
        return msgspec.structs.replace(
            self,
            calls=(*kept, call),
            forgotten_micro_usd=self.forgotten_micro_usd + _paid(forgotten),
        )

    def paid_micro_usd(self, since: float = 0.0) -> int:
        """Return what its paid calls have cost since a time, or ever; millionths of a dollar."""
        recent = _paid(each for each in self.calls if each.at >= since)
        return recent + (0 if since else self.forgotten_micro_usd)

    def unconfirmed_micro_usd(self, since: float = 0.0) -> int:
        """Return the price of calls that may have been charged; millionths of a dollar."""
        return sum(
            each.micro_usd
            for each in self.calls
            if each.state is CallState.OPEN and each.at >= since
        )

    def settled(self, id: str, state: CallState, micro_usd: int) -> "Record":
        """Return the record with a settled call."""
        return msgspec.structs.replace(
            self,
            calls=tuple(
                msgspec.structs.replace(each, state=state, micro_usd=micro_usd)
                if each.id == id
                else each
                for each in self.calls
            ),
        )

    def without_call(self, id: str) -> "Record":
        """Return the record without a call that was begun and not made."""
        calls = tuple(each for each in self.calls if each.id != id)
        return msgspec.structs.replace(self, calls=calls)

    def concluded(self, ids: Collection[str]) -> "Record":
        """Return the record with calls whose result has its outcome."""
        calls = tuple(
            msgspec.structs.replace(each, output_key="") if each.id in ids else each
            for each in self.calls
        )
        return msgspec.structs.replace(self, calls=calls)

    def without_result(self, digest: str) -> tuple[str, ...]:
        """Return the ids of a request's paid calls whose answer has not become a result yet."""
        return tuple(
            each.id
            for each in self.calls
            if each.digest == digest and each.state is CallState.PAID and each.output_key
        )

    def counted(self, etag: str) -> "Record":
        """Return the record with a reused result whose saving is counted."""
        return msgspec.structs.replace(self, saved=(*self.saved, etag)[-MAX_SAVED:])

    def after(self, step: Step) -> "Record":
        """Return the record with one more step in its history, or with its last step once more."""
        *earlier, last = self.history or (step,)
        if last is not step and last.what == step.what:
            again = msgspec.structs.replace(last, times=last.times + 1)
            return msgspec.structs.replace(self, history=(*earlier, again))
        return msgspec.structs.replace(self, history=(*self.history, step)[-MAX_HISTORY:])


def record_id(bucket: str, key: str, variant: str | None) -> str:
    """Return the id of a record's item; unambiguous, since a variant's name has no `#`."""
    return f"edit#{variant or ''}#{bucket}/{key}"


def place_of(id: str) -> tuple[str, str | None] | None:
    """Return `bucket/key` and the variant of a record by the id of its item; None for others."""
    kind, _, rest = id.partition("#")
    variant, _, place = rest.partition("#")
    return (place, variant or None) if kind == "edit" else None


def _paid(calls: Iterable[Call]) -> int:
    return sum(each.micro_usd for each in calls if each.state is CallState.PAID)
