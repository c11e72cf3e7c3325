"""The line: a circuit breaker that says whether calls are made at all.

A key that Venice does not accept, an empty balance or a spent budget is no image's fault. The
line stops, so that the backlog waits in the queue instead of failing one by one. `account` watches
it and, when the account works again, lets one edit alone try before all others follow.

A model that is refused while others are accepted is another matter: its refusals are *blamed* on
its images for an hour, and do not stop the line.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from image_drop.errors import ProcessingPausedError
from image_drop.state.atomic_item import AtomicItem

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEM = "circuit-breaker"
RECHECK_AFTER = 60.0  # seconds; by then the account watch has paused the queue
EVIDENCE = 600.0  # seconds within which a refusal and an accepted call tell of the same account
BLAMED_FOR = 3600.0  # seconds
REFUSALS = 2  # of a model, after which the trials of the next seconds pass over it
PASSED_OVER = 240.0  # seconds; the account watch looks every 300


@dataclass(frozen=True)
class Status:
    """The line at one moment. Times in seconds since 1970.

    `reason` is an error code. `id` names the stop, or the resumption, that led here. `limit_usd`:
    the day's limit, where that is why it stopped. `stopped_for`: seconds, of a resumption.
    `announced`: whether the event bus knows. `refused`: the last times of each refusal during the
    stop; `blamed`: until when which ones are the images' own.
    """

    stopped: bool = False
    reason: str = ""
    detail: str = ""
    since: float = 0.0
    id: str = ""
    limit_usd: float | None = None
    stopped_for: float = 0.0
    announced: bool = True
    refused: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    blamed: Mapping[str, float] = field(default_factory=dict)


def is_renewed(status: Status, limit_usd: float, now: float) -> bool:
    """Return whether a stop for the day's limit is over: a new day of UTC, or a higher limit.

    `limit_usd` is the limit of today, 0 for none. What the day has come to is not asked: it goes
    up and down with calls in flight, and the line would flap.
    """
    raised = not limit_usd or limit_usd > (status.limit_usd or 0.0)
    return raised or _day(now) > _day(status.since)


@dataclass(frozen=True)
class CircuitBreaker:
    """The line's state, one item that all functions read before they call.

    `new_id` names a change, so that one whose answer was lost is known when it is met again.
    """

    dynamodb: "DynamoDBClient"
    table: str
    new_id: Callable[[], str] = field(default=partial(secrets.token_hex, 6))

    def status(self) -> Status:
        """Return the line as it is now."""
        return self._item.read()[0]

    def require(self, now: float, *, trial: str | None = None) -> None:
        """Do nothing when calls may be made. Raises `ProcessingPausedError` when not.

        `trial`: the model of an edit that tries a stopped line. It may, unless the same model has
        just been refused twice: then an edit with another model tells more.
        """
        status = self.status()
        if not status.stopped:
            return
        if trial is None:
            raise ProcessingPausedError(
                f"The line is stopped: {status.detail}", retry_at=now + RECHECK_AFTER
            )
        if _refusals(status, trial, now - PASSED_OVER) >= REFUSALS:
            raise ProcessingPausedError(
                f"Venice has just refused {trial} twice.", retry_at=now + RECHECK_AFTER
            )

    def stop(
        self,
        reason: str,
        detail: str,
        now: float,
        *,
        model: str | None = None,
        status: int | None = None,
        limit_usd: float | None = None,
    ) -> bool:
        """Stop the line; whether that is news, and so has to be announced.

        `model` and `status` tell of a call that was refused; without them, the account itself was.
        `limit_usd`: the day's limit, where that is reached; it also takes the place of another
        reason, for then nothing is to be tried.
        """
        refusal = {_refusal(model, status): (now,)} if model else {}
        new = Status(
            True, reason, detail, now, self.new_id(), limit_usd, announced=False, refused=refusal
        )
        return self._item.change(partial(_stopped, new=new)).id == new.id

    def resume(self, now: float, *, stop: str | None = None, accepted: bool = False) -> bool:
        """Let calls be made again; whether the line was stopped until now.

        `stop`: the id of the stop that is over; any other one stays. `accepted`: a call has been
        accepted, so what was refused a short time ago is blamed on its images.
        """
        new = Status(since=now, id=self.new_id(), announced=False)
        return self._item.change(partial(_resumed, new=new, stop=stop, accepted=accepted)).id == (
            new.id
        )

    def note_announced(self, id: str) -> None:
        """Note that the event bus knows of the stop, or of the resumption, with this id."""
        self._item.change(lambda now: replace(now, announced=True) if now.id == id else now)

    def blames(self, model: str, status: int | None, now: float) -> bool:
        """Return whether such a refusal is the images' own, since other calls are accepted."""
        return self.status().blamed.get(_refusal(model, status), 0.0) > now

    @property
    def _item(self) -> AtomicItem[Status]:
        return AtomicItem(self.dynamodb, self.table, ITEM, Status())


def _stopped(old: Status, new: Status) -> Status:
    if old.id == new.id:
        return old
    if old.stopped and (new.limit_usd is None or old.limit_usd is not None):
        return replace(old, refused=_noted(old.refused, new))
    refused = _noted(old.refused, new) if old.stopped else new.refused
    return replace(new, refused=refused, blamed={} if _is_general(new) else old.blamed)


def _noted(old: Mapping[str, tuple[float, ...]], new: Status) -> Mapping[str, tuple[float, ...]]:
    """The refusals with a new one, of which many calls at once may tell."""
    if _is_general(new):
        return {}
    noted = dict(old)
    for refusal, (at,) in new.refused.items():
        recent = tuple(time for time in old.get(refusal, ()) if time > at - PASSED_OVER)
        if len(recent) < REFUSALS:
            noted[refusal] = (*recent, at)
    return noted


def _is_general(stop: Status) -> bool:
    """Whether the account itself is refused, which is no evidence against a model."""
    return not stop.refused and stop.limit_usd is None


def _resumed(old: Status, new: Status, stop: str | None, accepted: bool) -> Status:
    if not old.stopped or stop not in (None, old.id):
        return old
    blamed = {refusal: until for refusal, until in old.blamed.items() if until > new.since}
    if accepted:
        blamed |= {
            refusal: new.since + BLAMED_FOR
            for refusal, times in old.refused.items()
            if times[-1] > new.since - EVIDENCE
        }
    return replace(new, stopped_for=new.since - old.since, blamed=blamed)


def _refusals(status: Status, model: str, since: float) -> int:
    return sum(
        time > since
        for refusal, times in status.refused.items()
        if refusal.partition(" ")[2] == model
        for time in times
    )


def _refusal(model: str | None, status: int | None) -> str:
    return f"{status} {model}"


def _day(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).date().isoformat()
