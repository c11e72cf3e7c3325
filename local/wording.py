"""Numbers as a person says them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.drops import Standing


def duration(seconds: float) -> str:
    """Such as `40 s`, `3 min`, `5.5 h` or `12 days`."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.0f} days"


def progress(standing: "Standing") -> str:
    """How long a run will take, as far as that is known."""
    if standing.stopped:
        return f"the line is stopped: {standing.stopped} It goes on by itself."
    parts = [f"{standing.queued:,} in the queue"] if standing.queued else []
    if standing.seconds_left:
        parts.append(f"about {duration(standing.seconds_left)} left at {standing.limit} a minute")
    return " · ".join(parts)
