"""Moments that a person names: `--since 2026-11-24`, `--since 12h`."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}  # seconds
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Only what is newer: a day or time in UTC such as 2026-11-24 or 2026-11-24T18:30, or "
        "an age such as 30m, 12h or 7d.",
    ),
]


def parsed(text: str | None, now: float) -> float:
    """Return the moment that `--since` names, in seconds since 1970; 0 if it was not given.

    A time without a zone is UTC, as the days of the spend are. Raise `ValueError`.
    """
    if text is None:
        return 0.0
    if age := re.fullmatch(r"(\d{1,6})([mhd])", text):
        return now - int(age[1]) * UNITS[age[2]]
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def since(text: str | None, now: float) -> float:
    """Return the moment that `--since` names, see `parsed`. End the command if it is wrong."""
    from image_drop_cli.connection import Exit, fail

    try:
        return parsed(text, now)
    except (ValueError, OverflowError):
        fail(
            f"--since {text} is no time. Name a day such as 2026-11-24, or an age such as 12h.",
            Exit.USAGE,
        )
