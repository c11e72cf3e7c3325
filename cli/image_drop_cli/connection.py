"""Which stack a command works on, and how it says that something is wrong."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, NoReturn

import typer
from rich.console import Console

from image_drop_cli.wording import printable

if TYPE_CHECKING:
    from rich.text import Text

    from image_drop_cli.deployment import Deployment

STACK_NAME = "image-drop"
LOCAL_PORT = "4566"  # of `make local`, unless PORT says otherwise

Stack = Annotated[
    str | None,
    typer.Option(
        "--stack",
        envvar="IMAGE_DROP_STACK",
        metavar="NAME",
        help="A stack on AWS. Left out: the embedded one if it runs, else image-drop.",
        rich_help_panel="Which stack",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(help="Its AWS region. Left out: your own.", rich_help_panel="Which stack"),
]
Profile = Annotated[
    str | None,
    typer.Option(help="Your profile of AWS credentials.", rich_help_panel="Which stack"),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        envvar="AWS_ENDPOINT_URL",
        metavar="URL",
        help="Where the embedded stack is, if not at its usual port.",
        rich_help_panel="Which stack",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, for scripts.")]


class Exit(IntEnum):
    """What a command's exit code means."""

    DONE = 0
    NEEDS_YOU = 1  # something was refused, is not there, or waits for a decision
    USAGE = 2  # the command line is wrong
    UNUSABLE = 3  # the stack, its region or your credentials cannot be used
    NETWORK = 4  # the network went away: run it again, it goes on where it stopped
    INTERRUPTED = 130  # Ctrl-C


class Screen(Console):
    """A console on which no text can do anything; colours come from our own markup alone."""

    def render_str(self, text: str, **options: Any) -> "Text":
        """Make strings printable where rich takes them in, so that it measures what it shows."""
        return super().render_str(printable(text), **options)


def console() -> Console:
    """For what a person reads; lines are not folded where they go into a file."""
    return Screen(highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def say(*lines: str, err: bool = False) -> None:
    """Print lines of plain text, on standard error with `err`."""
    for line in lines:
        typer.echo(printable(line), err=err)


def say_json(value: Any, indent: int = 2) -> None:
    """Print a value as JSON; `indent` 0 makes it one line. Paths are printed as text."""
    import msgspec

    text = msgspec.json.encode(value, enc_hook=str)
    if indent:
        text = msgspec.json.format(text, indent=indent)
    say(*text.decode().split("\n"))


def fail(sentence: str, code: Exit) -> NoReturn:
    """End with a sentence on standard error."""
    say(f"image-drop: {sentence}", err=True)
    raise typer.Exit(code)


def on_stack[**P](
    command: Callable[Concatenate["Deployment", P], None],
) -> Callable[..., None]:
    """Gives a command the options that choose a stack; it gets the `Deployment` as its first
    argument. What AWS refuses ends as one sentence."""

    @functools.wraps(command)
    def connected(
        *args: Any,
        stack: str | None,
        region: str | None,
        profile: str | None,
        endpoint_url: str | None,
        **options: Any,
    ) -> None:
        with explaining():
            command(connect(stack, region, profile, endpoint_url), *args, **options)

    signature = inspect.signature(command)
    choosing = {"stack": Stack, "region": Region, "profile": Profile, "endpoint_url": EndpointUrl}
    parameters = [
        *list(signature.parameters.values())[1:],
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in choosing.items()
        ),
    ]
    del connected.__wrapped__  # typer would look for its signature
    connected.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    connected.__annotations__ = {each.name: each.annotation for each in parameters}
    return connected


def connect(
    stack: str | None, region: str | None, profile: str | None, endpoint_url: str | None
) -> "Deployment":
    """The stack that was named; or the embedded one, if it runs; or else image-drop on AWS."""
    from image_drop_cli.deployment import Deployment

    if endpoint_url is None and stack is None:
        endpoint_url = running_locally(os.environ.get("PORT", LOCAL_PORT))
    return Deployment.find(
        stack or STACK_NAME, endpoint_url=endpoint_url, region=region, profile=profile
    )


def running_locally(port: str) -> str | None:
    """The endpoint of an embedded stack on this machine, None where there is none."""
    import requests

    url = f"http://127.0.0.1:{port}"
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between this machine and itself
        try:
            healthy = session.get(f"{url}/_ministack/health", timeout=1).ok
        except requests.RequestException:
            return None
    return url if healthy else None


@contextmanager
def explaining() -> Iterator[None]:
    """Turn what AWS, or the stack, refuses into a sentence and an exit code."""
    from botocore.exceptions import BotoCoreError, ClientError

    from image_drop.errors import SettingsError, UnreadableObjectError
    from image_drop_cli.deployment import NETWORK_GONE, DeploymentError, explained

    try:
        yield
    except DeploymentError as error:
        fail(str(error), Exit.UNUSABLE)
    except SettingsError as error:
        fail(f"The stack's parameters are not as they should be: {error.detail}.", Exit.UNUSABLE)
    except UnreadableObjectError as error:
        fail(f"{error.detail} {error.advice}", Exit.UNUSABLE)
    except NETWORK_GONE as error:
        fail(f"{explained(error)} Run the command again; it goes on from here.", Exit.NETWORK)
    except (BotoCoreError, ClientError) as error:
        fail(explained(error), Exit.UNUSABLE)
