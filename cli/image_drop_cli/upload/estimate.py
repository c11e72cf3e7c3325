"""How long an upload will still take, from the rate limits and the length of the queue."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from image_drop.services import Services
from image_drop.state.slot_log import WINDOW
from image_drop_cli.wording import how_it_resumes


@dataclass(frozen=True)
class Progress:
    """How far an upload is.

    `pending`: results that it waits for. `queued`: messages in the retry queue, whoever sent
    them. `limit`: calls a minute of the model that takes longest. `seconds_left` follows from
    those; None while processing is paused, for the reason in `paused`.
    """

    pending: int = 0
    queued: int = 0
    limit: int = 0
    seconds_left: float | None = 0.0
    paused: str = ""


def estimate(pending: Mapping[str, int], services: Services) -> Progress:
    """Return the progress for so many `pending` results by the model whose rate is limited."""
    total = sum(pending.values())
    queued = services.queue.depth().total
    times = _times(pending, max(0, queued - total), services)
    seconds_left, limit = max(times, default=(0.0, 0))
    status = services.circuit_breaker.status()
    if status.stopped:
        reason = f"{status.detail} {how_it_resumes(status)}"
        return Progress(total, queued, limit, None, reason)
    return Progress(total, queued, limit, seconds_left)


def seconds_for(calls: Mapping[str, int], ahead: int, services: Services) -> float:
    """Return the seconds until so many calls by model have started, after `ahead` of others."""
    return max((seconds for seconds, _ in _times(calls, ahead, services)), default=0.0)


def _times(calls: Mapping[str, int], ahead: int, services: Services) -> list[tuple[float, int]]:
    return [_time_for(model, count + ahead, services) for model, count in calls.items()]


def _time_for(model: str, count: int, services: Services) -> tuple[float, int]:
    """Return the seconds until `count` calls have started at the model's rate, and that rate."""
    slots, _ = services.limiter.peek(model)
    now = services.now()
    free = max(0, slots.limit - sum(time > now - WINDOW for time in slots.times))
    return max(0, math.ceil((count - free) / slots.limit)) * WINDOW, slots.limit
