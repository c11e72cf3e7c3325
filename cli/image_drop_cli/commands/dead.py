"""`image-drop dead`: images that failed after all attempts."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from image_drop_cli.connection import Exit, Json, console, fail, on_stack, say, say_json
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from image_drop.storage.output_bucket import Report
    from image_drop_cli.dead_letters import DeadLetter
    from image_drop_cli.deployment import Deployment

LISTED = 100  # letters; the report on each is read
SEARCHED = 100_000  # letters that are searched for a key; 10,000 requests

app = typer.Typer(
    help="Inspect, retry or delete dead letters: images that failed after all attempts.",
    no_args_is_help=True,
)

Keys = Annotated[list[str] | None, typer.Argument(metavar="KEY", help="Object keys of the images.")]


@app.command("list")
@on_stack
def list_(deployment: "Deployment", json: Json = False) -> None:
    """List the dead letters with the report on each."""
    from image_drop_cli.dead_letters import DeadLetters

    dead = DeadLetters(deployment)
    with dead.held(LISTED) as letters:
        rows = [(letter, dead.report_on(letter)) for letter in letters]
    if json:
        _print_json(rows)
        return
    if not rows:
        say("There are no dead letters.")
        return
    table = Table(box=SIMPLE_HEAD)
    for heading in ("image", "code", "what happened", "first queued"):
        table.add_column(heading, overflow="fold")
    for letter, report in rows:
        detail = report.detail if report else "No report found."
        when = f"{letter.sent_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(
            escape(_name(letter)), escape(report.code) if report else "?", escape(detail), when
        )
    console().print(table)
    if (count := dead.count()) > len(rows):
        say(f"These are {len(rows)} of about {count:,} dead letters.")


@app.command()
@on_stack
def show(
    deployment: "Deployment",
    key: Annotated[str, typer.Argument(metavar="KEY", help="Object key of the image.")],
    json: Json = False,
) -> None:
    """Show everything about the dead letters of one image."""
    from image_drop_cli.dead_letters import DeadLetters

    dead = DeadLetters(deployment)
    with dead.held(SEARCHED) as letters:
        rows = [(letter, dead.report_on(letter)) for letter in _about([key], letters)]
    if not rows:
        _fail_missing([key])
    if json:
        _print_json(rows)
        return
    for letter, report in rows:
        say(f"{_name(letter)}, first queued {letter.sent_at:%Y-%m-%d %H:%M:%S} UTC")
        if report:
            say(f"  {report.title}. {report.detail}", f"  {report.what_to_do}")
            answered = f", Venice's request {report.request_id}" if report.request_id else ""
            attempts = counted(report.attempts, "attempt")
            say(f"  {attempts}, the last at {report.at}{answered}")
        say(f"  message: {letter.body}")


@app.command()
@on_stack
def redrive(
    deployment: "Deployment",
    keys: Keys = None,
    every: Annotated[bool, typer.Option("--all", help="Retry all dead letters.")] = False,
) -> None:
    """Retry dead letters with a fresh set of attempts."""
    from image_drop_cli.dead_letters import DeadLetters

    dead = DeadLetters(deployment)
    _require_choice(keys, every=every)
    if every:
        say(f"Queued {counted(dead.redrive_all(), 'dead letter')}.")
        return
    with dead.held(SEARCHED) as letters:
        chosen = _about(keys or (), letters)
        dead.redrive(chosen)
    _conclude(chosen, keys or (), "Queued")


@app.command()
@on_stack
def discard(
    deployment: "Deployment",
    keys: Keys = None,
    every: Annotated[bool, typer.Option("--all", help="Delete all dead letters.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking first.")] = False,
) -> None:
    """Delete dead letters for good. The images and their reports stay."""
    from image_drop_cli.dead_letters import DeadLetters

    dead = DeadLetters(deployment)
    _require_choice(keys, every=every)
    if every:
        about = counted(dead.count(), "dead letter")
        if not yes and not typer.confirm(f"Delete about {about} for good?"):
            raise typer.Exit(Exit.NEEDS_YOU)
        say(f"Deleted {counted(dead.discard_all(), 'dead letter')}.")
        return
    with dead.held(SEARCHED) as letters:
        chosen = _about(keys or (), letters)
        dead.discard(chosen)
    _conclude(chosen, keys or (), "Deleted the dead letter of")


@app.command()
@on_stack
def events(
    deployment: "Deployment",
    redeliver: Annotated[
        bool, typer.Option("--redeliver", help="Send the events to the webhook again.")
    ] = False,
) -> None:
    """Show the events that your webhook did not take, or send them again.

    The exit code is 1 if some are left.
    """
    from image_drop_cli.dead_events import DeadEvents

    dead = DeadEvents.of(deployment)
    if dead is None:
        fail(f"The stack {deployment.name} has no webhook. Set WebhookUrl to get one.", Exit.USAGE)
    if redeliver:
        done = dead.redeliver()
        say(f"Delivered {counted(done.delivered, 'event')}.")
        if done.refusal:
            say(
                f"{done.refusal} About {counted(dead.count(), 'event')} are left. Mend the "
                "webhook or correct WebhookUrl, then run the command again.",
                err=True,
            )
            raise typer.Exit(Exit.NEEDS_YOU)
        return
    if not (count := dead.count()):
        say("There are none.")
        return
    say(f"The webhook did not take {counted(count, 'event')}:")
    for reason, number in dead.reasons().items():
        say(f"  {number:,}  {reason}")
    say("Send them again with `image-drop dead events --redeliver`.")
    raise typer.Exit(Exit.NEEDS_YOU)


def _require_choice(keys: Sequence[str] | None, *, every: bool) -> None:
    if keys and every:
        fail("Both keys and --all were given. Use one of them.", Exit.USAGE)
    if not keys and not every:
        fail("No dead letters chosen. Name the keys of images, or use --all.", Exit.USAGE)


def _about(keys: Iterable[str], letters: Iterable["DeadLetter"]) -> list["DeadLetter"]:
    wanted = set(keys)
    return [each for each in letters if each.upload and each.upload.key in wanted]


def _conclude(chosen: Sequence["DeadLetter"], keys: Iterable[str], what: str) -> None:
    found = {each.upload.key for each in chosen if each.upload}
    for letter in chosen:
        say(f"{what} {_name(letter)}.")
    if missing := [key for key in keys if key not in found]:
        _fail_missing(missing)


def _fail_missing(keys: Iterable[str]) -> NoReturn:
    fail(
        f"No dead letter found for {', '.join(keys)}. List them with `image-drop dead list`.",
        Exit.NEEDS_YOU,
    )


def _name(letter: "DeadLetter") -> str:
    if letter.upload is None:
        return "(a message that is not Image Drop's)"
    variant = f" ({letter.upload.variant})" if letter.upload.variant else ""
    return letter.upload.key + variant


def _print_json(rows: Iterable[tuple["DeadLetter", "Report | None"]]) -> None:
    answer = [
        {
            "key": letter.upload.key if letter.upload else None,
            "variant": letter.upload.variant if letter.upload else None,
            "queued_at": letter.sent_at.isoformat(timespec="seconds"),
            "message": letter.body,
            "report": report,
        }
        for letter, report in rows
    ]
    say_json(answer)
