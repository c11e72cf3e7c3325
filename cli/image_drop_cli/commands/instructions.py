"""Commands about instructions, and the options that stand for them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from image_drop_cli.connection import Exit, fail, say, say_json

Mode = Annotated[
    str | None, typer.Option(help="edit, multi-edit or background-remove.", metavar="MODE")
]
Prompt = Annotated[str | None, typer.Option(help="What to do, in words.", metavar="TEXT")]
Model = Annotated[str | None, typer.Option(help="A Venice edit model.", metavar="NAME")]
AspectRatio = Annotated[str | None, typer.Option(help="Such as 16:9.", metavar="RATIO")]
Layer = Annotated[
    list[str] | None,
    typer.Option(
        "--layer", help="A mask or overlay: a key near the image, or an https URL.", metavar="KEY"
    ),
]
Finish = Annotated[
    str | None,
    typer.Option(help='amazon, shopify, square-white, or JSON such as {"trim": true}.'),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]


def instructions_of(
    *,
    mode: str | None,
    prompt: str | None,
    model: str | None,
    aspect_ratio: str | None,
    layer: list[str] | None,
    finish: str | None,
) -> dict[str, Any]:
    """The options as instructions. Ends the command where they are wrong."""
    from image_drop.errors import InstructionsError
    from image_drop.instructions.sources import Source, checked

    values = {
        "mode": mode,
        "prompt": prompt,
        "model": model,
        "aspect_ratio": aspect_ratio,
        "layers": layer or None,
        "finish": _finish(finish),
    }
    given = {key: value for key, value in values.items() if value is not None}
    try:
        checked(Source("the command line", given))
    except InstructionsError as error:
        fail(f"{error.detail} {error.advice}", Exit.USAGE)
    return given


def init(
    folder: Annotated[Path, typer.Argument(help="A folder of yours; it is made if need be.")],
    mode: Mode = None,
    prompt: Prompt = None,
    model: Model = None,
    aspect_ratio: AspectRatio = None,
    layer: Layer = None,
    finish: Finish = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a folder a drop box: write the file that says what becomes of every image in it.

    `image-drop put FOLDER` sends it along with the images.
    """
    from image_drop.errors import InstructionsError
    from image_drop.instructions.sources import Source, resolve
    from image_drop.uploads import FOLDER_FILE

    given = instructions_of(
        mode=mode,
        prompt=prompt,
        model=model,
        aspect_ratio=aspect_ratio,
        layer=layer,
        finish=finish,
    )
    try:
        resolve([Source("the command line", given)])
    except InstructionsError as error:
        fail(f"{error.detail} {error.advice}", Exit.USAGE)
    path = folder / FOLDER_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(json.dumps(given, indent=2, ensure_ascii=False) + "\n")
    except FileExistsError:
        fail(f"{path} is there already. Edit it, or give --overwrite.", Exit.NEEDS_YOU)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}.", Exit.NEEDS_YOU)
    say(f"{path} is written. `image-drop put {folder}` sends it along with the images.")


def schema() -> None:
    """Print the JSON Schema of instructions, for editors and validators."""
    from image_drop.instructions.schema import json_schema

    say_json(json_schema())


def _finish(text: str | None) -> Any:
    """The name of a preset, or the object that the text is in JSON."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        fail(f"--finish is not JSON: {error}.", Exit.USAGE)
