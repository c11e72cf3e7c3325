"""Venice in virtual time, behind the one method of `requests.Session` that the client calls.

Limits and lock-out are the simulator's own; what is added here is time, and the count of calls.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from requests.structures import CaseInsensitiveDict

from image_drop.venice.exchange import Reply
from image_drop_local.simulator.limits import LockOut, RateLimit
from image_drop_local.simulator.settings import Settings
from tests.simulation.world import World

EDIT_SPREAD = 0.25  # sigma of the edits' log-normal durations: two thirds take 9 to 15 s
WAY = 0.08  # median seconds for a request to arrive with its photo, over a connection in use
CONNECT = 0.12  # more for the first request of an environment: TCP and TLS
MODEL = "firered-image-edit"


@dataclass
class Venice:
    """One account and key. `unavailable` is the share of calls that are answered 503.

    `outage`: from when until when, in seconds since 1970, calls are answered 402. With
    `outage_shows` the account's page says so, too; the spending limit of a single key does not.
    """

    world: World
    settings: Settings
    result: bytes
    edit_seconds: float = 12.0
    unavailable: float = 0.001
    outage: tuple[float, float] = (0.0, 0.0)
    outage_shows: bool = True
    answers: Counter[str] = field(default_factory=Counter)
    arrivals: list[float] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)
    rate_limit: RateLimit = field(default_factory=RateLimit)
    lock_out: LockOut = field(default_factory=LockOut)

    @property
    def out(self) -> bool:
        """Whether the account is unavailable now."""
        return self.outage[0] <= self.world.time < self.outage[1]

    def page(self) -> Reply:
        """`GET /api_keys/rate_limits`."""
        usable = not (self.out and self.outage_shows)
        limit = {"amount": self.settings.limit, "type": "RPM"}
        data = {
            "accessPermitted": usable,
            "balances": {"USD": 1000.0 * usable, "DIEM": 0},
            "rateLimits": [{"apiModelId": MODEL, "rateLimits": [limit]}],
        }
        return _response(200, {}, json.dumps({"data": data}).encode())

    def edit(self, image: str) -> Reply:
        """`POST /image/edit`, from its arrival on. What is edited is told by the prompt."""
        now, settings = self.world.time, self.settings
        self.arrivals.append(now)
        until = self.lock_out.ends("key", now)
        if until is not None:
            words = "Too many failed attempts (> 20) resulting in a non-success status code."
            return self._refuse(429, "locked out", words, _retry_after(until - now))
        if self.out:
            self._failed()
            return self._refuse(402, "no balance", "Insufficient USD balance.")
        quota = self.rate_limit.take(MODEL, now, settings)
        headers = {
            "x-ratelimit-limit-requests": str(quota.limit),
            "x-ratelimit-remaining-requests": str(quota.remaining),
            "x-ratelimit-reset-requests": str(math.ceil(quota.reset_at * 1000)),
        }
        if not quota.granted:
            self._failed()
            headers |= _retry_after(quota.reset_at - now)
            return self._refuse(429, "rate limited", "Rate limit exceeded", headers)
        if self.world.rng.random() < self.unavailable:
            self.world.sleep(1.0)
            self._failed()
            return self._refuse(503, "unavailable", "The model is at capacity.", headers)
        median = self.edit_seconds / math.exp(EDIT_SPREAD**2 / 2)  # so that the mean is right
        self.world.sleep(self.world.about(median, EDIT_SPREAD))
        self.answers["edited"] += 1
        self.paid[image] += 1
        return _response(200, headers | {"x-venice-model-id": MODEL}, self.result)

    def _failed(self) -> None:
        """Every failure counts, 429 and 5xx too: the hardest reading of Venice's documents."""
        self.lock_out.fail("key", self.world.time, self.settings)

    def _refuse(
        self, status: int, why: str, words: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        self.answers[why] += 1
        return _response(status, headers or {}, json.dumps({"error": words}).encode())


@dataclass
class Session:
    """An environment's connection to Venice."""

    venice: Venice
    connected: bool = False

    def exchange(self, method: str, _url: str, _seconds: float, **body: Any) -> Reply:
        """Answer after the time that it takes, as `image_drop.venice.exchange.exchange` does."""
        world = self.venice.world
        way = world.about(WAY, 0.4) + (0.0 if self.connected else world.about(CONNECT, 0.4))
        self.connected = True
        world.sleep(way)
        if method == "GET":
            return self.venice.page()
        return self.venice.edit(body["data"]["prompt"])


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(seconds))}


def _response(status: int, headers: Mapping[str, str], content: bytes) -> Reply:
    return Reply(status, CaseInsensitiveDict(headers), content)
