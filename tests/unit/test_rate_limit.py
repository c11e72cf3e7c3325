"""The rate limiter: never above Venice's limit, never idle below it, whatever the clocks say."""

import random
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import boto3
import msgspec
import pytest
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from image_drop.errors import NoSlotError, StorageBusyError
from image_drop.instructions import Instructions
from image_drop.rate_limit import (
    KEY,
    Log,
    RateLimiter,
    Turn,
    give_back,
    next_slot,
    record,
)
from tests.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = 1_800_000_000.0
MODEL = "firered-image-edit"
LONGEST = 61.1  # seconds from a slot to the one that takes its place: 60 and the margin


def drop(count: int, limit: int = 20, now: float = NOW) -> list[float]:
    """The slots of so many calls that all come at once, as seconds from now."""
    log, slots = Log(limit=limit), []
    for _ in range(count):
        slot = next_slot(log, Log(), now)
        log = record(log, slot, now)
        slots.append(slot - now)
    return slots


# --- deciding: what a drop of images gets ----------------------------------------------------


def test_a_small_drop_starts_at_once() -> None:
    assert drop(10) == [0.0] * 10


def test_a_full_minute_is_split_so_that_its_failures_cannot_lock_the_key_out() -> None:
    assert drop(20) == pytest.approx([0.0] * 14 + [31.1] * 6, abs=1e-6)


def test_a_limit_too_high_for_that_is_used_at_once() -> None:
    assert drop(60, limit=60) == [0.0] * 60


@pytest.mark.parametrize("limit", [1, 5, 14, 20, 29, 60, 100])
def test_a_long_queue_goes_at_nearly_the_full_rate(limit: int) -> None:
    minutes = 15

    last = drop(limit * minutes, limit)[-1]

    # 60 s for each minute but the first; 1.1 s of margin for each is 1.8 %, and once the 31 s
    # that the failure budget splits a minute by.
    assert last <= (minutes - 1) * 60 * 1.02 + 31.2


def test_the_call_after_a_long_pause_starts_at_once() -> None:
    log = Log(times=tuple(NOW + number for number in range(20)))

    assert next_slot(log, Log(), NOW + 3600) == NOW + 3600


def test_nothing_starts_before_the_end_of_a_block_of_the_model_or_of_the_key() -> None:
    assert next_slot(Log(blocked_until=NOW + 12), Log(), NOW) == NOW + 12
    assert next_slot(Log(), Log(blocked_until=NOW + 32), NOW) == NOW + 32
    assert next_slot(Log(blocked_until=NOW - 1), Log(blocked_until=NOW - 1), NOW) == NOW


@pytest.mark.parametrize("limit", [20, 600])
def test_fourteen_failures_within_half_a_minute_let_nobody_call(limit: int) -> None:
    failures = Log(times=tuple(NOW + number for number in range(14)))

    assert next_slot(Log(limit=limit), failures, NOW + 14) == NOW + 31.1
    assert next_slot(Log(limit=limit), failures, NOW + 60) == NOW + 60


def test_one_failure_makes_a_fast_model_careful() -> None:
    slots = Log(times=(NOW,) * 14, limit=600)

    assert next_slot(slots, Log(), NOW) == NOW
    assert next_slot(slots, Log(times=(NOW,)), NOW) == pytest.approx(NOW + 31.1)
    assert next_slot(slots, Log(times=(NOW,)), NOW + 30.5) == pytest.approx(NOW + 31.1)
    assert next_slot(slots, Log(times=(NOW,)), NOW + 31.2) == NOW + 31.2


def test_a_slot_that_is_given_back_can_be_had_again() -> None:
    full = Log(times=(NOW,) * 20)

    assert next_slot(full, Log(), NOW + 40) == pytest.approx(NOW + 61.1)
    assert next_slot(give_back(full, NOW), Log(), NOW + 40) == NOW + 40


def test_giving_back_a_slot_that_is_not_there_changes_nothing() -> None:
    assert give_back(Log(times=(NOW,)), NOW + 1) == Log(times=(NOW,))


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
    patience: float
    ending: Ending
    duration: float
    blocked_for: float
    limit: int


@dataclass(frozen=True)
class Grant:
    """A slot. `start`: the true time; `limit` and `careful` as known when it was granted."""

    start: float
    slot: float
    limit: int
    careful: bool


@dataclass
class World:
    """All callers share the two logs, as they do in the table."""

    slots: Log = field(default_factory=Log)
    failures: Log = field(default_factory=Log)
    news: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)

    def arrive(self, at: float, arrival: Arrival) -> None:
        """A caller comes at the true time `at`, after all that is known by then."""
        while due := sorted((news for news in self.news if news[0] <= at), key=lambda n: n[0]):
            self.news.remove(due[0])
            due[0][1]()
        now = at + arrival.skew
        slot = next_slot(self.slots, self.failures, now)
        self._check(slot, now)
        if slot > now + arrival.patience:
            return
        recent = tuple(time for time in self.failures.times if time > now - 30)
        grant = Grant(
            start=slot - arrival.skew,
            slot=slot,
            limit=self.slots.limit,
            careful=self.slots.limit <= 28 or bool(recent),
        )
        self.slots = record(self.slots, slot, now)
        self.grants.append(grant)
        self._tell(grant, arrival)

    def _check(self, slot: float, now: float) -> None:
        assert slot >= now, "a slot in the past"
        assert slot >= max(self.slots.times, default=0), "a slot before one that is out already"
        last = max(
            now,
            self.slots.blocked_until,
            self.failures.blocked_until,
            max(self.slots.times, default=0),
            max(self.failures.times, default=0),
        )
        assert slot <= last + LONGEST + 0.001, "a caller that waits too long"

    def _tell(self, grant: Grant, arrival: Arrival) -> None:
        def given_back() -> None:
            self.slots = give_back(self.slots, grant.slot)
            self.grants.remove(grant)

        def answered() -> None:
            now = grant.start + arrival.duration + arrival.skew
            if arrival.ending in ("failed", "429"):
                self.failures = record(self.failures, now, now)
            if arrival.ending == "429":
                until = max(self.slots.blocked_until, now + arrival.blocked_for)
                self.slots = replace(self.slots, blocked_until=until)
            self.slots = replace(self.slots, limit=arrival.limit)

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
            patience=st.sampled_from([3.0, 70.0, 1e6]),
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
    world = World(Log(limit=limit))
    at = NOW
    for caller in chain.from_iterable(drops):
        at += caller.after
        world.arrive(at, caller)
    return world


LIMITS = st.sampled_from([1, 2, 5, 14, 20, 28, 29, 60])


@settings(max_examples=100, deadline=None)
@given(drops=LIMITS.flatmap(lambda limit: bursts(st.just(limit))))
def test_never_more_calls_in_a_minute_than_the_limit(drops: list[list[Arrival]]) -> None:
    limit = drops[0][0].limit

    world = played(drops, limit)

    assert all(count <= limit for count, _ in windows(world.grants, 60))


@settings(max_examples=100, deadline=None)
@given(drops=bursts(LIMITS), limit=LIMITS)
def test_a_limit_that_changes_holds_from_the_next_slot_on(
    drops: list[list[Arrival]], limit: int
) -> None:
    # Slots that were out when the limit went down may still be in the window; but then no new
    # one is added to it.
    world = played(drops, limit)

    assert all(count <= last.limit for count, last in windows(world.grants, 60))


@settings(max_examples=100, deadline=None)
@given(drops=bursts(LIMITS), limit=LIMITS)
def test_never_fifteen_calls_in_half_a_minute_where_they_might_lock_the_key_out(
    drops: list[list[Arrival]], limit: int
) -> None:
    world = played(drops, limit)

    assert all(count < 15 for count, last in windows(world.grants, 30) if last.careful)


@given(failed=st.lists(st.floats(0, 70), max_size=40), later=st.floats(0, 30), limit=LIMITS)
def test_never_a_call_within_half_a_minute_of_fourteen_failures(
    failed: list[float], later: float, limit: int
) -> None:
    failures = Log()
    for at in sorted(failed):
        failures = record(failures, NOW + at, NOW + at)
    now = NOW + max(failed, default=0.0) + later

    slot = next_slot(Log(limit=limit), failures, now)

    # As Venice sees it, whose clock may be a second off ours.
    assert sum(NOW + at > slot - 31 for at in failed) < 14


# --- the limiter over the table ----------------------------------------------------------------


@pytest.fixture
def limiter(dynamodb: "DynamoDBClient", table: str, clock: FakeClock) -> RateLimiter:
    return RateLimiter(dynamodb, table, clock.now, clock.sleep, random.Random(1))


def use(limiter: RateLimiter, model: str = MODEL, patience: float = 0.0) -> Turn:
    with limiter.turn(model, patience) as turn:
        turn.used = True
    return turn


def test_a_free_slot_is_had_at_once(limiter: RateLimiter, clock: FakeClock) -> None:
    began = clock.now()

    turn = use(limiter)

    assert (turn.slot, turn.limit, clock.now()) == (began, 20, began)


def test_all_functions_share_the_slots(
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


def test_a_slot_beyond_the_callers_patience_is_named_and_nothing_is_written(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    for _ in range(14):
        use(limiter)
    before = limiter.look(MODEL)

    with pytest.raises(NoSlotError) as caught:
        use(limiter, patience=31.0)

    assert caught.value.retry_at == pytest.approx(clock.now() + 31.1)
    assert limiter.look(MODEL) == before


def test_a_patient_caller_waits_for_its_slot(limiter: RateLimiter, clock: FakeClock) -> None:
    for _ in range(14):
        use(limiter)
    began = clock.now()

    turn = use(limiter, patience=70.0)

    assert turn.slot == clock.now() == pytest.approx(began + 31.1)


def test_a_slot_that_is_not_used_is_given_back(limiter: RateLimiter) -> None:
    for _ in range(13):
        use(limiter)
    with limiter.turn(MODEL, 0.0):
        pass

    use(limiter)  # the fourteenth


def test_a_slot_is_given_back_when_the_work_before_the_call_fails(limiter: RateLimiter) -> None:
    with pytest.raises(ZeroDivisionError), limiter.turn(MODEL, 0.0):
        raise ZeroDivisionError

    assert limiter.look(MODEL)[0].times == ()


def test_a_slot_is_kept_when_the_call_fails(limiter: RateLimiter, clock: FakeClock) -> None:
    def call() -> None:
        with limiter.turn(MODEL, 0.0) as turn:
            turn.used = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call()

    assert limiter.look(MODEL)[0].times == (clock.now(),)


def test_a_429_lets_nobody_call_before_its_time(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.block(MODEL, clock.now() + 40)
    limiter.block(MODEL, clock.now() + 10)  # a later answer with an earlier time

    with pytest.raises(NoSlotError) as caught:
        use(limiter)

    assert caught.value.retry_at == clock.now() + 40
    assert use(limiter, "background-remove").used


def test_a_lock_out_of_the_key_stops_every_model(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.block(KEY, clock.now() + 32)

    for model in (MODEL, "background-remove", "default"):
        with pytest.raises(NoSlotError) as caught:
            use(limiter, model)
        assert caught.value.retry_at == clock.now() + 32


@pytest.mark.parametrize("blocked", [MODEL, KEY])
def test_a_429_while_a_caller_waits_makes_its_slot_void(
    limiter: RateLimiter, clock: FakeClock, blocked: str
) -> None:
    for _ in range(14):
        use(limiter)
    began = clock.now()
    clock.after(20, lambda: limiter.block(blocked, began + 50))

    turn = use(limiter, patience=70.0)

    assert turn.slot == clock.now() == began + 50
    assert Counter(limiter.look(MODEL)[0].times) == {began: 14, began + 50: 1}


def test_a_429_while_a_caller_waits_may_be_too_much_for_its_patience(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    for _ in range(14):
        use(limiter)
    began = clock.now()
    clock.after(20, lambda: limiter.block(MODEL, began + 100))

    with pytest.raises(NoSlotError) as caught:
        use(limiter, patience=70.0)

    assert caught.value.retry_at == began + 100
    assert limiter.look(MODEL)[0].times == (began,) * 14


def test_a_learned_limit_holds_from_the_next_slot_on(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    limiter.learn(MODEL, 30)
    turns = [use(limiter) for _ in range(30)]
    with pytest.raises(NoSlotError):
        use(limiter)
    limiter.learn(MODEL, 5)
    clock.sleep(61.2)
    fewer = [use(limiter) for _ in range(5)]
    with pytest.raises(NoSlotError):
        use(limiter)

    assert {turn.limit for turn in turns} == {30}
    assert {turn.limit for turn in fewer} == {5}


def test_failures_of_any_model_count_against_the_key(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    for _ in range(14):
        limiter.failed()

    with pytest.raises(NoSlotError) as caught:
        use(limiter, "never-failed")

    assert caught.value.retry_at == pytest.approx(clock.now() + 31.1)


def test_learning_what_is_known_writes_nothing(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.learn(MODEL, 50)
    limiter.block(MODEL, clock.now() + 10)
    before = limiter.look(MODEL)[0].version

    limiter.learn(MODEL, 50)
    limiter.block(MODEL, clock.now() + 5)

    assert limiter.look(MODEL)[0].version == before


def test_times_are_kept_to_the_millisecond(limiter: RateLimiter, clock: FakeClock) -> None:
    clock.sleep(0.1234567)

    turn = use(limiter)

    assert limiter.look(MODEL)[0].times == (turn.slot,)
    assert abs(turn.slot - clock.now()) < 0.001


def test_the_item_of_a_high_limit_stays_small(
    limiter: RateLimiter, dynamodb: "DynamoDBClient", table: str
) -> None:
    limiter.learn(MODEL, 40)
    for _ in range(40):
        use(limiter)

    item: Any = dynamodb.get_item(TableName=table, Key={"id": {"S": f"rate#{MODEL}"}})["Item"]
    assert len(bytes(item["times"]["B"])) == 40 * 8


def test_no_model_can_be_named_like_the_log_of_the_key() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"model": KEY}, Instructions)


def test_items_that_the_table_did_not_give_are_not_taken_for_free_slots(clock: FakeClock) -> None:
    client = boto3.client("dynamodb")
    throttled: Any = {"state": {"Keys": [{"id": {"S": f"rate#{KEY}"}}]}}
    with Stubber(client) as stub:
        stub.add_response(
            "batch_get_item", {"Responses": {"state": []}, "UnprocessedKeys": throttled}
        )
        limiter = RateLimiter(client, "state", clock.now, clock.sleep)
        with pytest.raises(StorageBusyError):
            use(limiter)


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


def test_callers_at_the_same_moment_get_exactly_the_slots_that_there_are(
    dynamodb: "DynamoDBClient", table: str, clock: FakeClock
) -> None:
    shared: Any = Atomic(dynamodb)

    def caller(number: int) -> bool:
        limiter = RateLimiter(
            shared, table, clock.now, lambda _: time.sleep(0.001), random.Random(number)
        )
        try:
            return use(limiter).used
        except NoSlotError:
            return False

    for expected in (14, 6, 14):  # the second time, those that the failure budget held back
        with ThreadPoolExecutor(24) as pool:
            winners = sum(pool.map(caller, range(40)))
        log = RateLimiter(shared, table, clock.now, clock.sleep).look(MODEL)[0]
        assert winners == expected
        assert log.times.count(clock.now()) == expected
        clock.sleep(31.2)
    assert log.version == 14 + 6 + 14  # each slot was written once, and nothing over another


def test_callers_that_wait_get_every_slot_and_none_twice(
    dynamodb: "DynamoDBClient", table: str
) -> None:
    shared: Any = Atomic(dynamodb)
    clock = FastClock(speed=100)
    grants: list[Grant] = []
    unused = []

    def caller(number: int) -> None:
        chance = random.Random(number)
        limiter = RateLimiter(shared, table, clock.now, lambda s: clock.sleep(max(s, 0.1)), chance)
        for _ in range(5):
            with limiter.turn(MODEL, 1000.0) as turn:
                turn.used = chance.random() < 0.9
                if turn.used:
                    grants.append(Grant(turn.slot, turn.slot, turn.limit, True))
                else:
                    unused.append(turn.slot)

    RateLimiter(shared, table, clock.now, clock.sleep).learn(MODEL, 29)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(caller, range(12)))

    assert len(grants) + len(unused) == 60
    assert all(count <= 29 for count, _ in windows(grants, 60))
    log = RateLimiter(shared, table, clock.now, clock.sleep).look(MODEL)[0]
    used = Counter(grant.slot for grant in grants)
    assert all(used[slot] == count for slot, count in Counter(log.times).items())
    assert log.version > 60  # each slot was a write of its own
