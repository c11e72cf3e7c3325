"""Watching the account at Venice: stop the line, try whether it works again, resume it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from image_drop import models, paid_call, retry
from image_drop.catalogue import Catalogue
from image_drop.errors import AccountError, ImageDropError, RetryableError, SpendLimitError
from image_drop.events import AccountRestored
from image_drop.instructions import Mode
from image_drop.known_models import DEFAULT_EDIT_MODEL
from image_drop.models import REMOVAL_MODEL
from image_drop.pipeline import Outcome
from image_drop.services import Invocation
from image_drop.telemetry import logger, measure

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from image_drop.line import Status
    from image_drop.services import Services

MAX_TRIALS = 5  # messages looked at in one round, where the first ones need no call


@dataclass(frozen=True)
class Mapping:
    """The event source mapping that feeds the retry function from the queue."""

    awslambda: "LambdaClient"
    uuid: str

    def pause(self) -> None:
        """Leave messages in the queue, where their tries are not counted. Takes effect in about a
        minute; those already received are finished."""
        self.awslambda.update_event_source_mapping(UUID=self.uuid, Enabled=False)

    def resume(self) -> None:
        """Feed the retry function again."""
        self.awslambda.update_event_source_mapping(UUID=self.uuid, Enabled=True)


def watch(services: "Services", mapping: Mapping, invocation: Invocation) -> None:
    """Ask Venice about the account, and stop, keep or resume the line accordingly."""
    usable = ask(services)
    status = services.line.status()
    if status.stopped:
        # One update a round: AWS refuses another while a mapping is still changing.
        if not (usable and may_resume(status, services, invocation)):
            mapping.pause()
        else:
            mapping.resume()  # first, so that a crash here leaves the line to the next round
            services.line.resume(services.now())
            logger.info("line resumed")
            services.bus.announce(AccountRestored(stopped_for=services.now() - status.since))
    measure({"LineStopped": float(services.line.status().stopped)})


def may_resume(status: "Status", services: "Services", invocation: Invocation) -> bool:
    """Whether calls may be made again; it is tried with one.

    Not while the day's limit is reached. Where that was all, there is nothing to try: the line
    goes on when a new day has begun or the limit was raised.
    """
    now = services.now()
    try:
        services.spend.check(services.spend.day(now), now)
    except SpendLimitError:
        return False
    return status.reason == SpendLimitError.code or try_one(services, invocation)


def ask(services: "Services") -> bool:
    """Whether Venice accepts the account; balance and limits are noted on the way. Free of charge.

    An unreachable Venice is no reason to stop the line, nor to resume it.
    """
    try:
        account = services.venice.account()
    except AccountError as error:
        if error.status == 401 and services.api_key.replaced():
            return ask(services)
        paid_call.stop_line(error, services)
        return False
    except RetryableError as error:
        logger.warning("account not asked", code=error.code, status=error.status)
        return False
    if not account.access_permitted:
        paid_call.stop_line(AccountError("Venice says that access is not permitted."), services)
        return False
    limits = {
        metric: float(account.limits[model])
        for metric, model in (("EditLimit", DEFAULT_EDIT_MODEL), ("RemovalLimit", REMOVAL_MODEL))
        if model in account.limits
    }
    measure({"Balance": account.balance} | limits)
    for model, limit in account.limits.items():
        for name in rate_models(model, services.catalogue.current()):
            services.limiter.learn(name, limit)
    refresh_catalogue(services)
    return True


def refresh_catalogue(services: "Services") -> None:
    """Ask for the catalogue where it is old; without it, what was known so far counts."""
    if not services.catalogue.is_old():
        return
    try:
        listed = {kind: models.listed(kind, services.venice.models(kind)) for kind in models.KINDS}
        if listed["inpaint"]:
            services.catalogue.keep(listed["inpaint"] | listed["image"])
    except (ImageDropError, ClientError, BotoCoreError) as error:
        logger.warning("catalogue not refreshed", error=type(error).__name__)


def rate_models(model: str, catalogue: Catalogue) -> tuple[str, ...]:
    """Return the limiter's names for a model of the account page: none where it makes no edits."""
    if model == REMOVAL_MODEL:
        return (Mode.BACKGROUND_REMOVE.value,)
    return (catalogue.rate_model(Mode.EDIT, model),) if model in catalogue.edit_models else ()


def try_one(services: "Services", invocation: Invocation) -> bool:
    """Whether an edit from the queue succeeds; true also when the queue is empty.

    Not when all messages are hidden: then nothing has shown that edits are accepted.
    """
    for _ in range(MAX_TRIALS):
        message = services.queue.receive()
        if message is None:
            return services.queue.is_empty()
        trial = replace(invocation, trial=True, attempt=1 + message.receive_count)
        try:
            outcomes = retry.edit_or_postpone(message.body, message.receipt_handle, services, trial)
        except AccountError:
            return False
        except Exception as error:  # the message is postponed; another one may tell
            logger.info("trial failed", error=type(error).__name__)
            continue
        services.queue.delete(message.receipt_handle)
        if Outcome.EDITED in outcomes:
            return True
    return False
