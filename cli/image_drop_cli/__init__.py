"""`image-drop`, the command line."""

from importlib.metadata import version
from typing import Annotated

import typer

from image_drop_cli.commands import (
    backfill,
    clean,
    console,
    dead,
    deploy,
    destroy,
    doctor,
    explain,
    fetch,
    images,
    instructions,
    machine,
    manifest,
    operate,
    put,
    spend,
    status,
)
from image_drop_cli.connection import say

HELP = """Upload images, follow their edits, and retry what failed.

While `make local` is running, the commands use that embedded stack. Otherwise they use a stack on
AWS (`--stack NAME`) with your own AWS credentials.

Exit codes:

- 0: success
- 1: something needs you: a report, a file not sent, a dead letter, paused processing
- 2: wrong usage
- 3: the stack, its region or your credentials cannot be used
- 4: the network failed
- 130: Ctrl-C
"""

app = typer.Typer(
    name="image-drop",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"image-drop {version('image-drop')}")
        raise typer.Exit


@app.callback()
def image_drop(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None: ...


app.command("deploy")(deploy.deploy)
app.command("doctor")(doctor.doctor)
app.command("put")(put.put)
app.command("console")(console.console)
app.command("fetch")(fetch.fetch)
app.command("manifest")(manifest.manifest)
app.command("status")(status.status)
app.command("spend")(spend.spend)
app.add_typer(dead.app, name="dead")
app.command("retry")(images.retry)
app.command("explain")(explain.explain)
app.command("pause")(operate.pause)
app.command("resume")(operate.resume)
app.command("cancel")(operate.cancel)
app.command("limit")(operate.limit)
app.command("clean")(clean.clean)
app.add_typer(backfill.app, name="backfill")
app.command("init")(instructions.init)
app.command("schema")(instructions.schema)
app.command("destroy")(destroy.destroy)
app.command("local")(machine.local)
app.command("demo")(machine.demo)
