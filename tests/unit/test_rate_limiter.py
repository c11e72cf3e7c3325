"""The rate limiter over its table: slots are shared, given back, and survive lost answers."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from image_drop.errors import NoSlotError
from image_drop.instructions.schema import Instructions
from image_drop.quota import Quota
from image_drop.state.rate_limit import RateLimiter, Slot
from image_drop.state.rates import ALL_MODELS
from tests.simulation.aws.dynamodb import DynamoDB
from tests.support.clock import FakeClock
from tests.support.rates import MODEL, NOW, Grant, windows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


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


def fill(limiter: RateLimiter, clock: FakeClock, count: int = 14, model: str = MODEL) -> None:
    """So many calls, as fast as they may start."""
    for _ in range(count):
        use(limiter, model, max_slot_wait=1.0)


def test_free_slot_is_had_at_once(limiter: RateLimiter, clock: FakeClock) -> None:
    began = clock.now()

    slot = use(limiter)

    assert (slot.at, slot.log.limit, clock.now()) == (began, 20, began)


def test_all_functions_share_slots(
    limiter: RateLimiter, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
) -> None:
    other = RateLimiter(dynamodb, table, clock.now, clock.sleep)
    for _ in range(7):
        use(limiter, max_slot_wait=1.0)
        use(other, max_slot_wait=1.0)

    with pytest.raises(NoSlotError):
        use(other, max_slot_wait=1.0)


def test_each_model_has_slots_of_its_own(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.set_limits({MODEL: 2})
    fill(limiter, clock, 2)

    with pytest.raises(NoSlotError):
        use(limiter)
    assert use(limiter, "background-remove").log.limit == 20


def test_slot_beyond_callers_wait_is_named_and_not_written(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    fill(limiter, clock)
    before = limiter.rates()

    with pytest.raises(NoSlotError) as caught:
        use(limiter, max_slot_wait=5.0)

    assert caught.value.retry_at == pytest.approx(clock.now() + 30, abs=1.5)
    assert (caught.value.model, caught.value.limit) == (MODEL, 20)
    assert limiter.rates() == before


def test_no_work_begins_when_no_slot_is_near(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.require(MODEL, 1.0)
    fill(limiter, clock)
    before = limiter.rates()

    with pytest.raises(NoSlotError):
        limiter.require(MODEL, 1.0)
    clock.sleep(30)
    limiter.require(MODEL, 1.0)

    assert limiter.rates() == before


def test_caller_waits_for_slot(limiter: RateLimiter, clock: FakeClock) -> None:
    fill(limiter, clock)
    began = clock.now()

    slot = use(limiter, max_slot_wait=70.0)

    assert slot.at == clock.now() == pytest.approx(began + 30, abs=1.5)


def test_slot_that_is_not_used_is_given_back(limiter: RateLimiter, clock: FakeClock) -> None:
    fill(limiter, clock, 13)
    with limiter.acquire(MODEL, 1.0):
        pass

    use(limiter, max_slot_wait=1.0)  # the fourteenth


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
def test_429_while_caller_waits_makes_it_wait_longer(
    limiter: RateLimiter, clock: FakeClock, blocked: str
) -> None:
    fill(limiter, clock)
    began = clock.now()
    clock.after(5, lambda: limiter.block(blocked, began + 50))

    slot = use(limiter, max_slot_wait=70.0)

    assert slot.at == clock.now() == pytest.approx(began + 50, abs=0.2)


def test_429_while_caller_waits_may_exceed_its_wait(limiter: RateLimiter, clock: FakeClock) -> None:
    fill(limiter, clock)
    began = clock.now()
    clock.after(5, lambda: limiter.block(MODEL, began + 100))

    with pytest.raises(NoSlotError) as caught:
        use(limiter, max_slot_wait=70.0)

    assert caught.value.retry_at == began + 100
    assert len(limiter.peek(MODEL)[0].slots) == 14


def test_learned_limit_holds_from_next_slot_on(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.set_limits({MODEL: 5})
    fill(limiter, clock, 5)
    with pytest.raises(NoSlotError):
        use(limiter, max_slot_wait=1.0)
    limiter.set_limits({MODEL: 12})
    fill(limiter, clock, 7)
    with pytest.raises(NoSlotError):
        use(limiter, max_slot_wait=1.0)


def test_answer_that_shows_nothing_new_makes_no_request(
    limiter: RateLimiter, dynamodb: "DynamoDBClient", table: str
) -> None:
    limiter.learn(MODEL, Quota(limit=50), use(limiter), 10.0)
    slot = use(limiter)
    dynamodb.delete_table(TableName=table)

    limiter.learn(MODEL, Quota(limit=50), slot, 11.0)

    assert (slot.log.limit, slot.log.seconds) == (50, 10.0)


def test_new_limit_is_event_once(limiter: RateLimiter) -> None:
    slots = [use(limiter), use(limiter)]

    changes = [limiter.learn(MODEL, Quota(limit=50), slot, 10.0) for slot in slots]

    change, none = changes
    assert change
    assert change.event_id
    assert (change.model, change.limit, change.former) == (MODEL, 50, 20)
    assert none is None


def test_refusal_blocks_model_and_teaches_limit(limiter: RateLimiter, clock: FakeClock) -> None:
    limiter.refuse(MODEL, Quota(limit=7), use(limiter), clock.now() + 40)

    log, opens = limiter.peek(MODEL)
    assert (log.limit, opens) == (7, clock.now() + 40)


def test_failures_of_any_model_count_against_key(limiter: RateLimiter, clock: FakeClock) -> None:
    for _ in range(14):
        limiter.record_failure()

    with pytest.raises(NoSlotError) as caught:
        use(limiter, "never-failed")

    assert caught.value.retry_at == pytest.approx(clock.now() + 31.1)


def test_learning_what_is_known_writes_nothing(
    limiter: RateLimiter, clock: FakeClock, item: Callable[[], Any]
) -> None:
    limiter.set_limits({MODEL: 50})
    limiter.block(MODEL, clock.now() + 10)
    before = item()

    limiter.set_limits({MODEL: 50})
    limiter.block(MODEL, clock.now() + 5)

    assert item() == before


def test_limiter_keeps_one_item_that_expires_one_day_after_use(
    limiter: RateLimiter, item: Callable[[], Any], clock: FakeClock
) -> None:
    for number in range(14):
        use(limiter, f"model-{number}", max_slot_wait=1.0)
    limiter.set_limits({"model-1": 50, "model-2": 60})
    limiter.record_failure()

    assert item()["expiration"] == {"N": f"{clock.now() + 86_400:.0f}"}


def test_item_of_high_limit_stays_small(clock: FakeClock) -> None:
    dynamodb: Any = DynamoDB(clock.now, random.Random(1))
    limiter = RateLimiter(dynamodb, "state", clock.now, clock.sleep, random.Random(1))
    limiter.set_limits({MODEL: 600})
    for _ in range(600):
        use(limiter, max_slot_wait=70.0)

    assert len(limiter.peek(MODEL)[0].times) == 600
    assert len(dynamodb.items["rate"]["value"]["B"]) < 12_000


def test_no_model_can_be_named_like_what_stands_for_all() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"model": ALL_MODELS}, Instructions)


def test_caller_waits_longer_when_calls_fail_meanwhile(
    limiter: RateLimiter, clock: FakeClock
) -> None:
    fill(limiter, clock)
    began = clock.now()
    for _ in range(14):
        clock.after(5, limiter.record_failure)

    slot = use(limiter, max_slot_wait=70.0)

    assert slot.at == clock.now() == pytest.approx(began + 5 + 31.1, abs=0.2)


def test_paid_answer_is_not_lost_when_slot_cannot_be_given_back(
    limiter: RateLimiter, dynamodb: "DynamoDBClient", table: str
) -> None:
    with limiter.acquire(MODEL, 0.0):
        dynamodb.delete_table(TableName=table)


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
        limiter.set_limits({MODEL: 50})
        log, _ = limiter.peek(MODEL)
        seen.append((len(log.times), log.limit))

        for _ in range(12):
            limiter.record_failure()
        clock.sleep(15)
        assert use(limiter).consumed  # after thirteen failures, not fourteen
        limiter.set_limits({MODEL: 20})

    assert seen == [(2, 50)] * 2


# --- many at once ------------------------------------------------------------------------------


class Contested:
    """A client before whose first write somebody else writes; each request takes its time."""

    def __init__(
        self, client: Any, somebody: RateLimiter, clock: FakeClock, seconds: float
    ) -> None:
        self._client, self._somebody, self._clock = client, somebody, clock
        self._seconds, self._first = seconds, True
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **arguments: Any) -> Any:
        self._clock.sleep(self._seconds)
        if self._first:
            self._first = False
            use(self._somebody)
        return self._client.put_item(**arguments)


def test_free_slot_is_had_though_contest_took_longer_than_wait(
    limiter: RateLimiter, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
) -> None:
    client: Any = Contested(dynamodb, limiter, clock, 0.6)
    late = RateLimiter(client, table, clock.now, clock.sleep, random.Random(1))

    assert use(late, max_slot_wait=0.5).consumed
    assert len(limiter.rates().log(MODEL).slots) == 2


def test_contest_for_slot_ends_soon_after_wait(
    limiter: RateLimiter, dynamodb: "DynamoDBClient", table: str, clock: FakeClock
) -> None:
    client: Any = Contested(dynamodb, limiter, clock, 4.0)
    late = RateLimiter(client, table, clock.now, clock.sleep, random.Random(1))

    with pytest.raises(NoSlotError):
        use(late, max_slot_wait=0.5)


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


@pytest.mark.slow
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

    for expected, wait in ((2, 0.7), (4, 0.3), (4, 0.3), (4, 0.3), (0, 0.3)):
        with ThreadPoolExecutor(24) as pool:
            winners = sum(pool.map(caller, range(40)))
        log = RateLimiter(shared, table, clock.now, clock.sleep).peek(MODEL)[0]
        assert winners == expected
        assert log.times.count(clock.now()) == expected
        clock.sleep(wait)
    # Each slot was written once, and nothing over another.
    assert int(item()["version"]["N"]) == 14


@pytest.mark.slow
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
                    grants.append(Grant(slot.at, slot.at, slot.log.limit))
                else:
                    unused.append(slot.at)

    RateLimiter(shared, table, clock.now, clock.sleep).set_limits({MODEL: 29})
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(caller, range(12)))

    assert len(grants) + len(unused) == 60
    assert all(count <= 29 for count, _ in windows(grants, 60))
    log = RateLimiter(shared, table, clock.now, clock.sleep).peek(MODEL)[0]
    used = Counter(grant.slot for grant in grants)
    assert all(used[slot] == count for slot, count in Counter(log.times).items())
    assert int(item()["version"]["N"]) >= 60  # each slot was a write of its own
