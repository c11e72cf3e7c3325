"""The line is stopped once and resumed once, and says so to everybody in between."""

from typing import TYPE_CHECKING

import pytest

from image_drop.errors import LineStoppedError
from image_drop.line import Line, Status

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = 1_800_000_000.25


@pytest.fixture
def line(dynamodb: "DynamoDBClient", table: str) -> Line:
    return Line(dynamodb, table)


def test_a_new_line_runs(line: Line) -> None:
    line.require(NOW)

    assert line.status() == Status()


def test_a_stopped_line_lets_nobody_call_and_says_when_to_ask_again(line: Line) -> None:
    line.stop("account_unavailable", "Venice answered 402.", NOW)

    with pytest.raises(LineStoppedError, match="Venice answered 402") as caught:
        line.require(NOW + 10)
    assert caught.value.retry_at == NOW + 70
    assert line.status() == Status(True, "account_unavailable", "Venice answered 402.", NOW)


def test_the_first_of_several_who_stop_the_line_is_the_one_to_say_so(line: Line) -> None:
    assert line.stop("account_unavailable", "first", NOW)
    assert not line.stop("account_unavailable", "second", NOW + 1)

    assert (line.status().detail, line.status().since) == ("first", NOW)


def test_a_resumed_line_runs(line: Line) -> None:
    line.stop("account_unavailable", "Venice answered 402.", NOW)

    assert line.resume(NOW + 60)
    line.require(NOW + 61)
    assert line.status() == Status(since=NOW + 60)


def test_only_a_stopped_line_is_resumed(line: Line) -> None:
    assert not line.resume(NOW)
    line.stop("account_unavailable", "", NOW)
    assert line.resume(NOW)
    assert not line.resume(NOW)


def test_a_line_can_be_stopped_again(line: Line) -> None:
    line.stop("account_unavailable", "first", NOW)
    line.resume(NOW + 1)

    assert line.stop("account_unavailable", "second", NOW + 2)
    with pytest.raises(LineStoppedError, match="second"):
        line.require(NOW + 3)
