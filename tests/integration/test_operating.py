"""Pause, resume, cancel and today's limit: what an operator orders, the real functions follow."""

from image_drop.state.circuit_breaker import BY_HAND
from image_drop_cli import operating
from image_drop_cli.explanation import explain
from image_drop_cli.image_state import Kind
from image_drop_cli.operating import Cancelled, DayLimit
from image_drop_cli.upload.estimate import estimate
from tests.support.stage import INPUT, MappingState, Stage
from tests.support.stage_deployment import deployment_of

CUT_OUT = {"mode": "background-remove"}


def pause(stage: Stage) -> None:
    operating.pause(deployment_of(stage), stage.clock.now())


def resume(stage: Stage) -> bool:
    """Whether processing runs afterwards."""
    return not operating.resume(deployment_of(stage), stage.clock.now()).now.stopped


def cancel(stage: Stage, prefix: str) -> Cancelled:
    return operating.cancel(prefix, deployment_of(stage), stage.clock.now())


def limit(stage: Stage, usd: float) -> DayLimit:
    return operating.limit_today(usd, deployment_of(stage), stage.clock.now())


class TestPause:
    """By hand: nothing but a person ends it."""

    def test_no_call_starts_until_somebody_resumes(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        pause(stage)
        stage.drop("a.jpg", tags=CUT_OUT)
        for _ in range(3):
            stage.watch()
            stage.pass_time(300)
            stage.redeliver()
        assert (stage.calls, stage.outputs(), mapping()) == (0, [], "Disabled")
        [event] = [detail for name, detail in stage.events() if "Unavailable" in name]
        assert event["reason"] == BY_HAND

        assert resume(stage)
        stage.watch()
        stage.work_off()

        assert (stage.outputs(), mapping()) == (["a.jpg.png"], "Enabled")

    def test_neither_second_pause_nor_refused_account_replaces_it(self, stage: Stage) -> None:
        pause(stage)
        first = stage.services.circuit_breaker.status()
        stage.pass_time(60)
        pause(stage)
        stage.pause()
        assert stage.services.circuit_breaker.status() == first
        assert resume(stage)
        stage.pause()
        assert not resume(stage)  # the account watch resumes that

    def test_it_replaces_pause_that_would_end_by_itself(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        stage.pause()
        pause(stage)
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.watch()
        assert stage.calls == 0
        assert stage.processing_paused

    def test_explain_and_progress_say_who_resumes(self, stage: Stage) -> None:
        pause(stage)
        stage.drop("a.jpg", tags=CUT_OUT)
        [request] = explain("a.jpg", deployment_of(stage)).requests
        assert request.state.kind is Kind.PAUSED
        assert request.state.what_to_do == "Resume with `image-drop resume`."
        assert "image-drop resume" in estimate({}, stage.services).paused


class TestCancel:
    """What was queued before is dropped without a call; what comes later is edited."""

    def test_queued_edits_end_as_reports_without_calls(self, stage: Stage) -> None:
        stage.drop("p/paid.jpg", tags=CUT_OUT)
        stage.venice.faults.add(503, times=2)
        stage.drop("p/a.jpg", tags=CUT_OUT)
        stage.drop("q/b.jpg", tags=CUT_OUT)
        calls = stage.calls

        cancelled = cancel(stage, "p/")
        stage.pass_time(1)
        stage.work_off()

        tally = cancelled.tally
        assert (tally.images, tally.paid_calls, tally.paid_usd) == (2, 1, 0.03)
        assert (tally.open_results, tally.unconfirmed_calls, tally.complete) == (1, 0, True)
        assert stage.report("p/a.jpg")["code"] == "cancelled"
        assert "Venice was not called" in stage.report("p/a.jpg")["detail"]
        assert stage.outputs() == ["p/a.jpg.error.json", "p/paid.jpg.png", "q/b.jpg.png"]
        assert stage.calls == calls + 1
        [request] = explain("p/a.jpg", deployment_of(stage)).requests
        assert (request.state.kind, "cancelled" in request.state.text) == (Kind.REPORT, True)

    def test_event_from_before_is_dropped_however_late(self, stage: Stage) -> None:
        event = stage.put("p/a.jpg", tags=CUT_OUT)
        cancel(stage, "p/")
        stage.pass_time(3600)
        stage.upload(event)
        stage.upload(event)
        assert stage.report("p/a.jpg")["code"] == "cancelled"
        assert (stage.calls, len(stage.events())) == (0, 1)

    def test_right_instructions_afterwards_are_followed_at_once(self, stage: Stage) -> None:
        stage.venice.faults.add(503, times=1)
        stage.drop("p/a.jpg", sidecar={"prompt": "wrong"})
        cancel(stage, "p/")
        stage.pass_time(2)

        later = stage.put_json("p/a.jpg.json", prompt="right")
        stage.redeliver()  # the message from before
        stage.upload(later)
        stage.work_off()

        assert stage.outputs() == ["p/a.jpg.png"]
        assert [call.prompt_length for call in stage.venice.calls if call.paid] == [len("right")]

    def test_image_of_same_second_is_dropped_too(self, stage: Stage) -> None:
        event = stage.put("p/a.jpg", tags=CUT_OUT)
        uploaded = stage.s3.head_object(Bucket=INPUT, Key="p/a.jpg")["LastModified"].timestamp()
        event["Records"][0].pop("eventTime")
        operating.cancel("p/", deployment_of(stage), uploaded)

        stage.upload(event)

        assert (stage.calls, stage.report("p/a.jpg")["code"]) == (0, "cancelled")

    def test_cancelled_image_can_be_retried(self, stage: Stage) -> None:
        event = stage.put("p/a.jpg", tags=CUT_OUT)
        cancel(stage, "p/")
        stage.pass_time(2)
        stage.upload(event)

        stage.upload(stage.put("p/a.jpg", tags=CUT_OUT))

        assert stage.outputs() == ["p/a.jpg.png"]

    def test_new_tags_afterwards_are_followed(self, stage: Stage) -> None:
        event = stage.put("p/a.jpg", tags=CUT_OUT)
        cancel(stage, "p/")
        stage.pass_time(2)
        stage.upload(event)

        tagged = stage.put("elsewhere.jpg")  # for an event of now
        tagged["Records"][0]["s3"]["object"]["key"] = "p/a.jpg"
        stage.upload(tagged)

        assert stage.outputs() == ["p/a.jpg.png"]

    def test_answer_that_is_paid_already_is_finished(self, stage: Stage) -> None:
        sidecar = {"mode": "background-remove", "finish": {"background": "_layers/late.png"}}
        stage.put("p/_layers/late.png", b"no picture yet")
        stage.drop("p/a.jpg", sidecar=sidecar)
        assert (stage.paid, stage.report("p/a.jpg")["code"]) == (1, "bad_layer")
        event = stage.put("p/_layers/late.png")
        event = stage.put_json("p/a.jpg.json", **sidecar)
        cancel(stage, "p/")
        stage.pass_time(2)
        stage.upload(event)
        assert (stage.paid, stage.outputs("p/a.jpg.p")) == (1, ["p/a.jpg.png"])

    def test_variants_are_dropped_and_counted(self, stage: Stage) -> None:
        variants = {"a": CUT_OUT, "b": {"prompt": "red"}}
        stage.drop("p/a.jpg", sidecar={"variants": variants})
        stage.redeliver()
        cancelled = cancel(stage, "p/")
        stage.pass_time(1)
        stage.work_off()
        assert cancelled.tally.paid_calls == 1
        assert len([key for key in stage.outputs() if key.endswith(".error.json")]) == 1

    def test_backfill_that_still_queues_more_is_told(self, stage: Stage) -> None:
        stage.services.scans.start("p/sub/", stage.clock.now())
        assert [scan.prefix for scan in cancel(stage, "p/").scans] == ["p/sub/"]
        assert cancel(stage, "q/").scans == ()

    def test_shorter_prefix_takes_place_of_longer_ones(self, stage: Stage) -> None:
        orders = stage.services.orders
        for number in range(3):
            orders.cancel(f"p/{number}/", 1.0)
        orders.cancel("p/", 2.0)
        assert [each.prefix for each in orders.current().cancellations] == ["p/"]
        orders.cancel("q/", 2.0 + 16 * 86_400)
        assert [each.prefix for each in orders.current().cancellations] == ["q/"]


class TestLimit:
    """Of today alone."""

    def test_lower_limit_pauses_and_higher_one_resumes(
        self, stage: Stage, mapping: MappingState
    ) -> None:
        limit(stage, 0.05)
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.drop("b.jpg", tags=CUT_OUT)
        stage.watch()
        assert stage.processing_paused
        assert stage.outputs() == ["a.jpg.png"]

        day = limit(stage, 100)

        assert (day.limit_usd, day.usual_usd, day.spent_usd) == (100, 50, 0.03)
        assert not day.processing.stopped
        stage.work_off()
        assert stage.outputs() == ["a.jpg.png", "b.jpg.png"]

    def test_higher_limit_counts_today_only(self, stage: Stage, mapping: MappingState) -> None:
        stage.configure(DAILY_SPEND_LIMIT_USD="0.05")
        limit(stage, 0.07)
        for name in ("a.jpg", "b.jpg"):
            stage.drop(name, tags=CUT_OUT)
        assert stage.outputs() == ["a.jpg.png", "b.jpg.png"]
        stage.pass_time(86_400)
        for name in ("c.jpg", "d.jpg"):
            stage.drop(name, tags=CUT_OUT)
        assert stage.outputs() == ["a.jpg.png", "b.jpg.png", "c.jpg.png"]
        assert stage.processing_paused

    def test_watch_follows_raised_limit(self, stage: Stage, mapping: MappingState) -> None:
        limit(stage, 0.01)
        stage.drop("a.jpg", tags=CUT_OUT)
        stage.services.orders.limit_today(5, stage.clock.now())
        stage.watch()
        assert not stage.processing_paused

    def test_price_above_low_limit_pauses_instead_of_report(self, stage: Stage) -> None:
        limit(stage, 0.01)
        assert stage.drop("a.jpg", tags=CUT_OUT) == "queued"
        assert stage.report("a.jpg") == {}
