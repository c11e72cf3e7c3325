"""The options of a command that stand for instructions, such as --mode and --prompt."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from image_drop_cli.connection import Exit, fail, with_options

PANEL = "Instructions"
INSTRUCTION_OPTIONS = {
    "mode": Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="Kind of edit: edit, multi-edit, background-remove or upscale.",
            rich_help_panel=PANEL,
        ),
    ],
    "prompt": Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Description of the edit, in words.",
            rich_help_panel=PANEL,
        ),
    ],
    "model": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Venice model that makes the edit. Without it, Venice's default.",
            rich_help_panel=PANEL,
        ),
    ],
    "aspect_ratio": Annotated[
        str | None,
        typer.Option(
            metavar="RATIO",
            help="Aspect ratio of the result, such as 16:9.",
            rich_help_panel=PANEL,
        ),
    ],
    "layer": Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Mask or overlay for multi-edit: an object key relative to the image's folder, "
            "or an https URL. Repeat the option for more layers.",
            rich_help_panel=PANEL,
        ),
    ],
    "finish": Annotated[
        str | None,
        typer.Option(
            metavar="FINISH",
            help="Frame and file format of the result: the name of a preset, such as amazon, or "
            'JSON such as {"trim": true}.',
            rich_help_panel=PANEL,
        ),
    ],
}
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace different files that already exist.")
]


def with_instructions(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options for instructions, which it gets as its `instructions`."""
    return with_options(command, "instructions", INSTRUCTION_OPTIONS, instructions_of)


def instructions_of(layer: list[str] | None, finish: str | None, **others: Any) -> dict[str, Any]:
    """Return the options as instructions. End the command if one is wrong."""
    values = {**others, "layers": layer or None, "finish": _finish(finish)}
    given = {key: value for key, value in values.items() if value is not None}
    for key in given:
        _require_valid(key, given[key])
    return given


def _require_valid(key: str, value: Any) -> None:
    from image_drop.errors import InstructionsError
    from image_drop.instructions.sources import Source, checked

    option = "--layer" if key == "layers" else f"--{key.replace('_', '-')}"
    try:
        checked(Source(option, {key: value}))
    except InstructionsError as error:
        fail(f"{error.detail} Correct {option}; --help describes it.", Exit.USAGE)


def _finish(text: str | None) -> Any:
    """Return the name of a preset, or the object that the text is in JSON."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        fail(
            f"--finish is not JSON: {error}. Give it in quotes, such as "
            """--finish '{"trim": true}'.""",
            Exit.USAGE,
        )
