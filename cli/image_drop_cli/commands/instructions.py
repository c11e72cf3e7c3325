"""Commands about instructions."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from image_drop_cli.connection import Exit, fail, say, say_json
from image_drop_cli.instruction_options import Overwrite, with_instructions


@with_instructions
def init(
    folder: Annotated[
        Path,
        typer.Argument(
            file_okay=False,
            metavar="FOLDER",
            help="Folder of images on this machine. It is created if it does not exist.",
        ),
    ],
    instructions: dict[str, Any],
    overwrite: Overwrite = False,
) -> None:
    """Write the instructions for every image in a folder, which makes it a drop box.

    They go into the file .image-drop.json. `image-drop put FOLDER` uploads it with the images.
    """
    from image_drop.uploads import FOLDER_FILE

    _require_complete(instructions)
    path = folder / FOLDER_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(json.dumps(instructions, indent=2, ensure_ascii=False) + "\n")
    except FileExistsError:
        fail(f"{path} already exists. Edit it, or replace it with --overwrite.", Exit.NEEDS_YOU)
    except OSError as error:
        fail(
            f"{path} cannot be written: {error.strerror}. Check the folder, or choose another.",
            Exit.NEEDS_YOU,
        )
    say(f"Wrote {path}. `image-drop put {folder}` uploads it with the images.")


def schema() -> None:
    """Print the JSON Schema of instructions, for editors and validators."""
    from image_drop.instructions.schema import json_schema

    say_json(json_schema())


def _require_complete(instructions: dict[str, Any]) -> None:
    """End the command if these instructions alone are not enough for an edit."""
    from image_drop.errors import InstructionsError, MissingPromptError, NoInstructionsError
    from image_drop.instructions.sources import Source, resolve

    try:
        resolve([Source("the command line", instructions)])
    except NoInstructionsError:
        fail("No instructions given. Describe the edit with --mode or --prompt.", Exit.USAGE)
    except MissingPromptError:
        fail(f"--mode {instructions['mode']} needs a prompt. Add --prompt.", Exit.USAGE)
    except InstructionsError as error:
        fail(f"{error.detail} {error.advice}", Exit.USAGE)
