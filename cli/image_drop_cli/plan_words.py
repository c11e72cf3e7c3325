"""A plan as a person reads it, and the question whether it may be carried out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from image_drop_cli.connection import Exit, fail, say
from image_drop_cli.wording import counted, duration

if TYPE_CHECKING:
    from image_drop_cli.upload.plan import Plan

NOTHING_TWICE = (
    "Pictures that were paid for under another name cost nothing, unless you ask for a new draw."
)
CONFIRM_OVER = 5.0  # US dollars
MOST_PROBLEMS = 20  # that are told in words; in JSON, all are

ConfirmOver = Annotated[
    float,
    typer.Option(
        metavar="USD", min=0, help="Ask before the calls cost more than so many US dollars."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, whatever it costs.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would happen and what it would cost.")
]


def sentences(plan: "Plan") -> Iterator[str]:
    """Yield what a plan will do, cost and take, and what is wrong already."""
    yield _headline(plan)
    if len(plan.by_model) > 1:
        for each in plan.by_model:
            yield f"  {each.model}: {counted(each.calls, 'call')}, ${each.usd:,.2f}"
    if plan.enlargements:
        yield (
            f"Up to {counted(plan.enlargements, 'enlargement')} (finish.upscale) may follow, for "
            f"at most ${plan.enlarging_usd:,.2f} more."
        )
    if plan.replaced:
        free = ""
        if plan.free:
            free = f" {_are(plan.free, 'new finish', 'new finishes')} drawn without a call."
        yield f"{counted(plan.replaced, 'result')} there will change with the instructions.{free}"
    yield from _money(plan)
    if plan.paused:
        yield f"Processing is paused: {plan.paused}"
    if plan.left_at_home:
        yield (
            "1 file stays at home, because it is no image."
            if plan.left_at_home == 1
            else f"{plan.left_at_home:,} files stay at home, because they are no images."
        )
    for problem in plan.problems[:MOST_PROBLEMS]:
        yield (
            f"{counted(problem.images, 'image')} will get the report {problem.code}, such as "
            f"{problem.key}. {problem.detail} {problem.what_to_do}"
        )
    if (more := len(plan.problems) - MOST_PROBLEMS) > 0:
        yield f"{counted(more, 'other problem')}; --json has them all."


def require_consent(plan: "Plan", confirm_over: float, *, yes: bool, json: bool = False) -> None:
    """Ask if the plan costs more than `confirm_over`. End the command unless the answer is yes.

    `json`: a program reads the output, so nobody is asked.
    """
    usd, about = plan.at_most_usd, "at most" if plan.enlargements else "about"
    if yes or usd <= confirm_over:
        return
    agreed = None if json else confirmed(f"Spend {about} ${usd:,.2f}?")
    if agreed is None:
        fail(
            f"This costs {about} ${usd:,.2f}, more than ${confirm_over:,.2f}, and nobody can be "
            "asked. Add --yes, or raise --confirm-over.",
            Exit.NEEDS_YOU,
        )
    if not agreed:
        say("Nothing was sent.")
        raise typer.Exit(Exit.NEEDS_YOU)


def confirmed(question: str) -> bool | None:
    """Return the answer to a question; None if nobody is there to answer."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        return None


def _are(count: int, noun: str, several: str = "") -> str:
    if several and count != 1:
        return f"{count:,} {several} are"
    return f"{counted(count, noun)} {'is' if count == 1 else 'are'}"


def _headline(plan: "Plan") -> str:
    images = counted(plan.images, "image")
    if not plan.calls:
        there = f", and {_are(plan.done, 'result')} there already" if plan.done else ""
        return f"{images}: no call{there}."
    model = f" ({plan.by_model[0].model})" if len(plan.by_model) == 1 else ""
    done = f" {_are(plan.done, 'result')} there already." if plan.done else ""
    sampled = f" Projected from {plan.sampled:,} of them." if plan.sampled else ""
    took = ""
    if plan.seconds:
        took = f", at least {duration(plan.seconds)} at your rate limit"
    return f"{images}: {counted(plan.calls, 'call')}, ${plan.usd:,.2f}{model}{took}.{done}{sampled}"


def _money(plan: "Plan") -> Iterator[str]:
    if plan.calls:
        yield NOTHING_TWICE
    left, balance = plan.left_today_usd, plan.balance_usd
    if left is not None:
        short = " The rest waits until midnight UTC." if plan.usd > left else ""
        yield f"${left:,.2f} are left of today's limit.{short}"
    if balance is not None:
        short = " That is not enough: processing pauses then." if plan.usd > balance else ""
        yield f"${balance:,.2f} are left at Venice.{short}"
