"""Calls without an answer are counted, for a third one is never made."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from image_drop.errors import OutcomeUnknownError
from image_drop.ledger import Ledger
from image_drop.originals import Original

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = 1_800_000_000.0
SHOE = Original("input", "shoe.jpg", "etag", 3, datetime(2026, 11, 23, tzinfo=UTC), {})


@pytest.fixture
def ledger(dynamodb: "DynamoDBClient", table: str) -> Ledger:
    return Ledger(dynamodb, table)


def test_a_first_call_has_none_before_it(ledger: Ledger) -> None:
    assert ledger.begin("edit", SHOE, NOW) == 0


def test_a_call_that_was_answered_does_not_count(ledger: Ledger) -> None:
    for _ in range(5):
        assert ledger.begin("edit", SHOE, NOW) == 0
        ledger.settle("edit", SHOE, NOW)


def test_after_one_call_without_an_answer_one_more_is_made_and_no_third(ledger: Ledger) -> None:
    ledger.begin("edit", SHOE, NOW)

    assert ledger.begin("edit", SHOE, NOW) == 1
    for _ in range(3):
        with pytest.raises(OutcomeUnknownError, match="2 calls"):
            ledger.begin("edit", SHOE, NOW)


def test_an_answered_call_does_not_excuse_an_earlier_one_without_an_answer(ledger: Ledger) -> None:
    ledger.begin("edit", SHOE, NOW)  # never answered
    ledger.begin("edit", SHOE, NOW)
    ledger.settle("edit", SHOE, NOW)

    assert ledger.begin("edit", SHOE, NOW) == 1
    with pytest.raises(OutcomeUnknownError):
        ledger.begin("edit", SHOE, NOW)


def test_striking_out_what_is_not_noted_gives_no_call_for_free(ledger: Ledger) -> None:
    ledger.settle("edit", SHOE, NOW)  # its note has expired
    ledger.begin("edit", SHOE, NOW)
    ledger.settle("edit", SHOE, NOW)
    ledger.settle("edit", SHOE, NOW)

    assert [ledger.begin("edit", SHOE, NOW), ledger.begin("edit", SHOE, NOW)] == [0, 1]
    with pytest.raises(OutcomeUnknownError):
        ledger.begin("edit", SHOE, NOW)


def test_other_edits_and_other_uploads_are_counted_by_themselves(ledger: Ledger) -> None:
    again = replace(SHOE, changed_at=SHOE.changed_at + timedelta(seconds=1))
    ledger.begin("edit", SHOE, NOW)
    ledger.begin("edit", SHOE, NOW)

    assert ledger.begin("another edit", SHOE, NOW) == 0
    assert ledger.begin("edit", again, NOW) == 0


def test_a_note_outlives_its_message_in_the_queue_and_goes_by_itself(
    ledger: Ledger, dynamodb: "DynamoDBClient", table: str
) -> None:
    ledger.begin("edit", SHOE, NOW)

    (item,) = dynamodb.scan(TableName=table)["Items"]
    assert int(item["expiration"]["N"]) == NOW + 30 * 24 * 3600
