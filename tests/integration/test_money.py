"""What is paid is counted, and the daily limit pauses processing until midnight UTC."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from image_drop.state.billing import Day
from image_drop.venice.known_models import KNOWN
from tests.support.interruptions import Killed
from tests.support.lambda_context import FakeContext
from tests.support.stage import MappingState, Stage

CUT_OUT = {"mode": "background-remove"}  # $0.03
PINK = {"prompt": "make the sky pink"}  # $0.04
ROUND = 300  # seconds between two looks at the account

Metrics = Callable[[], dict[str, list[float]]]


def today(stage: Stage) -> Day:
    return stage.services.billing.day(stage.clock.now())


def charged(stage: Stage) -> float:
    """What Venice took."""
    return round(sum(call.charged_usd for call in stage.venice.calls), 6)


def until_midnight(stage: Stage) -> float:
    now = datetime.fromtimestamp(stage.clock.now(), UTC)
    return 86_400 - (now.hour * 3600 + now.minute * 60 + now.second)


@pytest.fixture(autouse=True)
def in_the_morning(stage: Stage) -> None:
    stage.clock.sleep(until_midnight(stage) + 8 * 3600)


class TestCount:
    def test_paid_calls_are_counted_by_model_as_venice_charges_them(self, stage: Stage) -> None:
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.drop("b.jpg", sidecar=PINK)
        stage.drop("c.jpg", sidecar=PINK | {"enhance_prompt": True})
        stage.drop(
            "d.jpg",
            sidecar=PINK | {"mode": "multi-edit", "model": "gpt-image-2-edit", "quality": "low"},
        )

        day = today(stage)
        assert day.usd == charged(stage) == 0.18  # 0.03 + 0.04 + (0.04 + 0.04) + 0.03
        assert day.calls_by_model == {
            "bria-bg-remover": 1,
            "firered-image-edit": 2,
            "gpt-image-2-edit": 1,
        }
        assert day.unconfirmed_usd == 0

    def test_what_is_not_paid_is_not_counted(self, stage: Stage) -> None:
        stage.venice.faults.add(503, times=1)
        stage.drop("late.jpg", tags=CUT_OUT)
        stage.drop("wrong.jpg", b"no image", tags=CUT_OUT)
        stage.drop("refused.jpg", sidecar=PINK | {"model": "made-up-edit"})
        assert today(stage).usd == 0

        stage.work_off()
        stage.upload(stage.put("late.jpg", tags=CUT_OUT))

        assert today(stage).usd == charged(stage) == 0.03

    def test_unusable_answer_is_counted_because_it_is_charged(self, stage: Stage) -> None:
        stage.venice.faults.add("html", times=1)

        assert stage.drop("a.jpg", tags=CUT_OUT) == "reported"

        assert today(stage).usd == charged(stage) == 0.03

    def test_finish_that_is_made_anew_costs_nothing(self, stage: Stage) -> None:
        finish = {"format": "webp"}
        stage.drop("a.jpg", sidecar=CUT_OUT | {"finish": finish, "keep_original": True})
        stage.upload(
            stage.put_json(
                "a.jpg.json", **CUT_OUT, finish=finish | {"margin": "10%"}, keep_original=True
            )
        )

        assert stage.paid == 1
        assert today(stage).usd == charged(stage) == 0.03

    def test_metric_has_dollars(self, stage: Stage, metrics: Metrics) -> None:
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.drop("b.jpg", sidecar=PINK)

        assert metrics()["Spend"] == [0.03, 0.04]

    def test_call_without_answer_stays_unconfirmed(self, stage: Stage, metrics: Metrics) -> None:
        stage.venice.faults.add("drop_mid", times=1)
        stage.drop("a.jpg", tags=CUT_OUT)

        stage.work_off()

        day = today(stage)
        assert (day.usd, day.unconfirmed_usd) == (0.03, 0.03)
        assert metrics()["UnconfirmedUSD"] == [0.03]

    def test_unknown_outcome_is_visible_twice(self, stage: Stage) -> None:
        stage.venice.faults.add("drop_mid", times=2)
        stage.drop("a.jpg", tags=CUT_OUT)

        stage.work_off()

        assert stage.report("a.jpg")["code"] == "outcome_unknown"
        assert (today(stage).usd, today(stage).unconfirmed_usd) == (0, 0.06)

    def test_death_before_result_is_stored_leaves_call_unconfirmed(self, stage: Stage) -> None:
        stage.kill("before-call.PutObject")
        event = stage.put("a.jpg", tags=CUT_OUT)
        with pytest.raises(Killed):
            stage.upload(event)
        stage.pass_time(400)

        stage.upload(event)  # notes the death
        stage.work_off()

        assert (today(stage).usd, today(stage).unconfirmed_usd) == (0.03, 0.03)
        assert charged(stage) == 0.06

    def test_call_broken_after_work_is_unconfirmed_and_not_repeated(self, stage: Stage) -> None:
        stage.venice.faults.add("reset_after")  # charged each time, and nothing comes back

        stage.drop("a.jpg", tags=CUT_OUT)
        stage.work_off()

        assert stage.report("a.jpg")["code"] == "outcome_unknown"
        assert stage.calls == 2
        assert (today(stage).usd, today(stage).unconfirmed_usd) == (0, 0.06)
        assert charged(stage) == 0.06

    def test_refusal_that_may_be_charged_is_unconfirmed(self, stage: Stage) -> None:
        stage.venice.faults.add(422, times=1)

        assert stage.drop("a.jpg", sidecar=PINK) == "reported"

        assert (today(stage).usd, today(stage).unconfirmed_usd) == (0, 0.04)

    def test_unusable_answer_is_paid_once_although_table_fails(self, stage: Stage) -> None:
        stage.venice.faults.add("html")
        throttled = ClientError({"Error": {"Code": "ThrottlingException"}}, "PutItem")
        calls = []

        def throttle(**_: object) -> None:
            calls.append(1)
            if 4 <= len(calls) < 40:
                raise throttled

        events = stage.services.records.dynamodb.meta.events
        events.register("before-call.dynamodb.*", throttle)
        stage.deliver(stage.put("a.jpg", tags=CUT_OUT))
        stage.work_off()

        assert stage.calls <= 2
        assert stage.report("a.jpg")["code"] in ("unusable_answer", "outcome_unknown")
        day = today(stage)
        assert round(day.usd + day.unconfirmed_usd, 6) == charged(stage)


class TestPrices:
    def test_account_watch_keeps_catalogue_once_day(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        for _ in range(3):
            stage.watch()
            stage.clock.sleep(ROUND)

        asked = [call.path for call in stage.venice.calls if call.path.endswith("/models")]
        assert len(asked) == 2  # edit models, and the background remover
        stage.cold_start()
        assert not stage.services.catalogue.is_old()
        assert stage.services.catalogue.current().models.keys() >= KNOWN.keys()

    def test_unreachable_catalogue_leaves_prices_as_they_were(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        stage.venice.faults.add(503, endpoint="models", times=1)

        stage.watch()

        assert stage.services.catalogue.current().models.keys() >= KNOWN.keys()
        assert not stage.processing_paused


class TestLimit:
    def test_reaching_limit_pauses_processing(self, stage: Stage, mapping: MappingState) -> None:
        stage.configure(DAILY_SPEND_LIMIT_USD="0.06")
        stage.events()

        assert [stage.drop(f"{n}.jpg", tags=CUT_OUT) for n in range(4)] == [
            "edited",
            "edited",
            "queued",
            "queued",
        ]

        status = stage.services.circuit_breaker.status()
        assert (status.stopped, status.reason) == (True, "daily_spend_limit")
        assert "$0.06" in status.detail
        assert "00:00 UTC" in status.detail
        announced = [detail for name, detail in stage.events() if "Unavailable" in name]
        assert [each["reason"] for each in announced] == ["daily_spend_limit"]
        assert stage.paid == 2

    def test_processing_stays_paused_without_trial_until_midnight(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        stage.configure(DAILY_SPEND_LIMIT_USD="0.03")
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.drop("b.jpg", tags=CUT_OUT)

        while until_midnight(stage) > ROUND:
            stage.watch("account-unavailable" if stage.calls else "schedule")
            assert stage.processing_paused
            assert mapping() == "Disabled"
            stage.clock.sleep(3600 if until_midnight(stage) > 3600 + ROUND else ROUND)
        assert stage.paid == 1

        stage.clock.sleep(ROUND)
        stage.watch()

        assert not stage.processing_paused
        assert mapping() == "Enabled"
        assert [name for name, _ in stage.events()][-1] == "Venice Account Restored"
        assert stage.paid == 1  # nothing was tried: the date decides
        stage.work_off()
        assert stage.outputs() == ["a.jpg.png", "b.jpg.png"]
        assert stage.dead() == 0

    def test_raised_limit_resumes_processing_at_next_look(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        stage.configure(DAILY_SPEND_LIMIT_USD="0.03")
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.drop("b.jpg", tags=CUT_OUT)
        stage.watch()
        assert stage.processing_paused

        stage.configure(DAILY_SPEND_LIMIT_USD="0")
        stage.watch()

        assert not stage.processing_paused

    def test_pause_for_other_reason_is_not_tried_at_reached_limit(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        stage.configure(DAILY_SPEND_LIMIT_USD="0.03")
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.services.circuit_breaker.resume(stage.clock.now())
        stage.venice.change(account="no_balance")
        stage.watch()
        assert stage.services.circuit_breaker.status().reason == "account_unavailable"
        stage.drop("b.jpg", tags=CUT_OUT)

        stage.venice.change(account="ok")
        stage.clock.sleep(ROUND)
        stage.watch()

        assert stage.processing_paused
        assert stage.paid == 1

    def test_limit_holds_even_where_processing_was_not_paused(self, stage: Stage) -> None:
        stage.configure(DAILY_SPEND_LIMIT_USD="0.03")
        stage.drop("first.jpg", tags=CUT_OUT)
        stage.services.circuit_breaker.resume(stage.clock.now())

        assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"

        assert stage.calls == 1
        assert stage.processing_paused

    def test_waiting_for_midnight_uses_up_no_tries(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        stage.configure(tries=2, DAILY_SPEND_LIMIT_USD="0.03")
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.drop("b.jpg", tags=CUT_OUT)

        for _ in range(12):  # as if the mapping were not paused
            stage.pass_time(ROUND)
            stage.redeliver(FakeContext())

        assert (stage.dead(), stage.waiting()) == (0, 1)
        assert stage.outputs() == ["a.jpg.png"]
