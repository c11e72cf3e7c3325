"""What an operator orders: pause, resume, cancel, and another spend limit for today."""

import math
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from image_drop.state.billing import date_of
from image_drop.state.circuit_breaker import BY_HAND, Status
from image_drop.state.scans import Scan
from image_drop_cli.tally import Tally, tally

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

MOST_WAIT = 14 * 86_400  # seconds that an image can be queued: SQS forgets a message after that


@dataclass(frozen=True)
class Change:
    """Processing `before` an order and `now`."""

    before: Status
    now: Status


@dataclass(frozen=True)
class Cancelled:
    """Edits below `prefix` that were asked for before `at` are dropped.

    `tally`: of the images there, with their calls of the last 14 days. `scans`: backfills that are
    still running there, and queue more.
    """

    prefix: str
    at: float
    tally: Tally
    scans: tuple[Scan, ...]


@dataclass(frozen=True)
class DayLimit:
    """The spend limit of one day of UTC. `usual_usd`: of every other day, 0 for none."""

    date: str
    limit_usd: float
    usual_usd: float
    spent_usd: float
    processing: Status


def time_of(deployment: "Deployment") -> float:
    """Return the time by AWS's clock, in seconds since 1970: this machine's may be wrong."""
    answer = deployment.client("sts").get_caller_identity()
    sent = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(sent).timestamp() if sent else deployment.services.now()


def pause(deployment: "Deployment", now: float) -> Change:
    """Pause processing until somebody resumes it. Calls in progress still end."""
    breaker = deployment.services.circuit_breaker
    before = breaker.status()
    breaker.stop(BY_HAND, "Somebody paused it with `image-drop pause`.", now)
    return Change(before, breaker.status())


def resume(deployment: "Deployment", now: float) -> Change:
    """End a pause by hand, or one for a spend limit that leaves room by now.

    A pause for the account stays: the account watch ends it when Venice accepts an edit.
    """
    services = deployment.services
    before = services.circuit_breaker.status()
    has_room = before.limit_usd is not None and services.billing.spent_error(now) is None
    if before.by_hand or (before.stopped and has_room):
        services.circuit_breaker.resume(now, stop=before.id)
    return Change(before, services.circuit_breaker.status())


def cancel(prefix: str, deployment: "Deployment", now: float) -> Cancelled:
    """Drop the edits below a prefix that were asked for before now and are not paid.

    S3 and AWS's clock tell whole seconds, so what comes within this one is dropped, too.
    Raise `TooManyCancellationsError`.
    """
    services = deployment.services
    at = math.floor(now) + 1.0
    services.orders.cancel(prefix, at)
    scans = (services.scans.current(), services.folder_scans.current())
    running = tuple(each for each in scans if each and each.running and _overlap(each, prefix))
    return Cancelled(prefix, at, tally(prefix, deployment, now - MOST_WAIT), running)


def limit_today(usd: float, deployment: "Deployment", now: float) -> DayLimit:
    """Let the calls of today cost at most `usd`, and resume if the old limit was the pause."""
    services = deployment.services
    services.orders.limit_today(usd, now)
    processing = services.circuit_breaker.status()
    if processing.limit_usd is not None:
        processing = resume(deployment, now).now
    spent = services.billing.day(now).at_most_usd
    return DayLimit(date_of(now), usd, services.billing.limit_usd, spent, processing)


def _overlap(scan: Scan, prefix: str) -> bool:
    return scan.prefix.startswith(prefix) or prefix.startswith(scan.prefix)


def wake_account_watch(deployment: "Deployment") -> bool:
    """Start the account watch, which tells the queue's trigger and the event bus.

    Return False if you may not; then its next round does, within five minutes.
    """
    with suppress(ClientError, BotoCoreError):
        found = deployment.client("cloudformation").describe_stack_resource(
            StackName=deployment.name, LogicalResourceId="AccountWatchFunction"
        )
        name = found["StackResourceDetail"]["PhysicalResourceId"]
        deployment.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
        return True
    return False
