"""The circuit breaker stops once and resumes once, and tells everybody in between."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from image_drop.errors import ProcessingPausedError
from image_drop.state.circuit_breaker import CircuitBreaker, Status, is_renewed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOW = 1_800_000_000.25


@pytest.fixture
def breaker(dynamodb: "DynamoDBClient", table: str) -> CircuitBreaker:
    return CircuitBreaker(dynamodb, table)


def test_new_circuit_breaker_lets_calls_run(breaker: CircuitBreaker) -> None:
    breaker.require(NOW)

    assert breaker.status() == Status()


def test_open_circuit_breaker_refuses_and_says_when_to_ask_again(
    breaker: CircuitBreaker,
) -> None:
    breaker.stop("account_unavailable", "Venice answered 402.", NOW)

    with pytest.raises(ProcessingPausedError, match="Venice answered 402") as caught:
        breaker.require(NOW + 10)
    assert caught.value.retry_at == NOW + 70
    status = breaker.status()
    assert status == Status(
        True, "account_unavailable", "Venice answered 402.", NOW, id=status.id, announced=False
    )


def test_first_of_several_who_stop_is_told_so(
    breaker: CircuitBreaker,
) -> None:
    assert breaker.stop("account_unavailable", "first", NOW)
    assert not breaker.stop("account_unavailable", "second", NOW + 1)

    assert (breaker.status().detail, breaker.status().since) == ("first", NOW)


def test_resumed_circuit_breaker_lets_calls_run(breaker: CircuitBreaker) -> None:
    breaker.stop("account_unavailable", "Venice answered 402.", NOW)

    assert breaker.resume(NOW + 60)
    breaker.require(NOW + 61)
    assert breaker.status() == Status(
        since=NOW + 60, id=breaker.status().id, stopped_for=60.0, announced=False
    )


def test_only_stopped_circuit_breaker_is_resumed(breaker: CircuitBreaker) -> None:
    assert not breaker.resume(NOW)
    breaker.stop("account_unavailable", "", NOW)
    assert breaker.resume(NOW)
    assert not breaker.resume(NOW)


def test_circuit_breaker_can_be_stopped_again(breaker: CircuitBreaker) -> None:
    breaker.stop("account_unavailable", "first", NOW)
    breaker.resume(NOW + 1)

    assert breaker.stop("account_unavailable", "second", NOW + 2)
    with pytest.raises(ProcessingPausedError, match="second"):
        breaker.require(NOW + 3)


# --- a stop and its reason -----------------------------------------------------------------------


def test_only_stop_that_was_looked_at_is_resumed(breaker: CircuitBreaker) -> None:
    breaker.stop("account_unavailable", "first", NOW)
    seen = breaker.status().id
    breaker.resume(NOW + 1)
    breaker.stop("account_unavailable", "second", NOW + 2)

    assert not breaker.resume(NOW + 3, stop=seen)
    assert breaker.status().detail == "second"
    assert breaker.resume(NOW + 3, stop=breaker.status().id)


def test_daily_limit_replaces_another_reason_and_is_news(breaker: CircuitBreaker) -> None:
    breaker.stop("account_unavailable", "Venice answered 402.", NOW)
    seen = breaker.status().id

    assert breaker.stop("daily_spend_limit", "$5 are spent.", NOW + 5, limit_usd=5.0)

    assert (breaker.status().reason, breaker.status().limit_usd) == ("daily_spend_limit", 5.0)
    assert not breaker.resume(NOW + 6, stop=seen)
    assert not breaker.stop("account_unavailable", "Venice answered 402.", NOW + 7)
    assert not breaker.stop("daily_spend_limit", "$5 are spent.", NOW + 8, limit_usd=5.0)


@pytest.mark.parametrize(
    ("limit_usd", "hours", "over"),
    [
        (5.0, 0, False),
        (4.0, 1, False),
        (5.01, 0, True),
        (0.0, 0, True),
        (5.0, 15.9, False),  # NOW is 08:00 UTC
        (5.0, 16, True),
        (4.0, 16, True),
    ],
)
def test_stop_for_daily_limit_ends_with_day_or_higher_limit(
    limit_usd: float, hours: float, over: bool
) -> None:
    status = Status(True, "daily_spend_limit", "", NOW, limit_usd=5.0)

    assert is_renewed(status, limit_usd, NOW + hours * 3600) is over


# --- whose fault a refusal is --------------------------------------------------------------------


def refused(breaker: CircuitBreaker, model: str, now: float, status: int = 402) -> None:
    breaker.stop(
        "account_unavailable", f"Venice answered {status}.", now, model=model, status=status
    )


def test_model_refused_while_others_work_is_skipped_for_one_hour(
    breaker: CircuitBreaker,
) -> None:
    refused(breaker, "dear", NOW)
    refused(breaker, "dearer", NOW + 300)
    breaker.resume(NOW + 500, accepted=True)

    for model in ("dear", "dearer"):
        assert breaker.tolerates(model, 402, NOW + 500 + 3599)
        assert not breaker.tolerates(model, 402, NOW + 500 + 3601)
    assert not breaker.tolerates("dear", 403, NOW + 600)
    assert not breaker.tolerates("cheap", 402, NOW + 600)


def test_blame_outlives_another_stop(breaker: CircuitBreaker) -> None:
    refused(breaker, "dear", NOW)
    breaker.resume(NOW + 60, accepted=True)
    refused(breaker, "cheap", NOW + 120)
    breaker.resume(NOW + 180)

    assert breaker.tolerates("dear", 402, NOW + 200)
    assert not breaker.tolerates("cheap", 402, NOW + 200)


def test_no_model_is_skipped_once_account_itself_is_refused(
    breaker: CircuitBreaker,
) -> None:
    refused(breaker, "dear", NOW)
    breaker.resume(NOW + 60, accepted=True)
    breaker.stop("account_unavailable", "Access is not permitted.", NOW + 120)
    breaker.resume(NOW + 180, accepted=True)

    assert not breaker.tolerates("dear", 402, NOW + 200)


@pytest.mark.parametrize(
    "happen",
    [
        lambda breaker: breaker.resume(NOW + 60),  # without a call
        lambda breaker: breaker.resume(
            NOW + 700, accepted=True
        ),  # the account may have been mended
        lambda breaker: (
            breaker.stop("account_unavailable", "Access is not permitted.", NOW + 30),
            breaker.resume(NOW + 60, accepted=True),
        ),
    ],
)
def test_no_model_is_skipped_where_account_may_be_refused(
    breaker: CircuitBreaker, happen: Callable[[CircuitBreaker], Any]
) -> None:
    refused(breaker, "dear", NOW)

    happen(breaker)

    assert not breaker.status().stopped
    assert not breaker.tolerates("dear", 402, NOW + 701)


# --- lost answers --------------------------------------------------------------------------------


class Forgetful:
    """A client that loses its first answer to a write, and repeats it as boto3 does."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.exceptions = client.exceptions
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **arguments: Any) -> Any:
        answer = self._client.put_item(**arguments)
        if not self.lost:
            self.lost = True
            return self._client.put_item(**arguments)
        return answer


def test_stop_whose_answer_was_lost_is_still_news(dynamodb: "DynamoDBClient", table: str) -> None:
    client: Any = Forgetful(dynamodb)

    assert CircuitBreaker(client, table).stop("account_unavailable", "Venice answered 402.", NOW)
    assert client.lost


def test_resumption_whose_answer_was_lost_is_still_news(breaker: CircuitBreaker) -> None:
    breaker.stop("account_unavailable", "Venice answered 402.", NOW)
    client: Any = Forgetful(breaker.dynamodb)

    assert CircuitBreaker(client, breaker.table).resume(NOW + 60)
    assert client.lost
