"""When a call may start: pure decisions about slots, failures and Venice's answers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from image_drop.quota import Quota
from image_drop.state.rates import (
    ALL_MODELS,
    Rates,
    block,
    calls_at_once,
    fail,
    failures_in_advance,
    learn,
    opens_at,
    refuse,
    release,
    reserve,
    set_limits,
)
from image_drop.state.slot_log import calls_a_minute, in_progress
from tests.support.rates import MODEL, NOW, allowed, failed

WHOLE = NOW - NOW % 60  # a whole minute


def started(rates: Rates, count: int, at: float = NOW, model: str = MODEL) -> Rates:
    """So many more calls that started at `at`, named by their numbers."""
    first = 1 + max(map(int, rates.log(model).slots), default=-1)
    for number in range(first, first + count):
        rates = reserve(rates, model, str(number), at)
    return rates


def drop(count: int, limit: int = 20, rates: Rates | None = None, now: float = NOW) -> list[float]:
    """The slots of so many calls that all come at once, as seconds from now."""
    rates, at, slots = rates or allowed(limit), now, []
    for number in range(count):
        while (opens := opens_at(rates, MODEL, at)) > at:
            at = opens
        rates = reserve(rates, MODEL, f"{number + 1000}", at)
        slots.append(round(at - now, 6))
    return slots


def answered(
    rates: Rates,
    quota: Quota,
    *,
    at: float = NOW,
    seconds: float = 12.0,
    then: Rates | None = None,
) -> Rates:
    """The rates after the answer to a call that started at `at`, when the rates were `then`."""
    return learn(rates, MODEL, quota, at, (then or rates).log(MODEL), seconds, at + seconds)


def refused(rates: Rates, quota: Quota, until: float, now: float) -> Rates:
    """The rates after Venice answered 429 to a call that starts now."""
    rates = started(rates, 1, now)
    log = rates.log(MODEL)
    return refuse(rates, MODEL, quota, max(log.slots, key=int), log, until, now)


# --- what a drop of images gets ------------------------------------------------------------------


def test_small_drop_starts_within_one_second() -> None:
    assert drop(10) == [0.0] * 2 + [0.7] * 4 + [0.95] * 4


def test_drop_at_high_limit_goes_on_sooner() -> None:
    assert drop(3, 600) == [0.0] * 2 + [0.4]


def test_minute_is_filled_when_first_calls_were_not_refused() -> None:
    slots = drop(20)

    assert slots[13] <= 1.25
    assert slots[14:] == [30.0] * 4 + [30.7] * 2


@pytest.mark.parametrize(("limit", "seconds"), [(20, 31), (60, 22), (120, 16), (600, 11)])
def test_minute_starts_within_seconds(limit: int, seconds: float) -> None:
    assert drop(limit, limit)[-1] <= seconds


@pytest.mark.parametrize("limit", [1, 5, 14, 20, 29, 60, 100, 240])
def test_long_queue_goes_at_nearly_full_rate(limit: int) -> None:
    minutes = 15

    last = drop(limit * minutes, limit)[-1]

    # 60 s for each minute but the first; 1.1 s of margin for each is 1.8 %. In the first minute
    # the calls have to prove themselves.
    assert last <= (minutes - 1) * 61.1 + 31


def test_call_after_long_pause_starts_at_once() -> None:
    rates = started(allowed(20), 20)

    assert opens_at(rates, MODEL, NOW + 3600) == NOW + 3600


def test_nothing_starts_before_end_of_block_of_model_or_of_key() -> None:
    assert opens_at(block(Rates(), MODEL, NOW + 12), MODEL, NOW) == NOW + 12
    assert opens_at(block(Rates(), MODEL, NOW + 12), "another", NOW) == NOW
    assert opens_at(block(Rates(), ALL_MODELS, NOW + 32), MODEL, NOW) == NOW + 32
    passed = block(block(Rates(), ALL_MODELS, NOW - 1), MODEL, NOW - 1)
    assert opens_at(passed, MODEL, NOW) == NOW


@pytest.mark.parametrize("limit", [20, 600])
def test_fourteen_failures_within_half_minute_let_nobody_call(limit: int) -> None:
    rates = failed(allowed(limit), *(NOW + number for number in range(14)))

    assert opens_at(rates, MODEL, NOW + 14) == NOW + 31.1
    assert opens_at(rates, MODEL, NOW + 60) == NOW + 60


def test_slot_that_is_given_back_can_be_had_again() -> None:
    full = started(allowed(20), 20)

    assert opens_at(full, MODEL, NOW + 40) == pytest.approx(NOW + 61.1)
    assert opens_at(release(full, MODEL, "3"), MODEL, NOW + 40) == NOW + 40


# --- failures in advance -------------------------------------------------------------------------


def test_young_calls_of_all_models_may_still_fail() -> None:
    rates = started(started(Rates(), 9), 5, model="another")

    assert failures_in_advance(rates, NOW) == 14
    assert failures_in_advance(release(rates, "another", "0"), NOW) == 13
    assert opens_at(rates, "third", NOW + 1) == NOW + 30.0  # ten calls at 20 a minute


def test_failures_and_calls_that_may_fail_count_together() -> None:
    rates = failed(started(Rates(), 9), NOW, NOW + 5)

    assert failures_in_advance(rates, NOW + 5) == 11
    assert failures_in_advance(rates, NOW + 31.5) == 1  # the first counts no longer


def test_proven_calls_let_as_many_more_start() -> None:
    rates = started(allowed(600), 14)

    assert failures_in_advance(rates, NOW + 1) == 14
    assert failures_in_advance(started(rates, 14, NOW + 2), NOW + 2) == 0
    assert failures_in_advance(started(rates, 28, NOW + 2), NOW + 2) == 14


def test_calls_of_one_model_prove_nothing_for_another() -> None:
    rates = started(started(allowed(600, MODEL, "another"), 14), 10, NOW + 2, "another")

    assert failures_in_advance(rates, NOW + 2) == 10


def test_after_some_failures_no_call_is_proven() -> None:
    rates = started(started(allowed(600), 14), 10, NOW + 2)

    assert failures_in_advance(failed(rates, *[NOW + 2] * 3), NOW + 2) == 3
    assert failures_in_advance(failed(rates, *range(int(NOW), int(NOW) + 4)), NOW + 2) == 14


def test_failed_calls_prove_nothing_as_long_as_they_count() -> None:
    rates = failed(started(allowed(600), 14), *[NOW + 0.2] * 14)

    assert failures_in_advance(started(rates, 14, NOW + 40), NOW + 40) == 14


@pytest.mark.parametrize(
    "change",
    [
        lambda rates: reserve(rates, MODEL, "once", NOW),
        lambda rates: release(rates, MODEL, "gone"),
        lambda rates: fail(rates, "known", NOW),
    ],
)
def test_event_that_is_told_twice_counts_once(change: Callable[[Rates], Any]) -> None:
    rates = fail(reserve(Rates(), MODEL, "once", NOW), "known", NOW)

    assert change(rates) == rates


# --- limits --------------------------------------------------------------------------------------


def test_only_bounded_models_and_sane_limits_are_learned() -> None:
    rates = set_limits(Rates(), {f"model-{number}": 10**number for number in range(300)}, NOW)

    assert len(rates.logs) == 200
    assert {log.limit for log in rates.logs.values()} == {1, 10, 100, 1000}
    assert set_limits(Rates(), {MODEL: 0}, NOW).log(MODEL).limit == 1


def test_models_that_nobody_uses_for_day_are_forgotten() -> None:
    rates = started(allowed(50, "old"), 1, NOW + 60, "new")

    assert set(started(rates, 1, NOW + 86_401, "new").logs) == {"new"}


def test_limit_of_answer_holds_at_once() -> None:
    rates = answered(started(allowed(20), 20), Quota(limit=60))

    assert opens_at(rates, MODEL, NOW + 15) == NOW + 15


# --- Venice's minutes ----------------------------------------------------------------------------


def fixed(rates: Rates) -> Rates:
    """The rates after resets at the ends of two minutes."""
    for end in (WHOLE - 60, WHOLE):
        rates = answered(rates, Quota(reset_at=end), at=end - 30)
    return rates


def test_two_resets_on_whole_minutes_show_fixed_minutes() -> None:
    once = answered(allowed(20), Quota(reset_at=WHOLE), at=WHOLE - 30)
    assert not answered(once, Quota(reset_at=WHOLE), at=WHOLE - 20).log(MODEL).is_fixed
    assert not answered(once, Quota(reset_at=WHOLE + 59), at=WHOLE).log(MODEL).is_fixed
    assert answered(once, Quota(reset_at=WHOLE + 60), at=WHOLE).log(MODEL).is_fixed


def test_fixed_minute_gives_whole_limit_soon_after_it_began() -> None:
    full = started(fixed(allowed(20)), 20, WHOLE + 30)

    assert opens_at(full, MODEL, WHOLE + 45) == WHOLE + 60.6
    assert drop(20, rates=full, now=WHOLE + 61)[-1] <= 1.5


def test_calls_at_border_of_fixed_minute_count_in_both() -> None:
    rates = started(fixed(allowed(20)), 20, WHOLE + 59.5)

    assert opens_at(rates, MODEL, WHOLE + 75) == WHOLE + 120.6


def test_refusal_takes_fixed_minutes_back() -> None:
    rates = refused(fixed(allowed(20)), Quota(), WHOLE + 50, WHOLE + 45)

    assert not rates.log(MODEL).is_fixed
    assert opens_at(rates, MODEL, WHOLE + 45) == WHOLE + 50


# --- others with the same account ----------------------------------------------------------------


def test_what_others_use_is_left_to_them() -> None:
    rates = answered(started(allowed(60), 10), Quota(remaining=20))  # 40 used, 10 are ours

    # A fifth of the limit stays free as well.
    assert rates.log(MODEL).others == 30
    assert calls_a_minute(rates.log(MODEL), NOW + 12) == 60 - 30 - 12


@pytest.mark.parametrize("after", [0.5, -0.5])  # seconds, by a clock that may be wrong
def test_own_calls_that_overtook_are_not_taken_for_others(after: float) -> None:
    then = started(allowed(60), 10)
    rates = started(then, 8, NOW + after)

    assert answered(rates, Quota(remaining=42), then=then).log(MODEL).others == 0


def test_answer_that_took_minute_does_not_show_others() -> None:
    rates = answered(started(allowed(60), 10), Quota(remaining=20), seconds=65.0)

    assert rates.log(MODEL).others == 0


def test_who_uses_more_than_others_leaves_them_room() -> None:
    alone = answered(started(allowed(60), 40), Quota(remaining=10))  # ten are others'

    assert calls_a_minute(alone.log(MODEL), NOW + 12) == 38 - (38 - 10) // 8


def test_refusal_that_own_calls_do_not_explain_shows_others() -> None:
    rates = refused(started(allowed(60), 3), Quota(limit=60, remaining=0), NOW + 10, NOW)

    assert rates.log(MODEL).others == 56
    assert calls_a_minute(rates.log(MODEL), NOW + 20) == 1
    assert rates.log(MODEL).blocked_until == NOW + 10


def test_refusal_within_own_limit_shows_some_others() -> None:
    last = refused(started(allowed(60), 59), Quota(remaining=0), NOW + 10, NOW)
    one_more = refused(started(allowed(60), 60), Quota(remaining=0), NOW + 10, NOW)

    assert last.log(MODEL).others == 60 // 8
    assert one_more.log(MODEL).others == 0  # our own calls explain it


def test_call_that_was_refused_for_others_gives_its_slot_back() -> None:
    rates = refused(started(allowed(60), 3), Quota(remaining=0), NOW + 10, NOW)
    own = refused(started(allowed(60), 60), Quota(remaining=0), NOW + 10, NOW)

    assert set(rates.log(MODEL).slots) == {"0", "1", "2"}
    assert len(own.log(MODEL).slots) == 61


def test_refusal_while_calls_remain_does_not_show_others() -> None:
    rates = refused(started(allowed(60), 3), Quota(remaining=56), NOW + 10, NOW)

    assert rates.log(MODEL).others == 0
    assert rates.log(MODEL).blocked_until == NOW + 10


def test_account_that_others_fill_is_tried_ever_more_rarely() -> None:
    rates, now, waits = allowed(60), NOW, []
    for _ in range(2000):
        rates = refused(rates, Quota(remaining=0), now + 1, now)
        waits.append(rates.log(MODEL).blocked_until - now)
        now = rates.log(MODEL).blocked_until + 1

    assert waits[:8] == [1, 15, 30, 60, 120, 240, 300, 300]
    assert set(waits[8:]) == {300}


def test_calls_that_are_refused_together_count_as_one_refusal() -> None:
    rates = refused(allowed(60), Quota(remaining=0, reset_at=NOW + 7.5), NOW + 1, NOW)
    rates = refused(rates, Quota(remaining=0, reset_at=NOW + 7.5), NOW + 1, NOW + 0.1)

    assert rates.log(MODEL).refusals == 1
    assert rates.log(MODEL).blocked_until == pytest.approx(NOW + 7.5 + 0.6)


@pytest.mark.parametrize(
    ("reset", "opens"),  # at once, and after 15 s and 30 s
    [(40.0, [40.0, 40.0, 40.0]), (20.0, [20.0, 20.0, 80.0]), (5.0, [5.0, 65.0, 65.0])],
)
def test_account_that_others_fill_is_tried_when_minute_begins(
    reset: float, opens: list[float]
) -> None:
    rates, waits = allowed(60), []
    for _ in opens:
        rates = refused(rates, Quota(remaining=0, reset_at=WHOLE + 60), NOW, WHOLE + 60 - reset)
        waits.append(rates.log(MODEL).blocked_until - (WHOLE + 60 - reset))
        rates = replace(rates, logs={MODEL: replace(rates.log(MODEL), blocked_until=0.0)})

    assert waits == pytest.approx([each + 0.6 for each in opens])


def test_sliding_minute_is_tried_while_other_stacks_leave_place() -> None:
    quota = Quota(remaining=0, reset_at=NOW + 4.5)  # the oldest call no longer counts then
    rates = refused(allowed(60), quota, NOW + 1, NOW)
    rates = replace(rates, logs={MODEL: replace(rates.log(MODEL), blocked_until=0.0)})

    again = refused(rates, quota, NOW + 1, NOW)

    assert again.log(MODEL).blocked_until == pytest.approx(NOW + 4.5 + 61.1 + 0.6)


def test_calls_are_spread_while_others_use_account() -> None:
    rates = answered(started(allowed(60), 10), Quota(remaining=20))  # 18 are left

    assert drop(3, rates=rates, now=NOW + 13) == pytest.approx([0.0, 2.5, 5.0])


def test_others_that_are_seen_no_more_are_forgotten() -> None:
    rates = answered(started(allowed(60), 10), Quota(remaining=20))
    seen = [
        answered(rates, Quota(remaining=60), at=NOW + after).log(MODEL).others for after in (50, 70)
    ]

    assert seen == [30, 15]
    assert calls_a_minute(rates.log(MODEL), NOW + 500) == 60


def test_who_has_one_call_left_takes_more_back() -> None:
    rates = answered(started(allowed(60), 1), Quota(remaining=3))  # 56 are others'
    fewer = answered(started(rates, 1, NOW + 200), Quota(remaining=50), at=NOW + 200)

    assert fewer.log(MODEL).others == 56 - 14
    again = answered(started(fewer, 1, NOW + 400), Quota(remaining=50), at=NOW + 400)
    assert again.log(MODEL).others == 56 - 14 - 2


@pytest.mark.parametrize(("left", "others"), [(50, 28), (15, 15)])
def test_beginning_of_minute_does_not_show_that_others_left(left: int, others: int) -> None:
    rates = answered(started(allowed(60), 10), Quota(remaining=20))  # 30 are others'

    at = WHOLE + 300 - left
    later = answered(rates, Quota(remaining=60, reset_at=WHOLE + 300), at=at)

    assert later.log(MODEL).others == others


def test_sliding_resets_need_no_write() -> None:
    rates = answered(started(allowed(60), 1), Quota(reset_at=NOW + 33.3))

    assert answered(rates, Quota(reset_at=NOW + 47.7)) == rates


# --- concurrency ---------------------------------------------------------------------------------


def test_calls_in_progress_follow_from_their_duration() -> None:
    rates = answered(started(allowed(60), 30), Quota(), seconds=12.0)

    assert in_progress(rates.log(MODEL), NOW + 11) == 30
    assert in_progress(rates.log(MODEL), NOW + 13) == 0


@pytest.mark.parametrize(("seconds", "needed"), [(5.0, 68), (12.0, 135), (30.0, 135)])
def test_needed_concurrency_follows_limit_and_duration(seconds: float, needed: int) -> None:
    rates = answered(started(allowed(120), 1), Quota(), seconds=seconds)

    assert calls_at_once(rates, NOW + 60) == needed


def test_models_in_use_need_concurrency_together() -> None:
    both = started(started(allowed(60, MODEL, "another", "third"), 1), 1, model="another")

    assert calls_at_once(both, NOW) == 135
    assert calls_at_once(allowed(60, MODEL, "another"), NOW) == 68
    assert calls_at_once(Rates(), NOW) == 23


def test_duration_is_noted_only_when_it_is_unusual() -> None:
    rates = answered(Rates(), Quota(), seconds=10.0)

    assert answered(rates, Quota(), seconds=14.0) == rates
    assert answered(rates, Quota(), seconds=40.0).log(MODEL).seconds == pytest.approx(20.0)


def test_difference_of_half_second_needs_no_write() -> None:
    rates = answered(Rates(), Quota(), seconds=0.1)

    assert answered(rates, Quota(), seconds=0.5) == rates
    assert answered(rates, Quota(), seconds=0.9).log(MODEL).seconds == pytest.approx(0.3)
