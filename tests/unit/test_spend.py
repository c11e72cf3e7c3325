"""What is paid is counted by day of UTC and model, and a day's limit is noticed."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from image_drop.errors import SpendLimitError
from image_drop.spend import Day, Spend

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
LATE = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC).timestamp()


@pytest.fixture
def spend(dynamodb: "DynamoDBClient", table: str) -> Spend:
    return Spend(dynamodb, table, limit_usd=0.10)


def test_a_day_begins_with_nothing(spend: Spend) -> None:
    assert spend.day(NOON) == Day("2026-11-23")


def test_calls_are_counted_by_model(spend: Spend) -> None:
    spend.add("firered-image-edit", 0.04, NOON)
    spend.add("bria-bg-remover", 0.03, NOON)
    last = spend.add("firered-image-edit", 0.08, LATE)

    assert last == spend.day(NOON)
    assert last == Day(
        "2026-11-23",
        usd=0.15,
        usd_by_model={"bria-bg-remover": 0.03, "firered-image-edit": 0.12},
        calls_by_model={"bria-bg-remover": 1, "firered-image-edit": 2},
    )


def test_a_call_of_unknown_price_is_counted_without_a_sum(spend: Spend) -> None:
    assert spend.add("new-edit", None, NOON) == Day(
        "2026-11-23", unpriced=1, calls_by_model={"new-edit": 1}
    )


def test_the_next_day_begins_at_midnight_utc(spend: Spend) -> None:
    spend.add("firered-image-edit", 0.04, LATE)

    assert spend.day(LATE + 1) == Day("2026-11-24")


def test_many_small_sums_add_up_to_the_cent(spend: Spend) -> None:
    for _ in range(200):
        spend.add("m", 0.00345, NOON)

    assert spend.day(NOON).usd == 0.69


def test_days_are_kept_for_more_than_a_year(
    spend: Spend, dynamodb: "DynamoDBClient", table: str
) -> None:
    spend.add("m", 0.04, NOON)

    [item] = dynamodb.scan(TableName=table)["Items"]
    assert int(item["expiration"]["N"]) == NOON + 400 * 86_400


def test_reaching_the_limit_is_an_error_that_says_the_figures_and_when_calls_go_on(
    spend: Spend,
) -> None:
    spend.check(spend.add("m", 0.08, NOON), NOON)

    with pytest.raises(SpendLimitError) as caught:
        spend.check(spend.add("m", 0.02, NOON), NOON)

    assert caught.value.detail == (
        "$0.10 are spent on 2026-11-23, and the limit of a day is $0.10. "
        "Calls go on at 2026-11-24 00:00 UTC."
    )


def test_what_was_possibly_charged_counts_towards_the_limit(spend: Spend) -> None:
    spend.add("m", 0.04, NOON)
    day = spend.add_possibly(0.06, NOON)

    assert (day.usd, day.possibly_usd, day.at_most_usd) == (0.04, 0.06, 0.10)
    with pytest.raises(SpendLimitError):
        spend.check(day, NOON)


def test_zero_is_no_limit(dynamodb: "DynamoDBClient", table: str) -> None:
    spend = Spend(dynamodb, table)

    spend.check(spend.add("m", 1e6, NOON), NOON)
