"""What a person reads: numbers in words, and text of strangers that does nothing to a terminal."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_drop_cli.upload.drops import Progress


# Controls of ASCII and Latin-1 (a terminal obeys both), line and paragraph separators, what turns
# the direction of text around, and halves of characters, which cannot be printed.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return one line that a terminal shows and does not obey.

    Keys, reports and instructions are written by strangers. Characters that move the cursor, change
    colours, start a new line or turn text around become escapes such as `\\u001b`. In JSON those
    mean the same characters.
    """
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def duration(seconds: float) -> str:
    """Such as `40 s`, `3 min`, `5.5 h` or `12 days`."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.0f} days"


def progress(standing: "Progress") -> str:
    """How long a run will take, as far as that is known."""
    if standing.stopped:
        return f"the line is stopped: {printable(standing.stopped)} It goes on by itself."
    parts = [f"{standing.queued:,} in the queue"] if standing.queued else []
    if standing.seconds_left:
        parts.append(f"about {duration(standing.seconds_left)} left at {standing.limit} a minute")
    return " · ".join(parts)
