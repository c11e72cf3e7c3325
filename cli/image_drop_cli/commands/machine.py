"""Commands that start the whole system on this machine."""

import os
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from image_drop_cli.connection import Exit, fail


def local(
    port: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Port of the emulated AWS. Without it, the variable PORT, else 4566.",
        ),
    ] = None,
) -> None:
    """Run the embedded stack in the foreground, as `make local` does."""
    if port is not None:
        os.environ["PORT"] = str(port)
    _start("image_drop_local.emulator")


def demo(
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="Folder of your own photos. Without it, the variable PHOTOS, else sample photos.",
        ),
    ] = None,
) -> None:
    """Process real photographs in an embedded stack, as `make demo` does."""
    if photos is not None:
        os.environ["PHOTOS"] = str(photos)
    _start("image_drop_local.demo")


def _start(program: str) -> None:
    """Run a program of `image_drop_local` in this process, as `python -m` does.

    By its name, for the command line works without that package, which builds on it.
    """
    if not find_spec("ministack"):
        fail(
            "This needs the emulator. Install it with `uv tool install 'image-drop[local]'`, or "
            "run `uvx --from 'image-drop[local]' image-drop demo`.",
            Exit.USAGE,
        )
    runpy.run_module(program, run_name="__main__", alter_sys=True)
