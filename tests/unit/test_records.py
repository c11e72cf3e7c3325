"""The record of an image: one holder at a time, and writes that a repetition does not change."""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from image_drop.errors import (
    EditTooDearError,
    InProgressError,
    OutcomeUnknownError,
    SpendLimitError,
)
from image_drop.state.billing import Billing, Settlement, micro
from image_drop.state.edit_record import (
    MAX_HISTORY,
    Attempt,
    Call,
    CallState,
    Record,
    Step,
    record_id,
)
from image_drop.state.records import Hold, Records
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ID = record_id("input", "a.jpg", None)


@pytest.fixture
def records(dynamodb: "DynamoDBClient", table: str, clock: FakeClock) -> Records:
    return Records(dynamodb, table, clock.now, clock.sleep, Random(1))


@pytest.fixture
def billing(records: Records) -> Billing:
    return Billing(records.dynamodb, records.table, records, limit_usd=1.0)


@pytest.fixture
def lost_answers(dynamodb: "DynamoDBClient") -> Iterator[Callable[[str], None]]:
    """Makes the next request of an operation happen twice: its first answer is lost."""
    events = dynamodb.meta.events
    registered: list[tuple[str, Any]] = []

    def lose(operation: str) -> None:
        name = f"after-call.dynamodb.{operation}"

        def repeat(http_response: Any, parsed: Any, model: Any, context: Any, **_: Any) -> None:
            events.unregister(name, repeat)
            again = getattr(dynamodb, _snake(operation))
            try:
                parsed_again = again(**sent[0])
            except dynamodb.exceptions.ClientError as error:
                raise error from None
            parsed |= parsed_again

        sent: list[Mapping[str, Any]] = []

        def note(params: Any, **_: Any) -> None:
            events.unregister(f"provide-client-params.dynamodb.{operation}", note)
            sent.append(dict(params))

        events.register(f"provide-client-params.dynamodb.{operation}", note)
        events.register(name, repeat)
        registered.append((name, repeat))

    yield lose
    for name, handler in registered:
        events.unregister(name, handler)


def _snake(operation: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).strip("_")


def call(id: str = "c1", usd: float = 0.03, drop: str = "v1", at: float = 1_800_000_000.0) -> Call:
    return Call(
        id=id, digest="d", drop=drop, at=at, date="2027-01-15", model="m", micro_usd=micro(usd)
    )


def claim(records: Records, holder: str = "me", seconds: float = 300) -> Hold:
    return records.claim(records.read_record(ID), holder, records.now() + seconds)


class TestHold:
    def test_second_claim_waits_for_first_holder(self, records: Records) -> None:
        claim(records)

        with pytest.raises(InProgressError) as caught:
            claim(records, "other")

        assert caught.value.retry_at == records.now() + 30

    def test_released_record_can_be_claimed_at_once(self, records: Records) -> None:
        claim(records).release()

        assert not claim(records, "other").died

    def test_holder_that_died_is_taken_over_when_its_time_is_up(
        self, records: Records, clock: FakeClock
    ) -> None:
        claim(records, seconds=300)
        clock.sleep(300)

        assert claim(records, "other").died

    def test_holder_that_was_taken_over_writes_nothing_any_more(
        self, records: Records, clock: FakeClock
    ) -> None:
        late = claim(records)
        clock.sleep(300)
        claim(records, "other")

        with pytest.raises(InProgressError):
            late.update(lambda record: msgspec.structs.replace(record, outbox=("late",)))

        assert records.read_record(ID).record.outbox == ()

    def test_claim_whose_answer_was_lost_is_still_claim(
        self, records: Records, lost_answers: Callable[[str], None]
    ) -> None:
        lost_answers("PutItem")

        assert claim(records).record.holder == "me"

    def test_records_are_kept_for_four_hundred_days(
        self, records: Records, dynamodb: "DynamoDBClient", clock: FakeClock
    ) -> None:
        claim(records)

        item = dynamodb.get_item(TableName="state", Key={"id": {"S": ID}})["Item"]

        assert int(item["expiration"]["N"]) == int(clock.now()) + 400 * 86_400

    def test_variant_and_key_with_same_letters_are_different_records(self) -> None:
        assert record_id("b", "a.jpg", "x") != record_id("b", "a.jpg.x", None)
        assert record_id("b", "x#a.jpg", None) != record_id("b", "a.jpg", "x")


class TestMoney:
    def test_reservation_counts_as_unconfirmed_until_it_is_settled(
        self, records: Records, billing: Billing, clock: FakeClock
    ) -> None:
        hold = claim(records)
        billing.begin(hold, call())

        day = billing.day(clock.now())
        assert (day.usd, day.unconfirmed_usd, day.at_most_usd) == (0, 0.03, 0.03)

        billing.settle(ID, Settlement("c1", CallState.PAID, micro(0.07), clock.now()))

        day = billing.day(clock.now())
        assert (day.usd, day.unconfirmed_usd, day.at_most_usd) == (0.07, 0, 0.07)
        assert (day.calls_by_model, day.usd_by_model) == ({"m": 1}, {"m": 0.07})

    def test_call_that_cost_nothing_gives_its_reservation_back(
        self, records: Records, billing: Billing, clock: FakeClock
    ) -> None:
        billing.begin(claim(records), call())

        billing.settle(ID, Settlement("c1", CallState.FREE, 0, clock.now()))

        assert billing.day(clock.now()).at_most_usd == 0
        assert billing.day(clock.now()).calls_by_model == {}

    def test_settling_twice_moves_money_once(
        self, records: Records, billing: Billing, clock: FakeClock
    ) -> None:
        billing.begin(claim(records), call())
        for usd in (0.03, 0.99):
            billing.settle(ID, Settlement("c1", CallState.PAID, micro(usd), clock.now()))

        assert billing.day(clock.now()).usd == 0.03

    def test_answers_lost_at_begin_and_settle_count_each_call_once(
        self,
        records: Records,
        billing: Billing,
        clock: FakeClock,
        lost_answers: Callable[[str], None],
    ) -> None:
        hold = claim(records)
        lost_answers("TransactWriteItems")
        billing.begin(hold, call())
        lost_answers("TransactWriteItems")
        billing.settle(ID, Settlement("c1", CallState.PAID, micro(0.03), clock.now()))

        day = billing.day(clock.now())
        assert (day.usd, day.unconfirmed_usd, day.at_most_usd) == (0.03, 0, 0.03)

    def test_calls_in_flight_count_against_limit(self, records: Records, billing: Billing) -> None:
        hold = claim(records)
        for number in range(4):
            billing.begin(hold, call(f"c{number}", usd=0.25, drop=f"v{number}"))

        with pytest.raises(SpendLimitError) as caught:
            billing.begin(hold, call("c5", usd=0.01, drop="v5"))

        assert "$1.00 of the $1.00" in caught.value.detail
        assert len(records.read_record(ID).record.calls) == 4

    def test_call_dearer_than_whole_day_is_report_and_no_wait(
        self, records: Records, billing: Billing
    ) -> None:
        with pytest.raises(EditTooDearError):
            billing.begin(claim(records), call(usd=1.01))

    def test_third_call_for_same_thing_is_not_begun(
        self, records: Records, billing: Billing
    ) -> None:
        hold = claim(records)
        billing.begin(hold, call("c1"))
        billing.begin(hold, call("c2"))

        with pytest.raises(OutcomeUnknownError):
            billing.begin(hold, call("c3"))
        billing.begin(hold, call("c4", drop="v2"))  # uploaded again

    @pytest.mark.slow
    def test_sums_of_many_small_prices_are_exact(
        self, records: Records, billing: Billing, clock: FakeClock
    ) -> None:
        hold = claim(records)
        for number in range(60):
            billing.begin(hold, call(f"c{number}", usd=0.00345, drop=f"v{number}"))
            billing.settle(
                ID, Settlement(f"c{number}", CallState.PAID, micro(0.00345), clock.now())
            )

        assert billing.day(clock.now()).usd == 0.207

    def test_record_of_key_that_is_edited_every_day_stays_small(self) -> None:
        record = Record()
        for number in range(200):
            record = record.begun(call(f"c{number}")).settled(f"c{number}", CallState.PAID, 1)
        record = record.begun(call("open"))

        assert len(record.calls) <= 52
        assert record.call("open") is not None


class TestLife:
    """What a record says of the steps in an image's life."""

    def test_same_step_in_row_is_counted(self) -> None:
        record = Record()
        for at in (1.0, 2.0, 3.0):
            record = record.after(Step(at, "no_slot"))
        assert record.after(Step(4.0, "result")).history == (
            Step(1.0, "no_slot", 3),
            Step(4.0, "result"),
        )

    def test_history_stays_bounded(self) -> None:
        record = Record()
        for number in range(2 * MAX_HISTORY):
            record = record.after(Step(number, f"step {number}"))
        assert len(record.history) == MAX_HISTORY
        assert record.history[-1].what == f"step {2 * MAX_HISTORY - 1}"

    def test_attempt_in_vain_is_kept_until_next_one(self, records: Records) -> None:
        attempt = Attempt(at=records.now(), code="rate_limited", message_id="m", failures=2)
        claim(records).release(attempt)
        assert records.read_record(ID).record.attempt == attempt
        claim(records).release()
        assert records.read_record(ID).record.attempt is None
