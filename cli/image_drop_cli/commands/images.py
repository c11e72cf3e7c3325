"""Commands about one image."""

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from image_drop_cli.connection import Exit, Json, console, fail, on_stack, say, say_json

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment
    from image_drop_cli.explanation import Explanation, Request

Key = Annotated[str, typer.Argument(help="Of the image in the input bucket.")]


@on_stack
def retry(deployment: "Deployment", key: Key) -> None:
    """Send an image round again, also one that has a report."""
    from image_drop import edits
    from image_drop.errors import PermanentError, RetryableError
    from image_drop.uploads import Upload

    services = deployment.services
    upload = Upload(deployment.input_bucket, key)
    if services.input_bucket.find(upload.bucket, key) is None:
        fail(f"There is no {key} in {upload.bucket}.", Exit.NEEDS_YOU)
    try:
        wanted = edits.load_instructions(upload, services)
    except PermanentError as error:
        fail(f"{error.detail} {error.advice}", Exit.NEEDS_YOU)
    sent, again = 0, services.new_id()
    for variant in wanted.variants:
        try:
            edit = edits.plan_edit(wanted, variant, services)
            result = services.output_bucket.find(edit.output_key)
        except (PermanentError, RetryableError) as error:
            fail(f"{error.detail} {error.advice}", Exit.NEEDS_YOU)
        if result is not None and result.edit_id == edit.id:
            say(f"{edit.output_key} is there already; it is not paid for again.")
            continue
        services.queue.send(Upload(upload.bucket, key, variant, retry=again))
        sent += 1
        say(f"{edit.output_key} is on its way.")
    if not sent:
        say("To have it made anew, delete the result first.")


@on_stack
def explain(deployment: "Deployment", key: Key, json: Json = False) -> None:
    """Tell what would be done with a key and where each instruction comes from.

    Nothing is called and nothing is paid. Exit code 1 if there would be a report.
    """
    from image_drop_cli.explanation import explain as explanation_of

    explanation = explanation_of(key, deployment)
    if json:
        say_json(explanation)
    else:
        _show(explanation)
    raise typer.Exit(Exit.NEEDS_YOU if explanation.problem else Exit.DONE)


def _show(explanation: "Explanation") -> None:
    screen = console()
    if explanation.given:
        table = Table(title=f"Instructions for {escape(explanation.key)}", box=SIMPLE_HEAD)
        for heading in ("key", "value", "from", "instead of"):
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
    if explanation.problem:
        screen.print(f"[yellow]{escape(explanation.problem)}[/] {escape(explanation.advice or '')}")


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
    screen.print(f"  costs       ${request.usd:.4g} ({escape(request.model)})")
    screen.print(f"  state       {escape(request.state)}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, ensure_ascii=False)
