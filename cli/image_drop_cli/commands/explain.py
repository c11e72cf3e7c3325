"""`image-drop explain`: where an image is now, why, and what it costs."""

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from image_drop_cli.connection import Exit, Json, console, on_stack, say_json
from image_drop_cli.wording import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_drop_cli.deployment import Deployment
    from image_drop_cli.explanation import Explanation, Request
    from image_drop_cli.image_state import Moment, State
    from image_drop_cli.log_lines import LogLine


@on_stack
def explain(
    deployment: "Deployment",
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Object key of the image in the input bucket.")
    ],
    logs: Annotated[
        bool, typer.Option("--logs", help="Show what the functions have logged about the image.")
    ] = False,
    json: Json = False,
) -> None:
    """Show where an image is now, which instructions apply to it, and its life so far.

    This makes no call to Venice and costs nothing. The image need not be in the bucket. The exit
    code is 1 if something needs you: a report, a dead letter, wrong instructions, no such image.
    """
    from image_drop_cli.explanation import explain as explanation_of
    from image_drop_cli.log_lines import lines_about

    explanation = explanation_of(key, deployment)
    found = lines_about(key, deployment) if logs else None
    if json:
        import msgspec

        say_json(msgspec.to_builtins(explanation) | ({"logs": found} if logs else {}))
    else:
        _show(explanation)
        if found is not None:
            _show_logs(found)
    raise typer.Exit(Exit.NEEDS_YOU if explanation.needs_you else Exit.DONE)


def _show(explanation: "Explanation") -> None:
    screen = console()
    for name, state in _states(explanation):
        screen.print(f"[bold]{escape(name)}[/]: {_state(state)}")
    if explanation.given:
        table = Table(title=f"Instructions for {escape(explanation.key)}", box=SIMPLE_HEAD)
        for heading in ("key", "value", "source", "overrides"):
            table.add_column(heading, overflow="fold")
        for each in explanation.given:
            table.add_row(
                each.key,
                escape(_text(each.value)),
                escape(each.source),
                escape(", ".join(each.overridden)),
            )
        screen.print(table)
    if explanation.ignored:
        ignored = " and ".join(explanation.ignored)
        screen.print(f"Ignored because of UntrustedPrefixes: {escape(ignored)}.")
    for request in explanation.requests:
        _show_request(request)
    if explanation.problem and not explanation.state:
        screen.print(f"[yellow]{escape(explanation.problem)}[/] {escape(explanation.advice or '')}")
    if explanation.older:
        older = escape(", ".join(explanation.older))
        screen.print(f"Older results next to it: {older}. `image-drop clean` removes them.")
    _show_life(explanation.life)


def _show_life(life: "Sequence[Moment]") -> None:
    screen = console()
    if life:
        screen.print("[bold]Its life so far[/]")
    for each in life:
        variant = f"{escape(each.variant)}: " if each.variant else ""
        screen.print(f"  {moment(each.at)}  {variant}{escape(each.what)}")


def _show_logs(lines: "Sequence[LogLine]") -> None:
    screen = console()
    screen.print("[bold]Logs[/]" if lines else "The functions have logged nothing about it.")
    for each in lines:
        facts = " ".join(f"{name}={_text(value)}" for name, value in each.facts.items())
        screen.print(
            f"  {moment(each.at)}  {escape(each.function)}: {escape(each.message)} {escape(facts)}"
        )


def _states(explanation: "Explanation") -> "Iterator[tuple[str, State]]":
    if explanation.state:
        yield explanation.key, explanation.state
    for request in explanation.requests:
        variant = f" ({request.variant})" if request.variant else ""
        yield explanation.key + variant, request.state


def _state(state: "State") -> str:
    colour = "yellow" if state.needs_you else "green" if state.kind == "result" else "cyan"
    sentences = f"{state.text} {state.what_to_do}".rstrip()
    return f"[{colour}]{escape(state.kind)}[/]. {escape(sentences)}"


def _show_request(request: "Request") -> None:
    screen = console()
    name = f" for the variant {request.variant}" if request.variant else ""
    screen.print(f"[bold]POST {request.endpoint}[/]{escape(name)}")
    screen.print(f"  images      {escape(', '.join(request.images))}")
    for key, value in request.parameters.items():
        screen.print(f"  {key:11} {escape(_text(value))}")
    for key, value in request.afterwards.items():
        screen.print(f"  then {key:6} {escape(_text(value))}")
    if request.output_key:
        screen.print(f"  result      {escape(request.output_key)}")
    more = ""
    if request.enlarging_usd:
        more = f", and at most ${request.enlarging_usd:.4g} if the canvas enlarges the subject"
    screen.print(f"  costs       ${request.usd:.4g} ({escape(request.model)}){more}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False)
