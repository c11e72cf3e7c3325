"""Venice in virtual time: the simulator's own API behind the one function that the client calls."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import msgspec
import requests
from requests.structures import CaseInsensitiveDict
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from image_drop.errors import ImageDropError, NoAnswerError, VeniceUnavailableError
from image_drop.venice.exchange import Reply
from image_drop_local.simulator.answers import Answer as HttpAnswer
from image_drop_local.simulator.api import Api
from image_drop_local.simulator.calls import Call
from image_drop_local.simulator.settings import Settings
from tests.simulation.faults import Fault
from tests.simulation.journal import Journal
from tests.simulation.machine import Machine
from tests.simulation.words import POISON, SECRET, STRANGER, UNKNOWN_MODEL
from tests.simulation.world import Answer, World

WAY = 0.1  # median seconds of a request's way, its photo included
EDIT = 8.0  # median seconds of an edit
# What a call may meet, and how often in a hundred that meet anything.
TROUBLE: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "429": (6, {"answer": 429}),
    "429 with Retry-After": (6, {"answer": 429, "retry_after": 40.0}),
    "overloaded": (4, {"answer": "overloaded"}),
    "500": (6, {"answer": 500}),
    "422 charged": (6, {"answer": 422, "endpoint": "edit", "charged": True}),
    "502": (4, {"answer": 502}),
    "503": (12, {"answer": 503}),
    "504 charged": (8, {"answer": 504}),
    "408 charged": (3, {"answer": 408}),
    "400": (4, {"answer": 400}),
    "422": (4, {"answer": 422}),
    "413": (2, {"answer": 413}),
    "402 for this one": (3, {"answer": 402}),
    "403 for this one": (2, {"answer": 403}),
    "violation": (3, {"answer": "content_violation"}),
    "html": (3, {"answer": "html"}),
    "empty": (3, {"answer": "empty"}),
    "dropped before": (5, {"answer": "drop"}),
    "dropped after": (8, {"answer": "drop_after"}),
    "reset after": (4, {"answer": "reset_after"}),
    "dropped in the middle": (5, {"answer": "drop_mid"}),
    "truncated": (3, {"answer": "truncated"}),
    "blurred": (2, {"answer": "blurred"}),
    "slow body": (3, {"answer": "slow_body"}),
    "reset before": (4, {"answer": "reset"}),
    "silent": (6, {"answer": "timeout"}),
    "slow": (5, {"answer": "slow", "seconds": 60.0}),
}
PAGES: Mapping[str, Mapping[str, Any]] = {  # of the account, and one that is made here
    "404": {"answer": 404},
    "500": {"answer": 500},
    "html": {"answer": "html"},
    "empty": {"answer": "empty"},
}


@dataclass
class Venice:
    """The account. `plan`: what the calls of these numbers meet.

    `wave`: what all calls meet until a time. A call with the prompt `POISON` is always refused.
    """

    world: World
    settings: Settings
    plan: Mapping[int, str]
    note: Callable[[str], object]
    journal: Journal
    numbers: int = 0
    wave: tuple[float, str] = 0.0, ""
    pages: Mapping[int, str] = field(default_factory=dict)  # what looks at the account meet
    looks: int = 0
    met: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = Api(self.settings, self.world.now, self._work)

    @staticmethod
    def drawn(seed: object, most: int, calls: int) -> Mapping[int, str]:
        """Draw what the calls meet."""
        rng = random.Random(f"{seed} venice")
        kinds, weights = list(TROUBLE), [weight for weight, _ in TROUBLE.values()]
        return {
            rng.randrange(calls): rng.choices(kinds, weights)[0]
            for _ in range(rng.randrange(most + 1))
        }

    @staticmethod
    def drawn_pages(seed: object, most: int, looks: int) -> Mapping[int, str]:
        """Draw what looks at the account meet."""
        rng = random.Random(f"{seed} pages")
        kinds = [*PAGES, "huge numbers"]
        return {rng.randrange(looks): rng.choice(kinds) for _ in range(rng.randrange(most + 1))}

    def change(self, **settings: Any) -> None:
        """Change some of the account's settings."""
        self.api.settings = msgspec.structs.replace(self.api.settings, **settings)

    @property
    def settings_now(self) -> Settings:
        """The account's settings."""
        return self.api.settings

    @property
    def book(self) -> list[Call]:
        """Every call that was charged."""
        return self.api.calls.charges()

    def exchange(
        self, machine: Machine, method: str, url: str, seconds: float, **request: Any
    ) -> Reply:
        """Answer as `image_drop.venice.exchange.exchange` does, from this machine."""
        name = url.rpartition("/api/v1")[2]
        try:
            reply = self._exchange(machine, name, method, url, seconds, **request)
        except ImageDropError:
            self.journal.failed(machine.keys)
            raise
        if reply.status != HTTPStatus.OK:
            self.journal.failed(machine.keys)
        return reply

    def _exchange(
        self, machine: Machine, name: str, method: str, url: str, seconds: float, **request: Any
    ) -> Reply:
        fault = machine.cloud.strike(f"venice {name}", machine)
        if seconds <= 0:
            raise VeniceUnavailableError("No time was left to call Venice.")
        if fault is Fault.KILLED_BEFORE:
            machine.die(f"before {name}")
        if fault in (Fault.REFUSED, Fault.THROTTLED, Fault.TIMED_OUT):
            machine.sleep(1.0)
            raise VeniceUnavailableError("Connection refused.")
        reply = Answer()
        http = _http(method, url, request)
        begun = self.world.time
        self.world.start(
            self.world.about(WAY, 0.4), lambda: reply.give(self._answer(http, name, machine))
        )
        if fault is Fault.KILLED_AFTER:
            machine.sleep(self.world.rng.uniform(0.0, 2 * EDIT))
            machine.die(f"during {name}")
        if fault in (Fault.LOST, Fault.REPEATED):
            machine.sleep(min(seconds, self.world.rng.uniform(0.5, 2 * EDIT)))
            raise NoAnswerError("The connection broke.")
        came = machine.wait_for(reply, seconds)
        if not came:
            self.met.append("too slow")
            self.journal.met(self.world.time, machine.function, machine.keys)
            self.journal.may_be_unknown(self.world.time, machine.keys)
            self.note(f"Venice takes longer than {seconds:.0f} s")
        answer: HttpAnswer | None = reply.value if came else None
        if answer is None or answer.delivery in ("none", "reset", "half"):
            raise NoAnswerError("No whole answer came.")
        if answer.delivery in ("held", "slow_head", "slow_body"):
            machine.sleep(max(0.0, begun + seconds - self.world.time))
            raise NoAnswerError("No whole answer came in time.")
        machine.sleep(self.world.about(WAY, 0.4))
        headers = CaseInsensitiveDict({"Content-Type": answer.content_type, **answer.headers})
        return Reply(answer.status, headers, answer.body)

    def _answer(self, http: Request, name: str, machine: Machine) -> HttpAnswer:
        body, kind = b"", None
        if name.startswith("/image/"):
            body = http.get_data()
            self._look_at(body)
            until, wave = self.wave
            kind = self.plan.get(self.numbers) or (wave if self.world.time < until else None)
            self.numbers += 1
            self.api.faults.clear()  # what was meant for a call that could not meet it
            self.api.faults.add(403, prompt=POISON)
            if kind:
                self.met.append(kind)
                self.journal.met(self.world.time, machine.function, machine.keys)
                self.journal.may_be_unknown(self.world.time, machine.keys)
                self.note(f"Venice answers call {self.numbers - 1} with: {kind}")
                self.api.faults.add(times=1, **TROUBLE[kind][1])
        page: str | None = None
        if name.startswith("/api_keys"):
            page = self.pages.get(self.looks)
            self.looks += 1
            if page and page in PAGES:
                self.api.faults.clear()
                self.api.faults.add(times=1, endpoint="rate_limits", **PAGES[page])
        with http:  # closes the uploaded files
            answer = self.api.answer(http)
        known = UNKNOWN_MODEL.encode() not in body
        if body and not kind and known and answer.status in (400, 404, 413, 422):
            self.journal.broken.append(f"Venice refused with {answer.status} what could be known")
        if page == "huge numbers":
            answer = replace(
                answer, body=re.sub(rb'"amount": ?\d+', b'"amount":1e308', answer.body)
            )
        if page:
            self.note(f"Venice answers look {self.looks - 1} at the account with: {page}")
        return answer

    def _look_at(self, body: bytes) -> None:
        """Note what must never be sent."""
        if STRANGER.encode() in body:
            self.journal.broken.append("a stranger's prompt was sent to Venice")
        if SECRET in body:
            self.journal.broken.append("a photo was sent with its metadata")

    def _work(self, seconds: float) -> None:
        self.world.sleep(self.world.about(seconds, 0.4) if seconds else 0.0)


def _http(method: str, url: str, request: Mapping[str, Any]) -> Request:
    prepared = requests.Request(method, url, **request).prepare()
    body = prepared.body if isinstance(prepared.body, bytes) else (prepared.body or "").encode()
    path, _, query = prepared.path_url.partition("?")
    builder = EnvironBuilder(
        path=path,
        query_string=query,
        method=method,
        data=body,
        headers=list(prepared.headers.items()),
    )
    return Request(builder.get_environ())
