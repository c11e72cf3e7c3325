"""What the simulator was asked, for tests and benchmarks. No prompt, key or picture is kept."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

KEPT = 100_000  # the oldest calls are forgotten beyond this

Refusal = Literal["rate_limit", "lock_out"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to the API.

    `at`: arrival, seconds since 1970 by the simulator's clock. `status`: None if the connection
    was dropped or held without an answer. `image_sha256`: of the first image's bytes; None if the
    request was refused before its image was read. `refused`: which limit turned the call away.
    `fault`: which of the ordered failures struck it.
    """

    at: float
    path: str
    status: int | None
    model: str | None = None
    charged_usd: float = 0.0
    image_sha256: str | None = None
    prompt_length: int = 0
    refused: Refusal | None = None
    fault: str | None = None

    @property
    def paid(self) -> bool:
        return self.charged_usd > 0


class Calls:
    """Thread-safe record; `spent_usd` goes on counting over `clear`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._spent_usd = 0.0

    @property
    def spent_usd(self) -> float:
        return self._spent_usd

    def add(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)
            self._spent_usd = round(self._spent_usd + call.charged_usd, 6)

    def snapshot(self) -> list[Call]:
        with self._lock:
            return list(self._calls)

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()


def most_in(calls: Iterable[Call], seconds: float = 60.0) -> int:
    """The largest number of calls that arrived within any stretch of that length."""
    times = sorted(call.at for call in calls)
    first = most = 0
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
