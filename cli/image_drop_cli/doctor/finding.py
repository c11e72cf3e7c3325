"""A finding of the doctor, and how checks are run one after the other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from image_drop_cli.aws import explained, is_denied

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment


class Level(StrEnum):
    """How a finding is."""

    FINE = "fine"
    NOTE = "note"  # worth knowing; nothing is broken
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What a check found. `cure`: what to do about it; empty if it is fine."""

    check: str
    level: Level
    text: str
    cure: str = ""


type Check = Callable[["Deployment"], Iterable[Finding]]


def fine(check: str, text: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check, Level.FINE, text)


def note(check: str, text: str, cure: str) -> Finding:
    """Return something worth knowing."""
    return Finding(check, Level.NOTE, text, cure)


def problem(check: str, text: str, cure: str) -> Finding:
    """Return that something is broken."""
    return Finding(check, Level.PROBLEM, text, cure)


def examine(deployment: "Deployment", checks: Iterable[Check]) -> Iterator[Finding]:
    """Yield the findings of all checks. A check that fails is a finding too, not the end."""
    for check in checks:
        name = check.__name__.replace("_", " ")
        try:
            yield from check(deployment)
        except (BotoCoreError, ClientError) as error:
            kind = note if is_denied(error) else problem
            yield kind(name, "This could not be checked.", explained(error))
