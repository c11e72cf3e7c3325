"""`image-drop dead`: the images that were given up."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from image_drop_cli.connection import Exit, Json, console, fail, on_stack, say, say_json

if TYPE_CHECKING:
    from image_drop.storage.output_bucket import Report
    from image_drop_cli.dead_letters import DeadLetter
    from image_drop_cli.deployment import Deployment

SHOWN = 100  # letters; each is asked for its report
MOST = 100_000  # letters looked through for a key; 10,000 requests

app = typer.Typer(help="Images that were given up after all their tries.", no_args_is_help=True)

Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY...]", help="Of images.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]


@app.command("list")
@on_stack
def list_(deployment: "Deployment", json: Json = False) -> None:
    """List the dead letters, with what the report on each says."""
    from image_drop_cli.dead_letters import DeadLetters

    dead = DeadLetters(deployment)
    with dead.held(SHOWN) as letters:
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
        detail = report.detail if report else "There is no report on it."
        when = f"{letter.sent_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(
            escape(_name(letter)), escape(report.code) if report else "?", escape(detail), when
        )
    console().print(table)
    if (count := dead.count()) > len(rows):
        say(f"These are {len(rows)} of about {count:,}.")


@app.command()
@on_stack
def show(
    deployment: "Deployment",
    key: Annotated[str, typer.Argument(help="Of the image.")],
    json: Json = False,
) -> None:
    """Show all that is known about one image that was given up."""
    from image_drop_cli.dead_letters import DeadLetters

    dead = DeadLetters(deployment)
    with dead.held(MOST) as letters:
        rows = [(letter, dead.report_on(letter)) for letter in _about([key], letters)]
    if not rows:
        fail(f"There is no dead letter about {key}.", Exit.NEEDS_YOU)
    if json:
        _print_json(rows)
        return
    for letter, report in rows:
        say(f"{_name(letter)}, first queued {letter.sent_at:%Y-%m-%d %H:%M:%S} UTC")
        if report:
            say(f"  {report.title}. {report.detail}", f"  {report.what_to_do}")
            answered = f", Venice's request {report.request_id}" if report.request_id else ""
            say(f"  {report.attempts} attempts, the last at {report.at}{answered}")
        say(f"  message: {letter.body}")


@app.command()
@on_stack
def redrive(deployment: "Deployment", keys: Keys = None, every: All = False) -> None:
    """Send dead letters round again, with all their tries before them."""
    from image_drop_cli.dead_letters import DeadLetters

    dead = DeadLetters(deployment)
    if every == bool(keys):
        fail("Name keys, or give --all.", Exit.USAGE)
    if every:
        say(f"{dead.send_all_again():,} dead letters go round again.")
        return
    with dead.held(MOST) as letters:
        chosen = _about(keys or (), letters)
        dead.send_again(chosen)
    _conclude(chosen, keys or (), "goes round again")


@app.command()
@on_stack
def discard(
    deployment: "Deployment",
    keys: Keys = None,
    every: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete dead letters for good. The images and the reports on them stay."""
    from image_drop_cli.dead_letters import DeadLetters

    dead = DeadLetters(deployment)
    if every == bool(keys):
        fail("Name keys, or give --all.", Exit.USAGE)
    if every:
        count = dead.count()
        if not yes and not typer.confirm(f"Delete about {count:,} dead letters for good?"):
            raise typer.Exit(Exit.NEEDS_YOU)
        say(f"{dead.discard_all():,} dead letters are deleted.")
        return
    with dead.held(MOST) as letters:
        chosen = _about(keys or (), letters)
        dead.discard(chosen)
    _conclude(chosen, keys or (), "is deleted")


def _about(keys: Iterable[str], letters: Iterable["DeadLetter"]) -> list["DeadLetter"]:
    wanted = set(keys)
    return [each for each in letters if each.upload and each.upload.key in wanted]


def _conclude(chosen: Sequence["DeadLetter"], keys: Iterable[str], what: str) -> None:
    found = {each.upload.key for each in chosen if each.upload}
    for letter in chosen:
        say(f"{_name(letter)} {what}.")
    if missing := [key for key in keys if key not in found]:
        fail(f"There is no dead letter about {', '.join(missing)}.", Exit.NEEDS_YOU)


def _name(letter: "DeadLetter") -> str:
    if letter.upload is None:
        return "(a message that is none of Image Drop's)"
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
