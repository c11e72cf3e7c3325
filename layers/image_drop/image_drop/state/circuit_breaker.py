"""The circuit breaker: whether calls are made at all, or processing is paused.

A key that Venice does not accept, an empty balance or a spent budget is not the fault of any
image. Processing pauses, so that the backlog waits in the queue instead of failing one by one.
`account` watches the pause. When the account works again, it tries one edit before the others.

A model that Venice refuses while it accepts others is different. For an hour such refusals are
*tolerated*: they count as failures of their images and do not pause processing.
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
BY_HAND = "paused_by_hand"  # the reason of a pause that only a person ends
RECHECK_AFTER = 60.0  # seconds; by then the account watch has paused the queue
EVIDENCE = 600.0  # seconds; a refusal and an accepted call this close are of the same account
TOLERATED_FOR = 3600.0  # seconds
REFUSALS = 2  # of a model, after which trials skip it
SKIPPED_FOR = 240.0  # seconds; the account watch runs every 300


@dataclass(frozen=True)
class Status:
    """The state of the circuit breaker. Times in seconds since 1970.

    `stopped`: whether processing is paused. `reason`: an error code. `id`: of the pause or the
    resumption that led here. `limit_usd`: the daily spend limit, if that is the reason.
    `stopped_for`: after a resumption, the seconds of the pause. `announced`: whether the event
    bus has it. `refused`: the last times of each refusal during the pause. `tolerated`: until
    when each refusal does not pause processing. A refusal is a status and a model, as text.
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
    tolerated: Mapping[str, float] = field(default_factory=dict)

    @property
    def by_hand(self) -> bool:
        """Whether a person has paused processing, and a person has to resume it."""
        return self.stopped and self.reason == BY_HAND


def is_renewed(status: Status, limit_usd: float, now: float) -> bool:
    """Return whether a pause for the daily limit is over: a new day of UTC, or a higher limit.

    `limit_usd`: the current limit, 0 for none. The day's spend does not count, because it goes up
    and down with calls in flight, and the pause would start and end all the time.
    """
    raised = not limit_usd or limit_usd > (status.limit_usd or 0.0)
    return raised or _day(now) > _day(status.since)


@dataclass(frozen=True)
class CircuitBreaker:
    """The state, one item that all functions read before each call.

    `new_id` makes an id for each change, so that a change whose answer was lost is recognized.
    """

    dynamodb: "DynamoDBClient"
    table: str
    new_id: Callable[[], str] = field(default=partial(secrets.token_hex, 6))

    def status(self) -> Status:
        """Return the state as it is now."""
        return self.item.read()[0]

    def require(
        self, now: float, *, trial: str | None = None, status: Status | None = None
    ) -> None:
        """Raise `ProcessingPausedError` while processing is paused.

        `status`: the state if it was just read. `trial`: the model of an edit that tests whether
        processing can resume. It is let through unless Venice has just refused the same model
        twice; then another model is a better test.
        """
        status = status or self.status()
        if not status.stopped:
            return
        if trial is None or status.by_hand:
            raise ProcessingPausedError(
                f"Processing is paused. {status.detail}", retry_at=now + RECHECK_AFTER
            )
        if _refusals(status, trial, now - SKIPPED_FOR) >= REFUSALS:
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
        """Pause processing; return whether that is new and has to be announced.

        `model` and `status`: of a refused call; without them, the account itself was refused.
        `limit_usd`: the daily spend limit, if it is reached; it also replaces another reason,
        because then no trial is allowed. `BY_HAND` replaces every reason, and stays.
        """
        refusal = {_refusal(model, status): (now,)} if model else {}
        new = Status(
            True, reason, detail, now, self.new_id(), limit_usd, announced=False, refused=refusal
        )
        return self.item.change(partial(_stopped, new=new)).id == new.id

    def resume(self, now: float, *, stop: str | None = None, accepted: bool = False) -> bool:
        """Resume processing; return whether it was paused until now.

        `stop`: the id of the pause that is over; any other pause stays. `accepted`: Venice has
        accepted a call, so the refusals of the last minutes are tolerated from now on.
        """
        new = Status(since=now, id=self.new_id(), announced=False)
        return self.item.change(partial(_resumed, new=new, stop=stop, accepted=accepted)).id == (
            new.id
        )

    def note_announced(self, id: str) -> None:
        """Note that the event bus has the pause or the resumption with this id."""
        self.item.change(lambda now: replace(now, announced=True) if now.id == id else now)

    def tolerates(self, model: str, status: int | None, now: float) -> bool:
        """Return whether such a refusal does not pause processing, since others are accepted."""
        return self.status().tolerated.get(_refusal(model, status), 0.0) > now

    @property
    def item(self) -> AtomicItem[Status]:
        """The item of the state table."""
        return AtomicItem(self.dynamodb, self.table, ITEM, Status())


def _stopped(old: Status, new: Status) -> Status:
    if old.id == new.id or old.by_hand:
        return old
    replaces = new.by_hand or (new.limit_usd is not None and old.limit_usd is None)
    if old.stopped and not replaces:
        return replace(old, refused=_noted(old.refused, new))
    refused = _noted(old.refused, new) if old.stopped else new.refused
    return replace(new, refused=refused, tolerated={} if _is_general(new) else old.tolerated)


def _noted(old: Mapping[str, tuple[float, ...]], new: Status) -> Mapping[str, tuple[float, ...]]:
    """Return the refusals with a new one, which many calls may report at once."""
    if _is_general(new):
        return {}
    noted = dict(old)
    for refusal, (at,) in new.refused.items():
        recent = tuple(time for time in old.get(refusal, ()) if time > at - SKIPPED_FOR)
        if len(recent) < REFUSALS:
            noted[refusal] = (*recent, at)
    return noted


def _is_general(stop: Status) -> bool:
    """Return whether the account itself was refused, which says nothing about a model."""
    return not stop.refused and stop.limit_usd is None and not stop.by_hand


def _resumed(old: Status, new: Status, stop: str | None, accepted: bool) -> Status:
    if not old.stopped or stop not in (None, old.id):
        return old
    tolerated = {refusal: until for refusal, until in old.tolerated.items() if until > new.since}
    if accepted:
        tolerated |= {
            refusal: new.since + TOLERATED_FOR
            for refusal, times in old.refused.items()
            if times[-1] > new.since - EVIDENCE
        }
    return replace(new, stopped_for=new.since - old.since, tolerated=tolerated)


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
