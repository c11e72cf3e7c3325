"""`image-drop`, the command line: put images in, see what goes on, send failures round again.

It works on the embedded stack (`make local`, found by itself while it runs) and on a deployed one
(`--stack NAME`) with your own AWS credentials.

Exit codes: 0 done; 1 something needs you (a report, a file not sent, dead letters, a stopped line);
2 wrong usage; 3 stack, region or credentials unusable; 4 the network went away; 130 Ctrl-C.
"""

import typer

from image_drop_cli.commands import backfill, dead, images, instructions, machine, put, status

app = typer.Typer(
    name="image-drop",
    help=__doc__,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("put")(put.put)
app.command("status")(status.status)
app.add_typer(dead.app, name="dead")
app.command("retry")(images.retry)
app.command("explain")(images.explain)
app.add_typer(backfill.app, name="backfill")
app.command("init")(instructions.init)
app.command("schema")(instructions.schema)
app.command("local")(machine.local)
app.command("demo")(machine.demo)
