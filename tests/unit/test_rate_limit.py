"""When a call may start: pure decisions about slots, trust and failures."""

from collections.abc import Callable
from typing import Any

import pytest

from image_drop.state.rate_limit import (
    ALL_MODELS,
    Rates,
    block,
    fail,
    may_start,
    miss,
    next_slot,
    release,
    reserve,
    set_limits,
    succeed,
    unconfirmed,
)
from tests.support.rates import MODEL, NOW, allowed, failed


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

    assert unconfirmed(rates, NOW) == 14
    assert unconfirmed(succeed(rates, "another", "0", NOW), NOW) == 13
    assert unconfirmed(release(rates, "another", "0"), NOW) == 13


def test_failures_and_calls_that_may_fail_count_together() -> None:
    rates = failed(started(Rates(), 9), NOW, NOW + 5)

    assert unconfirmed(rates, NOW + 5) == 11
    assert unconfirmed(rates, NOW + 31.5) == 10  # the first failure counts no longer


def test_each_success_lets_one_more_be_in_flight() -> None:
    rates = started(allowed(600), 14)
    for number in range(14):
        rates = succeed(rates, MODEL, str(number), NOW + 20)
    rates = started(rates, 28, NOW + 20)

    assert unconfirmed(rates, NOW + 23) == 14
    assert unconfirmed(started(rates, 1, NOW + 21), NOW + 23) == 15


def test_failure_takes_half_of_trust() -> None:
    rates = started(allowed(600), 54)
    for number in range(14):
        rates = succeed(rates, MODEL, str(number), NOW + 20)
    assert unconfirmed(rates, NOW + 25) == 40 - 14

    rates = miss(rates, MODEL, "14", NOW + 25)

    assert unconfirmed(rates, NOW + 25) == 39 - 7


def test_trust_ends_minute_after_last_success() -> None:
    rates = succeed(started(Rates(), 10), MODEL, "0", NOW)

    assert unconfirmed(rates, NOW + 59) == 8
    assert unconfirmed(rates, NOW + 61) == 9


def test_trusted_models_start_no_more_than_may_fail_together() -> None:
    rates = Rates()
    for model in ("one", "another"):
        rates = started(rates, 10, NOW, model)
        for number in range(10):
            rates = succeed(rates, model, str(number), NOW + 5)
    rates = started(started(rates, 10, NOW + 30, "one"), 10, NOW + 30, "another")

    assert unconfirmed(rates, NOW + 30) == 20
    assert not may_start(rates, "one", NOW + 30)
    assert unconfirmed(rates, NOW + 30 + 15.1) == 0  # ten calls at 40 a minute later


def test_call_that_nobody_ended_is_forgotten() -> None:
    rates = started(Rates(), 14)

    assert unconfirmed(rates, NOW + 299) == 14
    assert unconfirmed(rates, NOW + 301) == 0


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
