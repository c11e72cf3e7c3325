"""The simulator's calls and its ledger of charges, for tests and benchmarks.

It keeps no prompt, key or picture.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import Literal

KEPT = 100_000  # calls; older ones are removed

Refusal = Literal["rate_limit", "lock_out"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to the API.

    `at`: arrival, seconds since 1970 by the simulator's clock. `status`: None if the connection
    was dropped or held without an answer. `image_sha256`: of the first image's bytes; None if the
    request was refused before its image was read. `refused`: the limit that refused the call.
    `fault`: the planned failure that it met. `key_sha256`: of the API key; None without one.
    `charged_usd`: even if the answer was lost or is an error.
    """

    at: float
    path: str
    status: int | None
    key_sha256: str | None = None
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
    """Thread-safe record of calls; `clear` does not reset `spent_usd` and `charges`.

    A call is recorded when its work is done, before its answer is sent. A call whose client has
    gone may be recorded later; `wait_until_idle` waits for it.
    """

    def __init__(self) -> None:
        self._lock = Condition()
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._charges: deque[Call] = deque(maxlen=KEPT)
        self._spent_usd = 0.0
        self._in_flight = 0

    @property
    def spent_usd(self) -> float:
        return self._spent_usd

    def add(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)
            if call.paid:
                self._charges.append(call)
            self._spent_usd = round(self._spent_usd + call.charged_usd, 6)

    def snapshot(self) -> list[Call]:
        with self._lock:
            return list(self._calls)

    def charges(self) -> list[Call]:
        """Return the ledger: every charged call, in the order of the charges."""
        with self._lock:
            return list(self._charges)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a call as in progress while the body runs."""
        with self._lock:
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
                self._lock.notify_all()

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no call is in progress; return False if that takes longer than `seconds`."""
        with self._lock:
            return self._lock.wait_for(lambda: self._in_flight == 0, seconds)

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()


def most_in(calls: Iterable[Call], seconds: float = 60.0) -> int:
    """Return the largest number of calls that arrived within any period of that length."""
    times = sorted(call.at for call in calls)
    first = most = 0
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
