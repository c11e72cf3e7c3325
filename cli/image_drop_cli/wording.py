"""What a person reads: numbers in words, and text of strangers that does nothing to a terminal."""

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_drop.state.circuit_breaker import Status
    from image_drop.state.scans import Scan
    from image_drop_cli.upload.estimate import Progress


# Controls of ASCII and Latin-1 (a terminal obeys both), line and paragraph separators, what turns
# the direction of text around, and halves of characters, which cannot be printed.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return one line that a terminal shows and does not obey.

    Keys, reports and instructions are written by strangers. Characters that move the cursor, change
    colours, start a new line or turn text around become escapes such as `\u001b`. In JSON those
    mean the same characters.
    """
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as `1 report` or `2,000 reports`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def moment(at: float) -> str:
    """Return a time in UTC to the second. `at`: seconds since 1970."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Return a time such as `40 s`, `3 min`, `5.5 h` or `12 days`."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.0f} days"


def time_left(progress: "Progress") -> str:
    """Return how long an upload will take, as far as that is known."""
    if progress.paused:
        return f"processing is paused: {printable(progress.paused)}"
    parts = [f"{progress.queued:,} in the queue"] if progress.queued else []
    if progress.seconds_left:
        left = duration(progress.seconds_left)
        parts.append(f"about {left} left at {counted(progress.limit, 'call')} a minute")
    return " · ".join(parts)


def how_it_resumes(pause: "Status") -> str:
    """Return what ends a pause, in a sentence."""
    if pause.by_hand:
        return "Resume with `image-drop resume`."
    if pause.limit_usd is not None:
        return (
            "It resumes after midnight UTC, or when you raise the limit of today with "
            "`image-drop limit USD`."
        )
    return "It resumes by itself within five minutes after the cause is gone."


def backfill_status(scan: "Scan | None") -> str:
    """Return how far the last backfill is, in a sentence."""
    if scan is None:
        return "No backfill has been started."
    what = (
        f"{scan.prefix or 'the whole bucket'}: {counted(scan.seen, 'image')} scanned, "
        f"{scan.queued:,} queued"
    )
    if scan.cancelled:
        return f"{what}; cancelled."
    if scan.finished is not None:
        return f"{what}; finished {duration(time.time() - scan.finished)} ago."
    return f"{what}; running for {duration(time.time() - scan.started)}."


def folders_status(scan: "Scan") -> str:
    """Return which folders are looked at again, because their files have changed."""
    parts = []
    if scan.running:
        parts.append(
            f"looking again at {scan.prefix or 'the whole bucket'}: "
            f"{counted(scan.seen, 'image')} scanned, {scan.queued:,} queued"
        )
    if scan.folders:
        parts.append(f"{counted(len(scan.folders), 'folder')} next, within minutes")
    return "; ".join(parts)
