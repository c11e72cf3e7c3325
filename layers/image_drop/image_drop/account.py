"""The account watch: pause processing, test whether the account works again, and resume."""

from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from image_drop import paid_call, retry
from image_drop.errors import AccountError, ImageDropError, NoAnswerError, SpendLimitError
from image_drop.instructions.schema import Mode
from image_drop.invocation import Invocation
from image_drop.pipeline import Outcome
from image_drop.state import circuit_breaker
from image_drop.state.rates import calls_at_once
from image_drop.telemetry import logger, measure
from image_drop.venice.catalogue import FIXED, Catalogue
from image_drop.venice.client import CALL_SECONDS, ENHANCE_SECONDS
from image_drop.venice.known_models import DEFAULT_EDIT_MODEL
from image_drop.venice.models import KINDS, REMOVAL_MODEL, Model, listed

if TYPE_CHECKING:
    from image_drop.services import Services
    from image_drop.state.circuit_breaker import CircuitBreaker, Status
    from image_drop.storage.queue_trigger import QueueTrigger

MAX_CALLS = 5  # in one round, while they are refused
# Seconds that the invocation must have left before a trial: an ordinary call, and 60 to store its
# result. An edit with a longer call is postponed by `paid_call`.
TRIAL = CALL_SECONDS + ENHANCE_SECONDS + 60.0


class Trial(Enum):
    """How the trials of one round ended."""

    ACCEPTED = auto()
    REFUSED = auto()  # or no trial has shown that edits are accepted
    NOTHING_TO_TRY = auto()


def watch(services: "Services", invocation: Invocation) -> None:
    """Ask Venice about the account, then pause or resume processing accordingly."""
    usable = ask_account(services)
    status = services.circuit_breaker.status()
    if status.stopped and usable:
        try_to_resume(status, services, invocation)
    needed = calls_at_once(services.limiter.rates(), services.now())
    at_once = services.queue_trigger.concurrency(needed).allowed
    follow(services.circuit_breaker, services.queue_trigger, at_once)
    paid_call.announce_pause(services)
    paused = float(services.circuit_breaker.status().stopped)
    measure({"ProcessingPaused": paused, "Concurrency": float(at_once)})


def follow(breaker: "CircuitBreaker", trigger: "QueueTrigger", at_once: int) -> None:
    """Enable the trigger while processing runs, and disable it while processing is paused.

    `at_once`: functions that may run at the same time.

    Check again afterwards, because another watch may have changed the state meanwhile. If that
    one could not change the trigger, the next round does.
    """
    running = not breaker.status().stopped
    trigger.switch(on=running, at_once=at_once)
    if breaker.status().stopped is running:
        trigger.switch(on=not running, at_once=at_once)


def try_to_resume(status: "Status", services: "Services", invocation: Invocation) -> None:
    """Resume processing after this pause if a trial edit is accepted.

    A pause for the daily spend limit needs no trial. A trial that reaches the limit itself starts
    a new pause, which stays. A pause by hand stays, too.
    """
    if status.by_hand:
        return
    accepted = False
    if status.limit_usd is not None:
        limit = services.billing.limit_on(services.now())
        if not circuit_breaker.is_renewed(status, limit, services.now()):
            return
    else:
        trial = try_some(services, invocation)
        if trial is Trial.REFUSED:
            return
        accepted = trial is Trial.ACCEPTED
    now = services.now()
    if spent := services.billing.spent_error(now):
        paid_call.pause(spent, services)
        return
    if services.circuit_breaker.resume(now, stop=status.id, accepted=accepted):
        logger.info("processing resumed")


def ask_account(services: "Services") -> bool:
    """Return whether Venice accepts the account, and note its balance and limits. It is free.

    An unreachable Venice is a reason neither to pause processing nor to resume it.
    """
    try:
        account = services.venice.account()
    except AccountError as error:
        if error.status == 401 and services.api_key.replaced():
            return ask_account(services)
        paid_call.pause(error, services)
        return False
    except ImageDropError as error:  # no answer, or one that cannot be understood
        logger.warning("account not asked", code=error.code, status=error.status)
        return False
    if not account.access_permitted:
        paid_call.pause(AccountError("Venice says that access is not permitted."), services)
        return False
    limits = {
        metric: float(account.limits[model])
        for metric, model in (("EditLimit", DEFAULT_EDIT_MODEL), ("RemovalLimit", REMOVAL_MODEL))
        if model in account.limits
    }
    measure({"Balance": account.balance} | limits)
    refresh_catalogue(services)
    catalogue = services.catalogue.current()
    services.limiter.set_limits(
        {
            name: limit
            for model, limit in account.limits.items()
            if (name := rate_model(model, catalogue))
        }
    )
    return True


def refresh_catalogue(services: "Services") -> None:
    """Fetch the catalogue once an hour; if that fails, the models known so far are used."""
    if not services.catalogue.is_old():
        return
    try:
        models: dict[str, Model] = {}
        for kind in KINDS:
            models |= listed(kind, services.venice.models(kind))
        if models:
            services.catalogue.save(models)
    except (ImageDropError, ClientError, BotoCoreError) as error:
        logger.warning("catalogue not fetched", error=type(error).__name__)


def rate_model(model: str, catalogue: Catalogue) -> str | None:
    """Return the limiter's name for a Venice model; None where it makes no edits."""
    for mode, fixed in FIXED.items():
        if model == fixed:
            return mode.value
    return catalogue.rate_model(Mode.EDIT, model) if model in catalogue.edit_models else None


def try_some(services: "Services", invocation: Invocation) -> Trial:
    """Try messages of the queue one by one until a call is accepted or five are refused.

    One refused message says little about the others, so the next one is tried. Messages that need
    no call, and those of a model that was just refused twice, do not count, as long as enough
    time is left for one that calls.
    """
    calls = 0
    while calls < MAX_CALLS and (spare := _seconds_left(invocation) - TRIAL) >= 0:
        message = services.queue.receive()
        if message is None:
            return Trial.NOTHING_TO_TRY if services.queue.is_empty() else Trial.REFUSED
        trial = replace(
            invocation,
            trial=True,
            message_id=message.id,
            receives=message.receive_count,
            sent_at=message.sent_at,
            max_slot_wait=min(invocation.max_slot_wait, spare),
        )
        try:
            outcomes = retry.edit_or_postpone(message.body, message.receipt_handle, services, trial)
        except SpendLimitError:
            return Trial.REFUSED
        except Exception as error:  # the message is postponed; another one may be accepted
            logger.info("trial failed", error=type(error).__name__)
            calls += _was_called(error)
        else:
            services.queue.delete(message.receipt_handle)
            if Outcome.EDITED in outcomes:
                return Trial.ACCEPTED
    return Trial.REFUSED


def _seconds_left(invocation: Invocation) -> float:
    return invocation.context.get_remaining_time_in_millis() / 1000


def _was_called(error: Exception) -> bool:
    return isinstance(error, NoAnswerError) or getattr(error, "status", None) is not None
