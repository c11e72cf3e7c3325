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

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="Object key of the image in the input bucket.")
]


@on_stack
def retry(deployment: "Deployment", key: Key) -> None:
    """Retry one image, even if it has a report.

    A result that exists is neither made nor paid for again.
    """
    from image_drop.edits import Edit
    from image_drop.errors import ImageDeletedError, PermanentError
    from image_drop.uploads import Upload
    from image_drop_cli.planning import plan_image

    services, bucket = deployment.services, deployment.input_bucket
    queued, retry_id = 0, services.new_id()
    try:
        for plan in plan_image(key, services, bucket):
            if not isinstance(plan.outcome, Edit):
                fail(f"{plan.outcome.detail} {plan.outcome.advice}", Exit.NEEDS_YOU)
            edit = plan.outcome
            result = services.output_bucket.find_output(edit.output_key)
            if result is not None and result.edit_id == edit.id:
                say(f"{edit.output_key} exists already; it is not paid for again.")
                continue
            services.queue.send(Upload(bucket, key, plan.variant, retry=retry_id))
            queued += 1
            say(f"Queued {edit.output_key}.")
    except ImageDeletedError:
        fail(
            f"{key} is not in the bucket {bucket}. Check the key, or upload the image with "
            "`image-drop put`.",
            Exit.NEEDS_YOU,
        )
    except PermanentError as error:
        fail(f"{error.detail} {error.advice}", Exit.NEEDS_YOU)
    if not queued:
        say("To make it again, delete the result first.")


@on_stack
def explain(deployment: "Deployment", key: Key, json: Json = False) -> None:
    """Show which instructions apply to an image, and what Image Drop would do with it.

    This makes no call to Venice and costs nothing. The image need not be in the bucket. The exit
    code is 1 if there are no usable instructions.
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
