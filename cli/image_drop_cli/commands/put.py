"""`image-drop put`: upload images, follow their edits, fetch the results."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from image_drop_cli.connection import Exit, Json, fail, on_stack, say, say_json
from image_drop_cli.instruction_options import Overwrite, with_instructions
from image_drop_cli.plan_words import (
    CONFIRM_OVER,
    ConfirmOver,
    DryRun,
    Yes,
    confirmed,
    require_consent,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_drop_cli.deployment import Deployment

OUT = Path("image-drop-out")


@on_stack
@with_instructions
def put(
    deployment: "Deployment",
    paths: Annotated[
        list[Path],
        typer.Argument(exists=True, metavar="PATH", help="Images and folders to upload."),
    ],
    instructions: dict[str, Any],
    to: Annotated[
        str, typer.Option(metavar="FOLDER", help="Folder of the input bucket to upload to.")
    ] = "",
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", file_okay=False, help="Folder on this machine for the results."
        ),
    ] = OUT,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help="Wait for the results and download them, or only upload."
        ),
    ] = True,
    overwrite: Overwrite = False,
    sample: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Edit N images first, spread over the folder, and show them before the others.",
        ),
    ] = 0,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Then wait for new images in the folders, until Ctrl-C."),
    ] = False,
    move_done: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="With --watch, move each image here when its results have arrived.",
        ),
    ] = None,
    confirm_over: ConfirmOver = CONFIRM_OVER,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Upload images and folders, wait for the results, and download them.

    Says first how many calls that takes, what they cost, and what is wrong already. Files that are
    no images stay at home.

    A folder keeps its name. Its .image-drop.json and its _layers/ are uploaded too, and so is a
    file shoe.jpg.json next to shoe.jpg. Options such as --mode override what those files say.

    You can stop with Ctrl-C: images that are uploaded are still processed. Run the same command
    again to continue; it uploads only what is missing. With --json, each line is one event.
    """
    from image_drop_cli.put_output import tell_plan
    from image_drop_cli.putting import Putting
    from image_drop_cli.upload.plan import plan_upload

    _require_sense(paths, to, watch=watch, wait=wait, sample=sample, move_done=move_done)
    putting = Putting(
        deployment, tuple(paths), to, instructions, out, wait, overwrite, json, move_done
    )
    plan = plan_upload(putting.files(), deployment)
    tell_plan(plan, json=json)
    if dry_run:
        raise typer.Exit(Exit.NEEDS_YOU if plan.problems or plan.not_sent else Exit.DONE)
    try:
        if sample:
            require_consent(plan.part(sample), confirm_over, yes=yes, json=json)
            sheet = putting.sample(plan, sample)
            _require_going_on(plan.usd, sheet, yes=yes, json=json)
        else:
            require_consent(plan, confirm_over, yes=yes, json=json)
        counts = putting.watch() if watch else putting.carry_out(plan)
    except KeyboardInterrupt:
        say(
            "",
            "Stopped waiting. Uploaded images are still being processed. Run the same command "
            "again to fetch their results, or `image-drop status` to see the queue.",
            err=True,
        )
        raise typer.Exit(Exit.INTERRUPTED) from None
    if json:
        say_json({"event": "end"} | counts.as_dict(), indent=0)
    else:
        say(counts.summary(out if wait else None))
    raise typer.Exit(counts.exit_code)


def _require_sense(
    paths: "Sequence[Path]",
    to: str,
    *,
    watch: bool,
    wait: bool,
    sample: int,
    move_done: Path | None,
) -> None:
    """End the command if its options do not fit together."""
    from image_drop.uploads import starts_nothing

    if starts_nothing(f"{to.strip('/')}/image" if to else "image"):
        fail(
            f"Images in {to} are never edited: the folder is hidden, or holds layers. Choose "
            "another folder with --to.",
            Exit.USAGE,
        )
    if watch and not all(path.is_dir() for path in paths):
        fail("--watch needs folders. Name the folder instead of its files.", Exit.USAGE)
    if move_done and not (watch and wait):
        fail("--move-done needs --watch, and does not go with --no-wait.", Exit.USAGE)
    if sample and not wait:
        fail("--sample shows results, so it does not go with --no-wait.", Exit.USAGE)


def _require_going_on(usd: float, sheet: Path | None, *, yes: bool, json: bool) -> None:
    """Ask whether the sample is good. End the command unless the answer is yes."""
    if sheet:
        say(f"The sample is in {sheet}.")
    if yes:
        return
    question = f"Go on with all of them, for about ${usd:,.2f} in total?"
    if json or not confirmed(question):
        say(
            "Stopped after the sample. Run the command again without --sample to go on: what is "
            "there is not paid again.",
            err=json,
        )
        raise typer.Exit(Exit.NEEDS_YOU)
