"""Any burst of images against models of Venice: under the limit, never locked out, at full rate."""

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_drop.state.rates import (
    Rates,
    block,
    fail,
    opens_at,
    release,
    reserve,
    set_limits,
)
from tests.support.rates import MODEL, NOW, Grant, allowed, failed, windows

LONGEST = 61.1  # seconds from a slot to the one that takes its place: 60 and the margin


# --- deciding: any sequence of events ----------------------------------------------------------

Ending = Literal["used", "given back", "failed", "429"]


@dataclass(frozen=True)
class Arrival:
    """A caller who wants a slot. `skew`: its clock less the true time. Times in seconds.

    What happens to the call is known to all `duration` after its slot; `limit` is what Venice
    names in its answer.
    """

    after: float
    skew: float
    ending: Ending
    duration: float
    blocked_for: float
    limit: int


@dataclass
class World:
    """All callers share the rates, as they do in the table."""

    rates: Rates
    news: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=count)

    def arrive(self, at: float, arrival: Arrival) -> None:
        """A caller comes at the true time `at`, after all that is known by then."""
        while due := sorted((news for news in self.news if news[0] <= at), key=lambda n: n[0]):
            self.news.remove(due[0])
            due[0][1]()
        now, id = at + arrival.skew, str(next(self.ids))
        slot = opens_at(self.rates, MODEL, now)
        self._check(slot, now)
        if slot > now:
            return
        grant = Grant(at, slot, self.rates.log(MODEL).limit)
        self.rates = reserve(self.rates, MODEL, id, now)
        self.grants.append(grant)
        self._tell(id, grant, arrival)

    def _check(self, slot: float, now: float) -> None:
        log = self.rates.log(MODEL)
        assert slot >= now, "a slot in the past"
        last = max(
            now,
            log.blocked_until,
            max(log.times, default=0),
            max(self.rates.failures.values(), default=0),
        )
        assert slot <= last + LONGEST + 0.001, "a caller that waits too long"

    def _tell(self, id: str, grant: Grant, arrival: Arrival) -> None:
        def given_back() -> None:
            self.rates = release(self.rates, MODEL, id)
            self.grants.remove(grant)

        def answered() -> None:
            now = grant.start + arrival.duration + arrival.skew
            if arrival.ending != "used":
                self.rates = fail(self.rates, id, now)
            if arrival.ending == "429":
                self.rates = block(self.rates, MODEL, now + arrival.blocked_for)
            self.rates = set_limits(self.rates, {MODEL: arrival.limit}, now)

        if arrival.ending == "given back":
            self.news.append((grant.start, given_back))
        else:
            self.news.append((grant.start + arrival.duration, answered))


def bursts(limits: st.SearchStrategy[int]) -> st.SearchStrategy[list[list[Arrival]]]:
    """Callers that come many at a time, as photos are dropped, with clocks that differ."""
    return st.lists(
        st.builds(
            _burst,
            count=st.integers(1, 40),
            after=st.sampled_from([0.0, 1.0, 29.9, 30.2, 59.9, 61.0]) | st.floats(0, 70),
            skews=st.lists(st.sampled_from([-0.5, 0.5]) | st.floats(-0.5, 0.5), min_size=1),
            endings=st.lists(
                st.sampled_from(["used", "used", "given back", "failed", "429"]), min_size=1
            ),
            duration=st.sampled_from([0.0, 5.0, 20.0]) | st.floats(0, 130),
            blocked_for=st.floats(0, 120),
            limit=limits,
        ),
        min_size=1,
        max_size=8,
    )


def _burst(
    count: int, after: float, skews: list[float], endings: list[Ending], **same: Any
) -> list[Arrival]:
    return [
        Arrival(
            after=0.0 if number else after,
            skew=skews[number % len(skews)],
            ending=endings[number % len(endings)],
            **same,
        )
        for number in range(count)
    ]


def played(drops: list[list[Arrival]], limit: int) -> World:
    world = World(allowed(limit))
    at = NOW
    for caller in chain.from_iterable(drops):
        at += caller.after
        world.arrive(at, caller)
    return world


LIMITS = st.sampled_from([1, 2, 5, 14, 20, 28, 29, 60])


@settings(max_examples=100, deadline=None)
@given(drops=LIMITS.flatmap(lambda limit: bursts(st.just(limit))))
def test_never_more_calls_in_minute_than_limit(drops: list[list[Arrival]]) -> None:
    limit = drops[0][0].limit

    world = played(drops, limit)

    assert all(count <= limit for count, _ in windows(world.grants, 60))


@settings(max_examples=100, deadline=None)
@given(drops=bursts(LIMITS), limit=LIMITS)
def test_limit_that_changes_holds_from_next_slot_on(drops: list[list[Arrival]], limit: int) -> None:
    # Slots that were out when the limit went down may still be in the window; but then no new
    # one is added to it.
    world = played(drops, limit)

    assert all(count <= last.limit for count, last in windows(world.grants, 60))


@given(times=st.lists(st.floats(0, 70), max_size=40), later=st.floats(0, 30), limit=LIMITS)
def test_never_call_within_half_minute_of_fourteen_failures(
    times: list[float], later: float, limit: int
) -> None:
    rates = failed(allowed(limit), *(NOW + at for at in sorted(times)))
    now = NOW + max(times, default=0.0) + later

    slot = opens_at(rates, MODEL, now)

    # As Venice sees it, whose clock may be a second off ours.
    assert sum(NOW + at > slot - 31 for at in times) < 14


# --- deciding: a long queue, until Venice refuses everything -------------------------------------


@dataclass
class Queue:
    """Models with more work than they may do. A call takes `seconds`; a refusal `refusal`.

    What begins from `wrong_from` to `right_from`, in seconds, is refused. Somebody asks for a slot
    as soon as there may be one.
    """

    limit: int
    models: int
    seconds: float
    refusal: float = 0.2
    wrong_from: float = 1e9
    right_from: float = 1e9
    starts: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    begun: dict[str, float] = field(default_factory=dict)

    def run(self, until: float) -> "Queue":
        names = [f"model {number}" for number in range(self.models)]
        rates, ids = allowed(self.limit, *names), count()
        events: list[tuple[float, int, str, str]] = [(0.0, next(ids), m, "") for m in names]
        while events and events[0][0] < until:
            at, _, model, id = heapq.heappop(events)
            now = NOW + at
            if id:
                rates = self._end(rates, model, id, at)
                continue
            while (slot := opens_at(rates, model, now)) <= now:
                id = str(next(ids))
                rates = reserve(rates, model, id, now)
                self.starts.append(at)
                heapq.heappush(events, (at + self._takes(at), next(ids), model, id))
                self.begun[id] = at
            heapq.heappush(events, (max(slot - NOW, at + 0.001), next(ids), model, ""))
        return self

    def _wrong(self, at: float) -> bool:
        return self.wrong_from <= at < self.right_from

    def _takes(self, at: float) -> float:
        return self.refusal if self._wrong(at) else self.seconds

    def _end(self, rates: Rates, model: str, id: str, at: float) -> Rates:
        if not self._wrong(self.begun.pop(id)):
            return rates
        self.failures.append(at)
        return fail(rates, id, NOW + at)


def most_in(times: list[float], seconds: float) -> int:
    """The most of these times, in order, that lie in any such span."""
    return max((bisect_right(times, t + seconds) - n for n, t in enumerate(times)), default=0)


EVERY_LIMIT = pytest.mark.parametrize("limit", [1, 5, 20, 50, 60, 120, 600])


@EVERY_LIMIT
@pytest.mark.parametrize("models", [1, 3])
@settings(max_examples=6, deadline=None)
@given(
    seconds=st.sampled_from([1.0, 12.0, 30.0]) | st.floats(0.3, 60),
    wrong_from=st.sampled_from([0.0, 60.0]) | st.floats(0, 150),
)
def test_key_is_not_locked_out_whenever_all_calls_fail(
    limit: int, models: int, seconds: float, wrong_from: float
) -> None:
    queue = Queue(limit, models, seconds, wrong_from=wrong_from).run(wrong_from + 90)

    assert most_in(queue.failures, 30) <= 20
    if wrong_from == 0:
        assert most_in(queue.failures, 30) <= 14


@pytest.mark.slow
@EVERY_LIMIT
@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("seconds", [1.0, 30.0])
def test_full_rate_is_reached_while_calls_succeed(limit: int, models: int, seconds: float) -> None:
    until = 240 + 8 * seconds  # long edits need some minutes to get there
    queue = Queue(limit, models, seconds).run(until)

    last = sum(at >= until - 3 * 61.1 for at in queue.starts)
    assert last >= 3 * limit * models * 0.97
    assert most_in(queue.starts, 60) <= limit * models


@EVERY_LIMIT
def test_rate_is_reached_again_after_time_of_failures(limit: int) -> None:
    queue = Queue(limit, 1, 12.0, wrong_from=60, right_from=120).run(360)

    assert sum(at >= 360 - 2 * 61.1 for at in queue.starts) >= 2 * limit * 0.97
