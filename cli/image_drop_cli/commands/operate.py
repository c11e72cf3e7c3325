"""Commands that stop and start the spending: pause, resume, cancel, limit."""

from typing import TYPE_CHECKING, Annotated

import typer

from image_drop_cli.connection import Exit, Json, fail, on_stack, say, say_json
from image_drop_cli.wording import counted, how_it_resumes, moment

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.operating import Change
    from image_drop_cli.tally import Tally

AT_ONCE = "The queue is read again from now on."
SOON = "The queue is read again within five minutes."


@on_stack
def pause(deployment: "Deployment", json: Json = False) -> None:
    """Pause processing until `image-drop resume`. No call starts; calls in progress still end.

    Uploads are queued meanwhile, for at most 14 days.
    """
    from image_drop_cli import operating

    change = operating.pause(deployment, operating.time_of(deployment))
    operating.wake_account_watch(deployment)
    if json:
        say_json(change)
    elif change.before.by_hand:
        say(f"Processing was paused already, at {moment(change.before.since)}.")
    else:
        say(
            "Paused. No call starts from now on; calls in progress still end. Uploads are queued. "
            "Resume with `image-drop resume`, within 14 days."
        )


@on_stack
def resume(deployment: "Deployment", json: Json = False) -> None:
    """Resume processing after `image-drop pause`.

    The exit code is 1 if it stays paused for another reason, such as the balance at Venice.
    """
    from image_drop_cli import operating

    change = operating.resume(deployment, operating.time_of(deployment))
    at_once = operating.wake_account_watch(deployment)
    if json:
        say_json(change)
    else:
        say(_resumed(change, at_once=at_once))
    raise typer.Exit(Exit.NEEDS_YOU if change.now.stopped else Exit.DONE)


@on_stack
def cancel(
    deployment: "Deployment",
    prefix: Annotated[
        str,
        typer.Argument(
            metavar="PREFIX",
            help='Prefix of the object keys, such as photos/. Use "" for the whole bucket.',
        ),
    ],
    json: Json = False,
) -> None:
    """Drop the queued edits below a prefix before they are paid, and say what was paid already.

    Each image gets a report instead of a call. What you upload or retry from now on is edited.
    """
    from image_drop.state.orders import TooManyCancellationsError
    from image_drop_cli import operating

    try:
        cancelled = operating.cancel(prefix, deployment, operating.time_of(deployment))
    except TooManyCancellationsError:
        fail(
            "A hundred prefixes have been cancelled within 15 days, and there is no room for more. "
            "Cancel a shorter prefix that contains several of them.",
            Exit.NEEDS_YOU,
        )
    if json:
        say_json(cancelled)
        return
    say(
        f"Cancelled what was queued below {prefix or 'the whole bucket'} before "
        f"{moment(cancelled.at)}. {_paid(cancelled.tally)}",
        "The others get the report `cancelled` when their turn comes, without a call. What you "
        "upload or retry from now on is edited.",
    )
    for scan in cancelled.scans:
        say(
            f"A backfill of {scan.prefix or 'the whole bucket'} is still running and queues more. "
            "Stop it with `image-drop backfill cancel`."
        )


@on_stack
def limit(
    deployment: "Deployment",
    usd: Annotated[
        float,
        typer.Argument(metavar="USD", min=0.01, help="US dollars that today may cost."),
    ],
    json: Json = False,
) -> None:
    """Set the spend limit of today (UTC) only, higher or lower than the usual one.

    From midnight UTC on, the parameter DailySpendLimitUSD counts again.
    """
    from image_drop_cli import operating

    day = operating.limit_today(usd, deployment, operating.time_of(deployment))
    operating.wake_account_watch(deployment)
    if json:
        say_json(day)
        return
    usual = f"${day.usual_usd:,.2f}" if day.usual_usd else "no limit"
    say(
        f"The calls of {day.date} may cost ${day.limit_usd:,.2f}; ${day.spent_usd:,.2f} is spent "
        f"or reserved. From midnight UTC on it is {usual} again."
    )
    if day.spent_usd >= day.limit_usd:
        say("Nothing is left of that, so processing pauses at the next call.")
    elif day.processing.stopped:
        say(f"Processing is paused: {day.processing.detail} {how_it_resumes(day.processing)}")


def _resumed(change: "Change", *, at_once: bool) -> str:
    if not change.before.stopped:
        return "Processing was not paused."
    if change.now.stopped:
        return f"Processing stays paused: {change.now.detail} {how_it_resumes(change.now)}"
    return f"Resumed. {AT_ONCE if at_once else SOON}"


def _paid(tally: "Tally") -> str:
    images = ("" if tally.complete else "the first ") + counted(tally.images, "image")
    calls = counted(tally.paid_calls, "call") if tally.paid_calls else "nothing"
    usd = f": ${tally.paid_usd:,.2f}" if tally.paid_calls else ""
    paid = f"For {images} there, {calls} had been paid already{usd}."
    if tally.unconfirmed_calls:
        calls = counted(tally.unconfirmed_calls, "call")
        paid += f" {calls} in progress or unconfirmed may cost ${tally.unconfirmed_usd:,.2f} more."
    return paid
