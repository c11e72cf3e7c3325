"""Commands that start the whole system on this machine."""

import os
from pathlib import Path
from typing import Annotated

import typer


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
    from image_drop_local.emulator import __main__

    if port is not None:
        os.environ["PORT"] = str(port)
    __main__.main()


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
    from image_drop_local.demo import run as the_demo

    if photos is not None:
        os.environ["PHOTOS"] = str(photos)
    raise typer.Exit(the_demo.main())
