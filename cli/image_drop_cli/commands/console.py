"""`image-drop console`: a page to drop images, look at results and decide about them."""

import time
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from image_drop_cli.connection import Exit, fail, has_display, on_stack, say

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment


@on_stack
def console(
    deployment: "Deployment",
    port: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            min=0,
            max=65535,
            help="Port of the page on this machine. Without it, 4580 if it is free.",
        ),
    ] = None,
    browser: Annotated[
        bool,
        typer.Option(
            "--browser/--no-browser",
            help="Open the page where there is a screen, or only print its address.",
        ),
    ] = True,
) -> None:
    """Show a page to drop images, look at the results and decide about them, until Ctrl-C.

    Only this machine can reach it, and only with the address that is printed. It uses your own AWS
    credentials.
    """
    from image_drop_cli.console.server import ConsoleServer

    try:
        with ConsoleServer(deployment, port=port) as page:
            say(f"The console is at {page.address}", "Ctrl-C stops it.")
            if browser and has_display():
                webbrowser.open(page.address)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        say("", "Stopped. Uploaded images are still being processed.")
    except OSError as error:
        fail(f"The page cannot be served: {error}. Choose another --port.", Exit.USAGE)
