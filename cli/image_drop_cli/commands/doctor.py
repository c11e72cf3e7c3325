"""`image-drop doctor`: what is wrong with a stack, and the cure of each."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from image_drop_cli.connection import Exit, Json, console, on_stack, say, say_json
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_drop_cli.deployment import Deployment
    from image_drop_cli.doctor.finding import Finding
    from image_drop_cli.doctor.round_trip import Tell

_MARKS = {  # of the same width
    "fine": "[green]fine[/]   ",
    "note": "[yellow]note[/]   ",
    "problem": "[bold red]problem[/]",
}


@on_stack
def doctor(
    deployment: "Deployment",
    paid: Annotated[
        bool,
        typer.Option("--paid", help="Also make one cut-out, which costs about $0.03 at Venice."),
    ] = False,
    json: Json = False,
) -> None:
    """Check a stack from end to end: key, balance, events, roles, clock, version and more.

    It sends a tiny image through the stack, for which nothing is called. Each finding comes with
    its cure. The exit code is 1 if there is a problem.
    """
    if json:
        found = list(findings(deployment, paid=paid))
        say_json(found)
        raise typer.Exit(
            Exit.NEEDS_YOU if any(each.level == "problem" for each in found) else Exit.DONE
        )
    problems = show(deployment, paid=paid)
    if problems:
        say(f"{counted(problems, 'problem')} found.")
        raise typer.Exit(Exit.NEEDS_YOU)


def show(deployment: "Deployment", *, paid: bool = False) -> int:
    """Print the findings as they come, and return how many are problems."""
    screen, problems = console(), 0
    with screen.status("Looking at the stack …") as status:  # nothing of it if this is no terminal
        for each in findings(deployment, paid=paid, tell=status.update):
            problems += each.level == "problem"
            screen.print(f"{_MARKS[each.level]}  {escape(each.check)}: {escape(each.text)}")
            if each.cure:
                screen.print(f"           {escape(each.cure)}")
    return problems


def findings(
    deployment: "Deployment", *, paid: bool = False, tell: "Tell" = lambda _: None
) -> "Iterator[Finding]":
    """Yield all findings; the round trip comes last, because it takes longest.

    `tell` is told what is waited for. Nothing is sent through a stack that cannot answer.
    """
    from image_drop_cli.doctor import round_trip, stack_checks, venice_checks
    from image_drop_cli.doctor.finding import examine

    checks = (
        stack_checks.stack,
        stack_checks.clock,
        venice_checks.key,
        stack_checks.buckets,
        stack_checks.events,
        stack_checks.functions,
        stack_checks.queue,
        stack_checks.roles,
        stack_checks.concurrency,
        stack_checks.alarms,
    )
    found = []
    for each in examine(deployment, checks):
        found.append(each)
        yield each
    if (reason := round_trip.pointless(found)) is not None:
        yield reason
        return
    last = round_trip.paid(tell=tell) if paid else round_trip.free(tell=tell)
    yield from examine(deployment, [last])
