"""Parts of the day's limit and the end of a day are announced at least once, and never falsely."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from image_drop import spend_watch
from image_drop.events import SpendLevelReached
from image_drop.state.billing import Day
from tests.support.account import TABLE
from tests.support.interruptions import Fault, Killed
from tests.support.stage import MappingState, Stage

CUT_OUT = {"mode": "background-remove"}  # $0.03
LEVEL, END = "Spend Level Reached", "Spend Day Ended"
HOUR = 3600


@pytest.fixture(autouse=True)
def in_the_morning(stage: Stage, mapping: MappingState) -> None:
    now = datetime.fromtimestamp(stage.clock.now(), UTC)
    stage.clock.sleep(86_400 - (now.hour * 3600 + now.minute * 60 + now.second) + 8 * HOUR)
    stage.configure(DAILY_SPEND_LIMIT_USD="0.10")  # three cut-outs, and a cent


def announced(stage: Stage) -> list[dict[str, Any]]:
    """What the next rounds announce of the spend: the details, the detail type among them."""
    stage.watch()
    stage.watch()
    return [detail | {"what": name} for name, detail in stage.events() if name.startswith("Spend")]


def levels(stage: Stage) -> list[int]:
    return [each["percent"] for each in announced(stage) if each["what"] == LEVEL]


def test_each_level_is_announced_once_when_it_is_reached(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    assert levels(stage) == []  # 30 %
    stage.drop("b.jpg", tags=CUT_OUT)
    [half] = announced(stage)
    assert (half["percent"], half["usd"], half["unconfirmed_usd"]) == (50, 0.06, 0)
    assert half["limit_usd"] == 0.1
    stage.drop("c.jpg", tags=CUT_OUT)
    assert levels(stage) == [80]
    stage.drop("d.jpg", tags=CUT_OUT)  # does not fit
    assert levels(stage) == [100]
    assert stage.services.circuit_breaker.status().stopped


def test_levels_that_are_passed_in_one_go_are_each_announced() -> None:
    def percents(usd: float, limit_usd: float, *marks: str, full: float | None = None) -> list[int]:
        day = Day("1970-01-01", usd, limit_usd=limit_usd, announced=frozenset(marks))
        found = spend_watch.news(day, 0.0, "table", full=full)
        return [event.percent for _, event in found if isinstance(event, SpendLevelReached)]

    assert percents(0.09, 0.1) == [50, 80]
    assert percents(0.1, 0.1) == [50, 80, 100]
    assert percents(0.09, 0.1, full=0.1) == [50, 80, 100]
    assert percents(0.03, 0.1, full=0.05) == [50, 100]  # lowered since
    assert percents(0.09, 0.1, "50% of 100000") == [80]
    assert percents(0.12, 0.2, "50% of 100000") == [50]  # a raised limit has its own
    assert percents(0.09, 0.0) == []


def test_price_that_is_released_again_is_no_level(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.venice.faults.add(400, times=2)
    stage.drop("b.jpg", tags=CUT_OUT)
    stage.drop("c.jpg", tags=CUT_OUT)
    assert levels(stage) == []


def test_unconfirmed_call_counts_as_it_does_for_limit(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.configure(read_timeout=1.0)
    stage.venice.faults.add("drop_mid", times=1)
    stage.drop("b.jpg", tags=CUT_OUT)
    [half] = announced(stage)
    assert (half["usd"], half["unconfirmed_usd"]) == (0.03, 0.03)


def test_limit_that_is_lowered_for_today_is_used_up(stage: Stage) -> None:
    stage.configure(DAILY_SPEND_LIMIT_USD="50")
    stage.drop("a.jpg", tags=CUT_OUT)
    assert levels(stage) == []
    stage.services.orders.limit_today(0.05, stage.clock.now())
    stage.drop("b.jpg", tags=CUT_OUT)  # does not fit
    reached = announced(stage)
    assert [(each["percent"], each["limit_usd"]) for each in reached] == [(50, 0.05), (100, 0.05)]


def test_end_of_day_is_announced_once_its_calls_are_settled(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.drop("b.jpg", sidecar={"prompt": "make the sky pink"})
    announced(stage)
    stage.pass_time(16 * HOUR)
    assert announced(stage) == []
    stage.pass_time(900)
    [end] = announced(stage)
    assert end["what"] == END
    assert (end["usd"], end["unconfirmed_usd"], end["calls"]) == (0.07, 0, 2)
    assert end["usd_by_model"] == {"bria-bg-remover": 0.03, "firered-image-edit": 0.04}
    stage.pass_time(24 * HOUR)
    assert announced(stage) == []  # a day without calls has no end


@pytest.mark.parametrize("fault", Fault)
def test_nothing_is_lost_whatever_goes_wrong_in_round(stage: Stage, fault: Fault) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.drop("b.jpg", tags=CUT_OUT)
    stage.events()
    stage.interruptions.plan(None)
    spend_watch.watch(stage.services)
    requests = list(stage.interruptions.requests)
    [(_, first)] = stage.events()
    assert len(requests) == 4  # the days, the pause, the event, the note

    for number in fault.numbers(requests):
        stage.dynamodb.update_item(
            TableName=TABLE,
            Key={"id": {"S": f"spend#{first['date']}"}},
            UpdateExpression="REMOVE announced",
        )
        stage.interruptions.plan(number, fault)
        with suppress(ClientError, ReadTimeoutError, Killed):
            spend_watch.watch(stage.services)
        spend_watch.watch(stage.services)
        found = [detail for _, detail in stage.events()]
        assert found, requests[number]
        assert all(each == first for each in found), requests[number]
        spend_watch.watch(stage.services)
        assert stage.events() == [], requests[number]
