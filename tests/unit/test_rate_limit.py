"""The rate limiter: never above Venice's limit, never idle below it, whatever the clocks say."""

import heapq
import random
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_drop.errors import NoSlotError
from image_drop.instructions.schema import Instructions
from image_drop.state.rate_limit import (
    ALL_MODELS,
    FAILURE_BUDGET,
    RateLimiter,
    Rates,
    Slot,
    block,
    fail,
    in_doubt,
    may_start,
    miss,
    next_slot,
    release,
    reserve,
    set_limits,
    succeed,
)
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = 1_800_000_000.0
MODEL = "firered-image-edit"
LONGEST = 61.1  # seconds from a slot to the one that takes its place: 60 and the margin


def allowed(limit: int, *models: str) -> Rates:
    """Rates of models with a limit."""
    return set_limits(Rates(), dict.fromkeys(models or (MODEL,), limit), NOW)


def failed(rates: Rates, *times: float) -> Rates:
    for number, at in enumerate(times):
        rates = fail(rates, f"failure {number} at {at}", at)
    return rates


def started(rates: Rates, count: int, at: float = NOW, model: str = MODEL) -> Rates:
    """So many more calls in flight since `at`, named by their numbers."""
    first = 1 + max(map(int, rates.log(model).in_flight), default=-1)
    for number in range(first, first + count):
        rates = reserve(rates, model, str(number), at, at)
    return rates


def drop(count: int, limit: int = 20, now: float = NOW) -> list[float]:
    """The slots of so many calls that all come at once, as seconds from now."""
    rates, slots = allowed(limit), []
    for number in range(count):
        slot = next_slot(rates, MODEL, now)
        rates = reserve(rates, MODEL, str(number), slot, now)
        slots.append(slot - now)
    return slots


# --- deciding: what a drop of images gets ----------------------------------------------------


def test_small_drop_starts_at_once() -> None:
    assert drop(10) == [0.0] * 10


def test_full_minute_is_split_so_that_key_is_not_locked_out() -> None:
    assert drop(20) == pytest.approx([0.0] * 14 + [31.1] * 6, abs=1e-6)


def test_high_limit_is_used_at_its_own_rate_after_first_fourteen() -> None:
    assert drop(60, limit=60) == [0.0] * 14 + [14.0] * 14 + [28.0] * 14 + [42.0] * 14 + [56.0] * 4


@pytest.mark.parametrize("limit", [1, 5, 14, 20, 29, 60, 100, 240])
def test_long_queue_goes_at_nearly_full_rate(limit: int) -> None:
    minutes = 15

    last = drop(limit * minutes, limit)[-1]

    # 60 s for each minute but the first; 1.1 s of margin for each is 1.8 %, and at most one more
    # minute that the failure budget splits into smaller drops.
    assert last <= (minutes - 1) * 60 * 1.02 + 61.2


def test_call_after_long_pause_starts_at_once() -> None:
    rates = started(allowed(20), 20)

    assert next_slot(rates, MODEL, NOW + 3600) == NOW + 3600


def test_nothing_starts_before_end_of_block_of_model_or_of_key() -> None:
    assert next_slot(block(Rates(), MODEL, NOW + 12), MODEL, NOW) == NOW + 12
    assert next_slot(block(Rates(), MODEL, NOW + 12), "another", NOW) == NOW
    assert next_slot(block(Rates(), ALL_MODELS, NOW + 32), MODEL, NOW) == NOW + 32
    passed = block(block(Rates(), ALL_MODELS, NOW - 1), MODEL, NOW - 1)
    assert next_slot(passed, MODEL, NOW) == NOW


@pytest.mark.parametrize("limit", [20, 600])
def test_fourteen_failures_within_half_minute_let_nobody_call(limit: int) -> None:
    rates = failed(allowed(limit), *(NOW + number for number in range(14)))

    assert next_slot(rates, MODEL, NOW + 14) == NOW + 31.1
    assert next_slot(rates, MODEL, NOW + 60) == NOW + 60


def test_slot_that_is_given_back_can_be_had_again() -> None:
    full = started(allowed(20), 20)

    assert next_slot(full, MODEL, NOW + 40) == pytest.approx(NOW + 61.1)
    assert next_slot(release(full, MODEL, "3"), MODEL, NOW + 40) == NOW + 40


# --- deciding: calls in flight -----------------------------------------------------------------


def test_calls_of_all_models_are_in_doubt_until_answered() -> None:
    rates = started(started(Rates(), 9), 5, model="another")

    assert in_doubt(rates, NOW) == 14
    assert in_doubt(succeed(rates, "another", "0", NOW), NOW) == 13
    assert in_doubt(release(rates, "another", "0"), NOW) == 13


def test_failures_and_calls_that_may_fail_count_together() -> None:
    rates = failed(started(Rates(), 9), NOW, NOW + 5)

    assert in_doubt(rates, NOW + 5) == 11
    assert in_doubt(rates, NOW + 31.5) == 10  # the first failure counts no longer


def test_each_success_lets_one_more_be_in_flight() -> None:
    rates = started(allowed(600), 14)
    for number in range(14):
        rates = succeed(rates, MODEL, str(number), NOW + 20)
    rates = started(rates, 28, NOW + 20)

    assert in_doubt(rates, NOW + 23) == 14
    assert in_doubt(started(rates, 1, NOW + 21), NOW + 23) == 15


def test_failure_takes_half_of_trust() -> None:
    rates = started(allowed(600), 54)
    for number in range(14):
        rates = succeed(rates, MODEL, str(number), NOW + 20)
    assert in_doubt(rates, NOW + 25) == 40 - 14

    rates = miss(rates, MODEL, "14", NOW + 25)

    assert in_doubt(rates, NOW + 25) == 39 - 7


def test_trust_ends_minute_after_last_success() -> None:
    rates = succeed(started(Rates(), 10), MODEL, "0", NOW)

    assert in_doubt(rates, NOW + 59) == 8
    assert in_doubt(rates, NOW + 61) == 9


def test_trusted_models_start_no_more_than_may_fail_together() -> None:
    rates = Rates()
    for model in ("one", "another"):
        rates = started(rates, 10, NOW, model)
        for number in range(10):
            rates = succeed(rates, model, str(number), NOW + 5)
    rates = started(started(rates, 10, NOW + 30, "one"), 10, NOW + 30, "another")

    assert in_doubt(rates, NOW + 30) == 20
    assert not may_start(rates, "one", NOW + 30)
    assert in_doubt(rates, NOW + 30 + 15.1) == 0  # ten calls at 40 a minute later


def test_call_that_nobody_ended_is_forgotten() -> None:
    rates = started(Rates(), 14)

    assert in_doubt(rates, NOW + 299) == 14
    assert in_doubt(rates, NOW + 301) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda rates: reserve(rates, MODEL, "once", NOW, NOW).log(MODEL).in_flight,
        lambda rates: release(rates, MODEL, "gone"),
        lambda rates: succeed(rates, MODEL, "gone", NOW),
        lambda rates: miss(rates, MODEL, "gone", NOW),
        lambda rates: fail(rates, "known", NOW),
    ],
)
def test_event_that_is_told_twice_counts_once(change: Callable[[Rates], Any]) -> None:
    rates = fail(reserve(Rates(), MODEL, "once", NOW, NOW), "known", NOW)

    changed = change(rates)

    assert changed in (rates, rates.log(MODEL).in_flight)


def test_only_bounded_models_and_sane_limits_are_learned() -> None:
    rates = set_limits(Rates(), {f"model-{number}": 10**number for number in range(300)}, NOW)

    assert len(rates.logs) == 200
    assert {log.limit for log in rates.logs.values()} == {1, 10, 100, 1000}
    assert set_limits(Rates(), {MODEL: 0}, NOW).log(MODEL).limit == 1


def test_models_that_nobody_uses_for_day_are_forgotten() -> None:
    rates = started(allowed(50, "old"), 1, NOW + 60, "new")

    assert set(started(rates, 1, NOW + 86_401, "new").logs) == {"new"}


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
    max_slot_wait: float
    ending: Ending
    duration: float
    blocked_for: float
    limit: int


@dataclass(frozen=True)
class Grant:
    """A slot. `start`: the true time; `limit` as known when it was granted."""

    start: float
    slot: float
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
        slot = next_slot(self.rates, MODEL, now)
        self._check(slot, now)
        reserved = reserve(self.rates, MODEL, id, slot, now)
        if slot > now + arrival.max_slot_wait or in_doubt(reserved, now) > FAILURE_BUDGET:
            return
        grant = Grant(slot - arrival.skew, slot, self.rates.log(MODEL).limit)
        self.rates = reserved
        self.grants.append(grant)
        self._tell(id, grant, arrival)

    def _check(self, slot: float, now: float) -> None:
        log = self.rates.log(MODEL)
        assert slot >= now, "a slot in the past"
        assert slot >= max(log.times, default=0), "a slot before one that is out already"
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
            if arrival.ending == "used":
                self.rates = succeed(self.rates, MODEL, id, now)
            else:
                self.rates = miss(fail(self.rates, id, now), MODEL, id, now)
            if arrival.ending == "429":
                self.rates = block(self.rates, MODEL, now + arrival.blocked_for)
            self.rates = set_limits(self.rates, {MODEL: arrival.limit}, now)

        if arrival.ending == "given back":
            self.news.append((grant.start, given_back))
        else:
            self.news.append((grant.start + arrival.duration, answered))


def windows(grants: list[Grant], seconds: float) -> Iterator[tuple[int, Grant]]:
    """How many calls start in each window as Venice sees it, and the one granted last of them.

    Each window begins with a call: a window anywhere else, or between fixed borders, holds no
    more than the one that begins with its first call.
    """
    order = {id(grant): number for number, grant in enumerate(grants)}
    by_start = sorted(grants, key=lambda grant: grant.start)
    starts = [grant.start for grant in by_start]
    for first, start in enumerate(starts):
        inside = by_start[first : bisect_right(starts, start + seconds)]
        yield len(inside), max(inside, key=lambda grant: order[id(grant)])


def bursts(limits: st.SearchStrategy[int]) -> st.SearchStrategy[list[list[Arrival]]]:
    """Callers that come many at a time, as photos are dropped, with clocks that differ."""
    return st.lists(
        st.builds(
            _burst,
            count=st.integers(1, 40),
            after=st.sampled_from([0.0, 1.0, 29.9, 30.2, 59.9, 61.0]) | st.floats(0, 70),
            skews=st.lists(st.sampled_from([-0.5, 0.5]) | st.floats(-0.5, 0.5), min_size=1),
            max_slot_wait=st.sampled_from([3.0, 70.0, 1e6]),
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

    slot = next_slot(rates, MODEL, now)

    # As Venice sees it, whose clock may be a second off ours.
    assert sum(NOW + at > slot - 31 for at in times) < 14


# --- deciding: a long queue, until Venice refuses everything -------------------------------------


@dataclass
class Queue:
    """Models with more work than they may do. A call takes `seconds`; a refusal `refusal`.

    What begins from `wrong_from` to `right_from`, in seconds, is refused. Somebody asks for a slot
    as soon as there may be one, and every `LOOK` seconds while calls are in doubt.
    """

    limit: int
    models: int
    seconds: float
    refusal: float = 0.2
    wrong_from: float = 1e9
    right_from: float = 1e9
    starts: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)

    LOOK = 0.5

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
            while (slot := next_slot(rates, model, now)) <= now:
                id = str(next(ids))
                reserved = reserve(rates, model, id, slot, now)
                if in_doubt(reserved, now) > FAILURE_BUDGET:
                    break
                rates = reserved
                self.starts.append(at)
                heapq.heappush(events, (at + self._takes(at), next(ids), model, id))
            again = max(slot - NOW, at + 0.001 if slot > now else at + self.LOOK)
            heapq.heappush(events, (again, next(ids), model, ""))
        return self

    def _wrong(self, at: float) -> bool:
        return self.wrong_from <= at < self.right_from

    def _takes(self, at: float) -> float:
        return self.refusal if self._wrong(at) else self.seconds

    def _end(self, rates: Rates, model: str, id: str, at: float) -> Rates:
        now = NOW + at
        if not self._wrong(rates.log(model).in_flight[id] - NOW):
            return succeed(rates, model, id, now)
        self.failures.append(at)
        return miss(fail(rates, id, now), model, id, now)


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


@EVERY_LIMIT
@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("seconds", [1.0, 30.0])
def test_full_rate_is_reached_while_calls_succeed(limit: int, models: int, seconds: float) -> None:
    queue = Queue(limit, models, seconds).run(480)  # long edits need some minutes to get there

    last = sum(at >= 480 - 3 * 61.1 for at in queue.starts)
    assert last >= 3 * limit * models * 0.97
    assert most_in(queue.starts, 60) <= limit * models


@EVERY_LIMIT
def test_rate_is_reached_again_after_time_of_failures(limit: int) -> None:
    queue = Queue(limit, 1, 12.0, wrong_from=60, right_from=120).run(360)

    assert sum(at >= 360 - 2 * 61.1 for at in queue.starts) >= 2 * limit * 0.97


# --- the limiter over the table ----------------------------------------------------------------


@pytest.fixture
def limiter(dynamodb: "DynamoDBClient", table: str, clock: FakeClock) -> RateLimiter:
    return RateLimiter(dynamodb, table, clock.now, clock.sleep, random.Random(1))


@pytest.fixture
def item(dynamodb: "DynamoDBClient", table: str) -> Callable[[], Any]:
    """All that is in the table: one item."""

    def peek() -> Any:
        (found,) = dynamodb.scan(TableName=table)["Items"]
        return found

    return peek


def use(limiter: RateLimiter, model: str = MODEL, max_slot_wait: float = 0.0) -> Slot:
    with limiter.acquire(model, max_slot_wait) as slot:
        slot.consumed = True
    return slot


def test_free_slot_is_had_at_once(limiter: RateLimiter, clock: FakeClock) -> None:
    began = clock.now()

    slot = use(limiter)

    assert (slot.at, slot.limit, clock.now()) == (began, 20, began)


def test_all_functions_share_slots(
    limiter: RateLimiter, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
) -> None:
    other = RateLimiter(dynamodb, table, clock.now, clock.sleep)
    for _ in range(7):
        use(limiter)
        use(other)

    with pytest.raises(NoSlotError):
        use(other)


def test_each_model_has_slots_of_its_own(limiter: RateLimiter) -> None:
    for _ in range(14):
        use(limiter)

    assert use(limiter, "background-remove").limit == 20


def test_slot_beyond_callers_wait_is_named_and_not_written(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    for _ in range(14):
        use(limiter)
    before = limiter.peek(MODEL)

    with pytest.raises(NoSlotError) as caught:
        use(limiter, max_slot_wait=31.0)

    assert caught.value.retry_at == pytest.approx(clock.now() + 31.1)
    assert limiter.peek(MODEL) == before


def test_caller_waits_for_its_slot(limiter: RateLimiter, clock: FakeClock) -> None:
    for _ in range(14):
        use(limiter)
    began = clock.now()

    slot = use(limiter, max_slot_wait=70.0)

    assert slot.at == clock.now() == pytest.approx(began + 31.1)


def test_slot_that_is_not_used_is_given_back(limiter: RateLimiter) -> None:
    for _ in range(13):
        use(limiter)
    with limiter.acquire(MODEL, 0.0):
        pass

    use(limiter)  # the fourteenth


def test_slot_is_given_back_when_work_before_call_fails(limiter: RateLimiter) -> None:
    with pytest.raises(ZeroDivisionError), limiter.acquire(MODEL, 0.0):
        raise ZeroDivisionError

    assert limiter.peek(MODEL)[0].times == ()


def test_slot_is_kept_when_call_fails(limiter: RateLimiter, clock: FakeClock) -> None:
    def call() -> None:
        with limiter.acquire(MODEL, 0.0) as slot:
            slot.consumed = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call()

    assert limiter.peek(MODEL)[0].times == (clock.now(),)


def test_429_lets_nobody_call_before_its_time(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.block(MODEL, clock.now() + 40)
    limiter.block(MODEL, clock.now() + 10)  # a later answer with an earlier time

    with pytest.raises(NoSlotError) as caught:
        use(limiter)

    assert caught.value.retry_at == clock.now() + 40
    assert use(limiter, "background-remove").consumed


def test_lock_out_of_key_stops_every_model(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.block(ALL_MODELS, clock.now() + 32)

    for model in (MODEL, "background-remove", "default"):
        with pytest.raises(NoSlotError) as caught:
            use(limiter, model)
        assert caught.value.retry_at == clock.now() + 32


@pytest.mark.parametrize("blocked", [MODEL, ALL_MODELS])
def test_429_while_caller_waits_makes_its_slot_void(
    limiter: RateLimiter, clock: FakeClock, blocked: str
) -> None:
    for _ in range(14):
        use(limiter)
    began = clock.now()
    clock.after(20, lambda: limiter.block(blocked, began + 50))

    slot = use(limiter, max_slot_wait=70.0)

    assert slot.at == clock.now() == began + 50
    assert Counter(limiter.peek(MODEL)[0].times) == {began: 14, began + 50: 1}


def test_429_while_caller_waits_may_exceed_its_wait(limiter: RateLimiter, clock: FakeClock) -> None:
    for _ in range(14):
        use(limiter)
    began = clock.now()
    clock.after(20, lambda: limiter.block(MODEL, began + 100))

    with pytest.raises(NoSlotError) as caught:
        use(limiter, max_slot_wait=70.0)

    assert caught.value.retry_at == began + 100
    assert limiter.peek(MODEL)[0].times == (began,) * 14


def test_learned_limit_holds_from_next_slot_on(limiter: RateLimiter) -> None:
    limiter.set_limit(MODEL, 5)
    few = [use(limiter) for _ in range(5)]
    with pytest.raises(NoSlotError):
        use(limiter)
    limiter.set_limit(MODEL, 12)
    more = [use(limiter) for _ in range(7)]
    with pytest.raises(NoSlotError):
        use(limiter)

    assert {slot.limit for slot in few} == {5}
    assert {slot.limit for slot in more} == {12}


def test_failures_of_any_model_count_against_key(limiter: RateLimiter, clock: FakeClock) -> None:
    for _ in range(14):
        limiter.record_failure()

    with pytest.raises(NoSlotError) as caught:
        use(limiter, "never-failed")

    assert caught.value.retry_at == pytest.approx(clock.now() + 31.1)


def test_learning_what_is_known_writes_nothing(
    limiter: RateLimiter, clock: FakeClock, item: Callable[[], Any]
) -> None:
    limiter.set_limit(MODEL, 50)
    limiter.block(MODEL, clock.now() + 10)
    before = item()

    limiter.set_limits({MODEL: 50})
    limiter.block(MODEL, clock.now() + 5)

    assert item() == before


def test_limiter_keeps_one_item_that_expires_one_day_after_use(
    limiter: RateLimiter, item: Callable[[], Any], clock: FakeClock
) -> None:
    for number in range(14):
        use(limiter, f"model-{number}")
    limiter.set_limits({"model-1": 50, "model-2": 60})
    limiter.record_failure()

    assert item()["expiration"] == {"N": f"{clock.now() + 86_400:.0f}"}


def test_item_of_high_limit_stays_small(
    limiter: RateLimiter, item: Callable[[], Any], clock: FakeClock
) -> None:
    limiter.set_limit(MODEL, 600)
    for _ in range(600):
        use(limiter, max_slot_wait=70.0)

    assert len(limiter.peek(MODEL)[0].times) == 600
    assert len(bytes(item()["value"]["B"])) < 6_000


def test_no_model_can_be_named_like_what_stands_for_all() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"model": ALL_MODELS}, Instructions)


def test_slot_is_void_when_calls_fail_while_its_caller_waits(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    for _ in range(14):
        use(limiter)
    began = clock.now()
    clock.after(20, lambda: [limiter.record_failure() for _ in range(14)])

    slot = use(limiter, max_slot_wait=70.0)

    assert slot.at == clock.now() == pytest.approx(began + 20 + 31.1)


def test_only_fourteen_calls_fly_before_one_has_succeeded(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    with ExitStack() as calls:
        slots = [
            calls.enter_context(limiter.acquire(model, 0.0))
            for model in (MODEL, "another")
            for _ in range(7)
        ]
        with pytest.raises(NoSlotError) as caught:
            use(limiter, "third", max_slot_wait=0.5)
        for slot in slots:
            slot.consumed = True

    assert caught.value.retry_at == clock.now() + 5
    assert use(limiter, "third").consumed


def test_caller_waits_for_calls_in_flight(limiter: RateLimiter, clock: FakeClock) -> None:
    with ExitStack() as calls:
        slots = [calls.enter_context(limiter.acquire(MODEL, 0.0)) for _ in range(14)]
        for slot in slots:
            slot.consumed = True
        began = clock.now()
        clock.after(20, calls.pop_all().close)

        slot = use(limiter, "another", max_slot_wait=70.0)

    assert 20 <= clock.now() - began <= 21


def test_paid_answer_is_not_lost_when_its_end_cannot_be_noted(
    limiter: RateLimiter, dynamodb: "DynamoDBClient", table: str
) -> None:
    with limiter.acquire(MODEL, 0.0) as slot:
        slot.consumed = True
        dynamodb.delete_table(TableName=table)

    assert slot.consumed


# --- lost answers --------------------------------------------------------------------------------


class Forgetful:
    """A client whose first answers to writes are lost; boto3 repeats them, as it does."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.exceptions = client.exceptions
        self.to_lose = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **arguments: Any) -> Any:
        answer = self._client.put_item(**arguments)
        if self.to_lose:
            self.to_lose -= 1
            return self._client.put_item(**arguments)
        return answer


def test_lost_answers_change_nothing(
    dynamodb: "DynamoDBClient", table: str, clock: FakeClock
) -> None:
    seen = []
    for every in (0, 1):
        client: Any = Forgetful(dynamodb)
        limiter = RateLimiter(client, table, clock.now, clock.sleep, random.Random(1))
        clock.sleep(3600)

        client.to_lose = every
        with limiter.acquire(MODEL, 0.0) as slot:
            slot.consumed = True
            client.to_lose = every
        client.to_lose = every
        with limiter.acquire(MODEL, 0.0):
            client.to_lose = every
        client.to_lose = every
        limiter.record_failure()
        with suppress(ZeroDivisionError), limiter.acquire(MODEL, 0.0) as slot:
            slot.consumed = True
            client.to_lose = every
            raise ZeroDivisionError
        client.to_lose = every
        limiter.block(MODEL, clock.now() + 10)
        client.to_lose = every
        limiter.set_limit(MODEL, 50)
        log, _ = limiter.peek(MODEL)
        seen.append((len(log.times), log.in_flight, log.trust, log.limit))

        for _ in range(12):
            limiter.record_failure()
        clock.sleep(10)
        assert use(limiter).consumed  # after thirteen failures, not fourteen
        limiter.set_limit(MODEL, 20)

    assert seen == [(2, {}, 0, 50)] * 2


# --- many at once ------------------------------------------------------------------------------


class Atomic:
    """A client whose every request is done in one go, as the real table does it.

    moto looks at a condition and writes in two steps, between which another thread may run.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def request(**arguments: Any) -> Any:
            with self._lock:
                answer = method(**arguments)
            time.sleep(0)  # let somebody else come between two requests
            return answer

        return request


class FastClock:
    """Real time, so many times as fast; for threads that really wait."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began = time.monotonic()

    def now(self) -> float:
        return NOW + (time.monotonic() - self._began) * self._speed

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._speed)


def test_callers_at_same_moment_get_exactly_all_slots(
    dynamodb: "DynamoDBClient", table: str, clock: FakeClock, item: Callable[[], Any]
) -> None:
    shared: Any = Atomic(dynamodb)

    def caller(number: int) -> bool:
        limiter = RateLimiter(
            shared, table, clock.now, lambda _: time.sleep(0.001), random.Random(number)
        )
        try:
            return use(limiter).consumed
        except NoSlotError:
            return False

    for expected in (14, 6, 14):  # the second time, those that the failure budget held back
        with ThreadPoolExecutor(24) as pool:
            winners = sum(pool.map(caller, range(40)))
        log = RateLimiter(shared, table, clock.now, clock.sleep).peek(MODEL)[0]
        assert winners == expected
        assert log.times.count(clock.now()) == expected
        clock.sleep(31.2)
    # Each slot and each end was written once, and nothing over another.
    assert int(item()["version"]["N"]) == 2 * (14 + 6 + 14)


def test_callers_that_wait_get_every_slot_and_none_twice(
    dynamodb: "DynamoDBClient", table: str, item: Callable[[], Any]
) -> None:
    shared: Any = Atomic(dynamodb)
    clock = FastClock(speed=100)
    grants: list[Grant] = []
    unused = []

    def caller(number: int) -> None:
        rng = random.Random(number)
        limiter = RateLimiter(shared, table, clock.now, lambda s: clock.sleep(max(s, 0.1)), rng)
        for _ in range(5):
            with limiter.acquire(MODEL, 1000.0) as slot:
                slot.consumed = rng.random() < 0.9
                if slot.consumed:
                    grants.append(Grant(slot.at, slot.at, slot.limit))
                else:
                    unused.append(slot.at)

    RateLimiter(shared, table, clock.now, clock.sleep).set_limit(MODEL, 29)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(caller, range(12)))

    assert len(grants) + len(unused) == 60
    assert all(count <= 29 for count, _ in windows(grants, 60))
    log = RateLimiter(shared, table, clock.now, clock.sleep).peek(MODEL)[0]
    used = Counter(grant.slot for grant in grants)
    assert all(used[slot] == count for slot, count in Counter(log.times).items())
    assert int(item()["version"]["N"]) >= 2 * 60  # each slot was a write of its own, and its end
