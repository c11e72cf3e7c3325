"""Where an image is now, and its life so far: pure decisions on facts that others gather."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from image_drop import retry
from image_drop.edits import Edit
from image_drop.errors import (
    CancelledError,
    ImageDropError,
    ModelRefusedError,
    PermanentError,
    RetryableError,
    subclasses,
)
from image_drop.state.circuit_breaker import Status
from image_drop.state.edit_record import Attempt, CallState, OutcomeKind, Record
from image_drop.state.orders import Cancellation
from image_drop.storage.output_bucket import Report, from_metadata
from image_drop.storage.output_bucket import Stored as StoredOutput
from image_drop_cli.wording import counted, how_it_resumes, moment

ERRORS = {each.code: each for each in subclasses(ImageDropError)}
WAITS = {each.code for each in retry.WAITS}
NO_SLOT = "no_slot"
MICRO = 1_000_000  # in a dollar


class Kind(StrEnum):
    """Where an image, or one variant of it, is now."""

    RESULT = "result"
    RESULT_GONE = "result gone"  # somebody moved or deleted it
    REPORT = "report"
    CANNOT_BE_EDITED = "cannot be edited"  # and there is no report that says so yet
    DEAD_LETTER = "dead letter"
    BEING_EDITED = "being edited"
    QUEUED = "queued"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    NEVER_SEEN = "never seen"
    NO_IMAGE = "no such image"


@dataclass(frozen=True)
class State:
    """Where an image is now, in words.

    `since`: seconds since 1970, if that is known. `what_to_do`: empty if there is nothing to do.
    """

    kind: Kind
    text: str
    what_to_do: str = ""
    since: float | None = None

    @property
    def needs_you(self) -> bool:
        """Whether a person has to do something before there is a result."""
        return self.kind in (
            Kind.REPORT,
            Kind.CANNOT_BE_EDITED,
            Kind.DEAD_LETTER,
            Kind.NO_IMAGE,
            Kind.RESULT_GONE,
        )


@dataclass(frozen=True)
class FoundReport:
    """A report in the output bucket, and the edit that it is about, if it is about one."""

    report: Report
    edit_id: str | None
    at: float


@dataclass(frozen=True)
class Facts:
    """What is known about one image or variant, at `now` in seconds since 1970.

    `edit`: what the present instructions ask for; None if they are not good enough. `error`: what
    prevents it before any call. `result`: what is at the key of its result. `dead`: whether its
    dead letter is in the queue; None if nobody looked. `failures`: since the last outcome, out of
    `max_failures`. `queued`: messages in the retry queue. `limit`: calls a minute of its model.
    `cancelled`: the order by which what was queued is dropped.
    """

    now: float
    in_bucket: bool
    edit: Edit | None
    error: PermanentError | RetryableError | None
    record: Record
    result: StoredOutput | None
    report: FoundReport | None
    dead: bool | None
    failures: int
    max_failures: int
    breaker: Status
    queued: int
    limit: int
    cancelled: Cancellation | None


@dataclass(frozen=True)
class Moment:
    """A step in the life of an image. `at`: seconds since 1970."""

    at: float
    variant: str | None
    what: str


def state_of(facts: Facts) -> State:
    """Return where an image is now: the first that is true."""
    return next(filter(None, _answers(facts)))


def life_of(records: Mapping[str | None, Record]) -> tuple[Moment, ...]:
    """Return every step that the records of an image and its variants know, oldest first."""
    found = (
        Moment(at, variant, what)
        for variant, record in records.items()
        for at, what in (*_calls(record), *_history(record))
    )
    return tuple(sorted(found, key=lambda each: each.at))


def _answers(facts: Facts) -> Iterator[State | None]:
    """Yield what may be true, nearest first; the last is always true."""
    yield _no_image(facts)
    yield _being_edited(facts)
    yield _result(facts)
    yield _cannot_be_edited(facts)
    yield _dead_letter(facts)
    yield _report(facts)
    yield _result_gone(facts)
    yield _cancelled(facts)
    yield _queued(facts)
    yield _superseded(facts)
    yield _never_seen(facts)


def _no_image(facts: Facts) -> State | None:
    if facts.in_bucket:
        return None
    last = facts.record.outcome
    if last and last.kind is OutcomeKind.RESULT:
        text = f"The image is no longer in the bucket. Its result was stored at {moment(last.at)}."
        return State(Kind.NO_IMAGE, text, "", last.at)
    return State(
        Kind.NO_IMAGE,
        "There is no such image in the bucket.",
        "Check the key, or upload the image with `image-drop put`.",
    )


def _being_edited(facts: Facts) -> State | None:
    record = facts.record
    if not record.is_held(facts.now):
        return None
    sent = [call.at for call in record.calls if call.state is CallState.OPEN]
    text = f"It is being edited now, until {moment(record.held_until)} at the latest."
    if sent:
        text += f" The last call was sent at {moment(sent[-1])}, and its outcome is not known yet."
    return State(Kind.BEING_EDITED, text, since=sent[-1] if sent else None)


def _result(facts: Facts) -> State | None:
    edit, result = facts.edit, facts.result
    if edit is None or result is None or result.edit_id != edit.id:
        return None
    metadata = from_metadata(result.metadata)
    cost, model = float(metadata.get("cost-usd", "0")), metadata.get("model")
    cost_text = f"It cost ${cost:.2f}" + (f" ({model})" if model else "")
    if enlarged := metadata.get("enlarged"):
        cost_text += (
            f", enlarged {enlarged}" if enlarged[0] != "n" else f", not enlarged{enlarged[2:]}"
        )
    return State(
        Kind.RESULT,
        f"The result {result.key} was stored at {moment(result.stored_at.timestamp())}. "
        f"{cost_text}. It fits the present instructions, so no call would be made.",
        since=result.stored_at.timestamp(),
    )


def _cannot_be_edited(facts: Facts) -> State | None:
    error, found = facts.error, facts.report
    if not isinstance(error, PermanentError):
        return None
    if found and found.report.code == error.code:
        return _told(found)
    return State(Kind.CANNOT_BE_EDITED, f"{error.title}. {error.detail}", error.advice)


def _dead_letter(facts: Facts) -> State | None:
    last, found = facts.record.outcome, facts.report
    if last is None or last.kind is not OutcomeKind.DEAD_LETTER or not _is_last(facts):
        return None
    detail = found.report.detail if found else "Its report is no longer there."
    if facts.dead is False:
        return State(
            Kind.QUEUED if facts.queued else Kind.SUPERSEDED,
            f"It became a dead letter at {moment(last.at)}, and was retried or deleted since. "
            f"{detail}",
            "" if facts.queued else "Retry it with `image-drop retry KEY`.",
            last.at,
        )
    return State(
        Kind.DEAD_LETTER,
        f"It has been a dead letter since {moment(last.at)}. {detail}",
        "When the cause is gone, retry it with `image-drop dead redrive KEY`.",
        last.at,
    )


def _report(facts: Facts) -> State | None:
    found = facts.report
    if found is None or facts.edit is None or not _is_last(facts):
        return None
    return _told(found) if found.edit_id == facts.edit.id else None


def _told(found: FoundReport) -> State:
    report = found.report
    return State(
        Kind.REPORT,
        f"It has had a report since {moment(found.at)} ({report.code}): {report.title}. "
        f"{report.detail}",
        report.what_to_do,
        found.at,
    )


def _result_gone(facts: Facts) -> State | None:
    last, edit = facts.record.outcome, facts.edit
    if last is None or edit is None or not _is_last(facts):
        return None
    if last.kind is not OutcomeKind.RESULT or last.edit_id != edit.id:
        return None
    return State(
        Kind.RESULT_GONE,
        f"Its result was stored at {moment(last.at)} and is no longer there.",
        "Make it again with `image-drop retry KEY`.",
        last.at,
    )


def _cancelled(facts: Facts) -> State | None:
    order = facts.cancelled
    if order is None:
        return None
    return State(
        Kind.CANCELLED,
        f"What was queued below {order.prefix or 'the whole bucket'} was cancelled at "
        f"{moment(order.at)}. When its turn comes, it gets a report and no call.",
        CancelledError.advice,
        order.at,
    )


def _queued(facts: Facts) -> State | None:
    attempt = facts.record.attempt
    if attempt is None and facts.error:
        return State(Kind.QUEUED, f"{facts.error.title}. {facts.error.detail}", facts.error.advice)
    if attempt is None:
        return None
    if facts.breaker.stopped:
        return _paused(facts, "It is queued, and")
    error = ERRORS.get(attempt.code, ImageDropError)
    advice = "" if issubclass(error, RetryableError) and error.advice == _NOTHING else error.advice
    text = f"It is queued. {error.title} ({attempt.code}). {_next_try(facts, attempt)}"
    return State(Kind.QUEUED, text, advice, attempt.at)


def _paused(facts: Facts, beginning: str) -> State:
    breaker = facts.breaker
    return State(
        Kind.PAUSED,
        f"{beginning} processing has been paused since {moment(breaker.since)} ({breaker.reason}): "
        f"{breaker.detail}",
        how_it_resumes(breaker),
        breaker.since,
    )


def _next_try(facts: Facts, attempt: Attempt) -> str:
    """Return when the next attempt is due, as far as that is known."""
    if attempt.code == NO_SLOT:
        ahead = f"{counted(facts.queued, 'image')} in the queue at {facts.limit:,} calls a minute"
        return f"It gets its turn among {ahead}."
    named = max(attempt.retry_at, attempt.at)
    if attempt.code in WAITS:
        return f"The next attempt follows at {moment(named)}."
    most = facts.max_failures
    if attempt.code == ModelRefusedError.code:
        most = min(most, retry.REFUSED_TRIES)
    latest = max(named, attempt.at + retry.longest_back_off(facts.failures))
    return f"This was failure {facts.failures} of {most}. The next attempt is by {moment(latest)}."


def _superseded(facts: Facts) -> State | None:
    last = facts.result.stored_at.timestamp() if facts.result else None
    what = "result"
    if last is None and facts.report:
        last, what = facts.report.at, "report"
    if last is None:
        return None
    text = (
        f"The {what} of {moment(last)} is about an earlier image or earlier instructions. "
        "The edit above is new, and has not been started."
    )
    if facts.breaker.stopped:
        return _paused(facts, f"{text} Meanwhile")
    return State(Kind.SUPERSEDED, text, _EVENT, last)


def _never_seen(facts: Facts) -> State:
    if facts.breaker.stopped:
        return _paused(facts, "It has not been started, and")
    return State(Kind.NEVER_SEEN, "Image Drop has not worked on it yet.", _EVENT)


def _is_last(facts: Facts) -> bool:
    """Return whether no attempt followed the last outcome, or only one to announce it."""
    attempt, last = facts.record.attempt, facts.record.outcome
    return attempt is None or attempt.code == "not_announced" or last is None


def _calls(record: Record) -> Iterable[tuple[float, str]]:
    for call in record.calls:
        usd = f"${call.micro_usd / MICRO:.2f}"
        match call.state:
            case CallState.PAID:
                how = f"paid {usd}"
            case CallState.FREE:
                how = "not charged"
            case CallState.OPEN:
                how = f"{usd} reserved, charge not known"
        yield call.at, f"call of {call.model}: {how}"


def _history(record: Record) -> Iterable[tuple[float, str]]:
    for step in record.history:
        error = ERRORS.get(step.what)
        text = f"{error.title} ({step.what})" if error else step.what
        yield step.at, text + (f", {step.times:,} times" if step.times > 1 else "")


_NOTHING = RetryableError.advice
_EVENT = (
    "Its event may be on its way, for S3 can take a minute, or it is in the queue. If nothing "
    "happens, run `image-drop retry KEY`."
)
