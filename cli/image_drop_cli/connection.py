"""Which stack a command works on, and how it prints what it has to say."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from image_drop_cli.wording import printable

if TYPE_CHECKING:
    from rich.text import Text

    from image_drop_cli.aws import Aws
    from image_drop_cli.deployment import Deployment

STACK_NAME = "image-drop"
LOCAL_PORT = "4566"  # of `make local`, unless PORT says otherwise

STACK_OPTIONS = {
    "stack": Annotated[
        str | None,
        typer.Option(
            envvar="IMAGE_DROP_STACK",
            metavar="NAME",
            help="Name of the stack on AWS. Without it, the embedded stack is used if it is "
            "running, else the stack image-drop.",
            rich_help_panel="Which stack",
        ),
    ],
    "region": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="AWS region of the stack. Without it, the region of your AWS configuration.",
            rich_help_panel="Which stack",
        ),
    ],
    "profile": Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="AWS profile whose credentials are used.",
            rich_help_panel="Which stack",
        ),
    ],
    "endpoint_url": Annotated[
        str | None,
        typer.Option(
            envvar="AWS_ENDPOINT_URL",
            metavar="URL",
            help="URL of the embedded stack, if it is not on its usual port.",
            rich_help_panel="Which stack",
        ),
    ],
}
ACCOUNT_OPTIONS = {
    "stack": Annotated[
        str | None,
        typer.Option(
            envvar="IMAGE_DROP_STACK",
            metavar="NAME",
            help="Name of the stack on AWS. Without it, image-drop.",
            rich_help_panel="Which stack",
        ),
    ],
    "region": STACK_OPTIONS["region"],
    "profile": STACK_OPTIONS["profile"],
    "endpoint_url": Annotated[
        str | None,
        typer.Option(
            envvar="AWS_ENDPOINT_URL",
            metavar="URL",
            help="URL of an embedded AWS. Without it, your account on AWS.",
            rich_help_panel="Which stack",
        ),
    ],
}
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@dataclass(frozen=True)
class Target:
    """An account with its region, and the name of a stack that need not be there."""

    aws: "Aws"
    stack: str

    @property
    def place(self) -> str:
        """The account and the region, in words."""
        return f"account {self.aws.account}, region {self.aws.region}"

    @property
    def options(self) -> str:
        """The options that choose this stack, to be shown in a command; empty for the usual one."""
        return f" --stack {self.stack}" if self.stack != STACK_NAME else ""

    def deployment(self) -> "Deployment":
        """Return the deployed stack. Raise `DeploymentError`."""
        from image_drop_cli.deployment import Deployment

        return Deployment.of(self.aws, self.stack)


class Exit(IntEnum):
    """What a command's exit code means."""

    DONE = 0
    NEEDS_YOU = 1  # something was refused, does not exist, or needs a decision
    USAGE = 2  # the command line is wrong
    UNUSABLE = 3  # the stack, its region or your credentials cannot be used
    NETWORK = 4  # the network failed; `put` continues where it stopped
    INTERRUPTED = 130  # Ctrl-C


class Screen(Console):
    """A console on which no text can do anything; colours come from our own markup alone."""

    def render_str(self, text: str, **options: Any) -> "Text":
        """Make strings printable where rich takes them in, so that it measures what it shows."""
        return super().render_str(printable(text), **options)


def console() -> Console:
    """Return a console for what a person reads; it folds no lines that go into a file."""
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
    """End the command with a sentence on standard error."""
    say(f"image-drop: {sentence}", err=True)
    raise typer.Exit(code)


def on_stack(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose a stack, which it gets as its `deployment`.

    An error of AWS or of the stack ends the command with a sentence and an exit code.
    """
    return explaining()(with_options(command, "deployment", STACK_OPTIONS, connect))


def on_account(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that choose an account and a name, which it gets as `target`.

    The stack need not exist. A running embedded stack is used only if its URL is named, so that
    nobody deploys to it, or destroys it, by mistake.
    """
    return explaining()(with_options(command, "target", ACCOUNT_OPTIONS, _target))


def with_options(
    command: Callable[..., None],
    parameter: str,
    options: Mapping[str, Any],
    make: Callable[..., Any],
) -> Callable[..., None]:
    """Replace a parameter of a command by `options`, from whose values `make` makes its own.

    `options`: typer's annotations by name. Every option is optional; without it, its value is None.
    """
    signature = inspect.signature(command)

    @functools.wraps(command)
    def expanded(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in options}
        command(**{parameter: make(**chosen)}, **values)

    own = [each for each in signature.parameters.values() if each.name != parameter]
    new = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in options.items()
    ]
    expanded.__signature__ = signature.replace(parameters=[*own, *new])  # type: ignore[attr-defined]
    expanded.__annotations__ = {each.name: each.annotation for each in [*own, *new]}
    return expanded


def connect(
    stack: str | None, region: str | None, profile: str | None, endpoint_url: str | None
) -> "Deployment":
    """Return the stack that was named, else the embedded one if it runs, else image-drop on AWS.

    Raise `DeploymentError`.
    """
    from image_drop_cli.deployment import Deployment

    if endpoint_url is None and stack is None:
        endpoint_url = running_locally(os.environ.get("PORT", LOCAL_PORT))
    return Deployment.find(
        stack or STACK_NAME, endpoint_url=endpoint_url, region=region, profile=profile
    )


def _target(
    stack: str | None, region: str | None, profile: str | None, endpoint_url: str | None
) -> "Target":
    from image_drop_cli.aws import Aws

    aws = Aws.connect(endpoint_url=endpoint_url, region=region, profile=profile)
    return Target(aws, stack or STACK_NAME)


def running_locally(port: str) -> str | None:
    """Return the endpoint of an embedded stack on this machine, or None if none is running."""
    import requests

    url = f"http://127.0.0.1:{port}"
    with requests.Session() as session:
        session.trust_env = False  # this machine needs no proxy to reach itself
        try:
            healthy = session.get(f"{url}/_ministack/health", timeout=1).ok
        except requests.RequestException:
            return None
    return url if healthy else None


def has_display() -> bool:
    """Return whether somebody sits in front of this machine and can see a browser."""
    if not sys.stdout.isatty():
        return False
    desktop = sys.platform in ("darwin", "win32")
    return desktop or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def explaining() -> Iterator[None]:
    """Turn an error of AWS or of the stack into a sentence and an exit code."""
    from botocore.exceptions import BotoCoreError, ClientError

    from image_drop.errors import SettingsError, UnreadableObjectError
    from image_drop_cli.aws import NETWORK_GONE, DeploymentError, explained

    try:
        yield
    except DeploymentError as error:
        fail(str(error), Exit.UNUSABLE)
    except SettingsError as error:
        fail(
            f"A parameter of the stack is wrong: {error.detail}. Correct it with "
            "`image-drop deploy --parameter`.",
            Exit.UNUSABLE,
        )
    except UnreadableObjectError as error:
        fail(f"{error.detail} {error.advice}", Exit.UNUSABLE)
    except NETWORK_GONE as error:
        fail(
            f"{explained(error)} Run the command again when the network is back; `put` continues "
            "where it stopped.",
            Exit.NETWORK,
        )
    except (BotoCoreError, ClientError) as error:
        fail(explained(error), Exit.UNUSABLE)
