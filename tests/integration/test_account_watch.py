"""The account at Venice is refused: processing pauses, and resumes by itself."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from image_drop.venice.exchange import Reply
from image_drop_local.simulator.faults import Status, Word
from tests.support.lambda_context import FakeContext
from tests.support.stage import ROUND, MappingState, Stage

CUT_OUT = {"mode": "background-remove"}


Metrics = Callable[[], dict[str, list[float]]]


def paused_and_stopped(stage: Stage, mapping: MappingState) -> bool:
    assert (mapping() == "Disabled") is stage.processing_paused
    return stage.processing_paused


def test_account_in_order_leaves_processing_running(
    stage: Stage, mapping: MappingState, metrics: Metrics
) -> None:
    stage.venice.change(balance_usd=12.5)

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert metrics() == {
        "Balance": [12.5],
        "EditLimit": [20],
        "RemovalLimit": [20],
        "ProcessingPaused": [0],
        "Concurrency": [5],  # half of what a new AWS account may run
    }
    assert stage.events() == []
    assert stage.calls == 0


def test_metrics_have_dimension_that_alarms_look_for(
    stage: Stage, mapping: MappingState, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.watch()

    written = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    for metric in written:
        (directive,) = metric["_aws"]["CloudWatchMetrics"]
        assert directive["Dimensions"] == [["service"]]
        assert metric["service"] == "image-drop"
    assert len(written) == 2


def test_watch_teaches_limiter_limits_of_account(stage: Stage, mapping: MappingState) -> None:
    stage.venice.change(limit=120)

    stage.watch()

    for model in ("firered-image-edit", "background-remove", "qwen-image-2-edit"):
        assert stage.services.limiter.peek(model)[0].limit == 120
    endings = {stage.drop(f"{number}.jpg", tags=CUT_OUT) for number in range(16)}
    assert endings == {"edited"}


@pytest.mark.parametrize("account", ["bad_key", "no_balance", "forbidden"])
def test_watch_pauses_processing_when_account_is_refused(
    stage: Stage, mapping: MappingState, metrics: Metrics, account: str
) -> None:
    stage.venice.change(account=account)

    stage.watch()

    assert paused_and_stopped(stage, mapping)
    assert [kind for kind, _ in stage.events()] == ["Venice Account Unavailable"]
    assert metrics()["ProcessingPaused"][-1] == 1

    stage.watch()
    assert stage.events() == []  # said once


@pytest.mark.parametrize("fault", [500, 503, "drop", "html", "empty"])
@pytest.mark.parametrize("stopped", [False, True])
def test_unreachable_venice_neither_pauses_nor_resumes(
    stage: Stage, mapping: MappingState, fault: Status | Word, stopped: bool
) -> None:
    if stopped:
        stage.venice.change(account="no_balance")
        stage.watch()
        stage.venice.change(account="ok")
    stage.venice.faults.add(fault, endpoint="rate_limits")

    stage.watch()

    assert paused_and_stopped(stage, mapping) is stopped


def test_uploads_while_paused_go_to_queue_without_call(stage: Stage, mapping: MappingState) -> None:
    stage.venice.change(account="no_balance")
    stage.watch()

    endings = {stage.drop(f"{number}.jpg", tags=CUT_OUT) for number in range(5)}

    assert endings == {"queued"}
    assert stage.waiting() == 5
    assert stage.calls == 0


def test_processing_resumes_when_one_edit_has_succeeded(
    stage: Stage, mapping: MappingState, metrics: Metrics
) -> None:
    stage.venice.change(account="no_balance")
    for number in range(5):
        stage.drop(f"{number}.jpg", tags=CUT_OUT)
    stage.watch("account-unavailable")
    stage.pass_time(ROUND)
    stage.watch()
    assert paused_and_stopped(stage, mapping)
    assert stage.calls == 1
    stage.events()

    stage.venice.change(account="ok")
    stage.pass_time(ROUND)
    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert stage.calls == 2  # one alone has tried
    assert stage.waiting() == 4
    kinds = dict(stage.events())
    assert set(kinds) == {"Image Edited", "Venice Account Restored"}
    assert 2 * ROUND <= kinds["Venice Account Restored"]["stopped_for"] < 3 * ROUND
    assert metrics()["ProcessingPaused"][-1] == 0

    stage.work_off()
    assert stage.outputs() == [f"{number}.jpg.png" for number in range(5)]
    assert stage.dead() == 0


def test_processing_without_anything_to_try_resumes(stage: Stage, mapping: MappingState) -> None:
    stage.venice.change(account="no_balance")
    stage.watch()
    stage.venice.change(account="ok")

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert stage.calls == 0


def test_spent_limit_of_key_pauses_only_once(stage: Stage, mapping: MappingState) -> None:
    """The account page says that all is well, and each edit is refused."""
    stage.venice.change(account="spend_limit")
    for number in range(3):
        stage.drop(f"{number}.jpg", tags=CUT_OUT)
    stage.watch("account-unavailable")
    assert paused_and_stopped(stage, mapping)

    for _ in range(6):
        stage.pass_time(ROUND)
        stage.watch()
        assert paused_and_stopped(stage, mapping)

    assert stage.calls <= 1 + 7 * 2  # the first, and two at each look
    assert [kind for kind, _ in stage.events()] == ["Venice Account Unavailable"]
    assert (stage.waiting(), stage.dead()) == (3, 0)

    stage.venice.change(account="ok")
    stage.pass_time(ROUND)
    stage.watch()
    assert not paused_and_stopped(stage, mapping)
    stage.work_off()
    assert len(stage.outputs()) == 3


def test_processing_stays_paused_while_all_messages_are_hidden(
    stage: Stage, mapping: MappingState
) -> None:
    stage.venice.change(account="spend_limit")
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.clock.sleep(10)
    assert stage.receive() is not None  # the retry function has it in its hands

    stage.watch("account-unavailable")

    assert paused_and_stopped(stage, mapping)
    assert stage.calls == 1


def test_trial_skips_images_that_need_no_call(stage: Stage, mapping: MappingState) -> None:
    stage.put("bad.jpg", b"no picture", tags=CUT_OUT)
    body = json.dumps({"bucket": stage.env["INPUT_BUCKET"], "key": "bad.jpg"})
    stage.sqs.send_message(QueueUrl=stage.queue, MessageBody=body)
    stage.venice.change(account="no_balance")
    assert stage.drop("good.jpg", tags=CUT_OUT) == "queued"
    stage.venice.change(account="ok")
    stage.pass_time(ROUND)

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert stage.outputs() == ["bad.jpg.error.json", "good.jpg.png"]
    assert stage.waiting() == 0


def test_trial_that_venice_is_too_busy_for_does_not_resume(
    stage: Stage, mapping: MappingState
) -> None:
    stage.venice.change(account="no_balance")
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.venice.change(account="ok")
    stage.venice.faults.add(503, times=1)
    stage.pass_time(ROUND)

    stage.watch()
    assert paused_and_stopped(stage, mapping)
    assert stage.waiting() == 1

    stage.pass_time(ROUND)
    stage.watch()
    assert not paused_and_stopped(stage, mapping)
    assert stage.outputs() == ["a.jpg.png"]


def test_rotated_key_does_not_pause_processing(stage: Stage, mapping: MappingState) -> None:
    stage.watch()
    stage.set_key("second-key")
    stage.venice.change(bad_keys=["first-key"])

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert stage.events() == []


def test_corrected_key_resumes_processing(stage: Stage, mapping: MappingState) -> None:
    stage.venice.change(bad_keys=["first-key"])
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.watch("account-unavailable")
    assert paused_and_stopped(stage, mapping)

    stage.set_key("second-key")
    stage.pass_time(ROUND)
    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    stage.work_off()
    assert stage.outputs() == ["a.jpg.png"]


def test_outage_in_middle_of_drop_loses_nothing(stage: Stage, mapping: MappingState) -> None:
    keys = [f"{number:02}.jpg" for number in range(16)]
    events: list[dict[str, Any]] = [stage.put(key, tags=CUT_OUT) for key in keys]
    for event in events[:6]:
        stage.upload(event)
    stage.venice.change(account="no_balance")
    before = stage.calls

    for event in events[6:]:
        stage.upload(event)
    stage.watch("account-unavailable")
    for _ in range(4):
        stage.pass_time(ROUND)
        stage.watch()
        stage.redeliver()  # Lambda's pollers take a minute to stop

    assert stage.calls - before <= 5
    assert paused_and_stopped(stage, mapping)
    stage.venice.change(account="ok")
    stage.pass_time(ROUND)
    stage.watch()
    assert not paused_and_stopped(stage, mapping)
    stage.work_off()

    assert stage.outputs() == [f"{key}.png" for key in keys]
    assert stage.paid == len(keys)
    assert stage.dead() == 0


# --- images that are refused while others are accepted -------------------------------------------


def events_named(stage: Stage, name: str) -> int:
    return sum(kind == name for kind, _ in stage.events())


@pytest.mark.parametrize("status", [401, 402, 403])
def test_image_that_alone_is_refused_is_reported_and_blocks_none(
    stage: Stage, mapping: MappingState, status: int
) -> None:
    stage.configure(tries=4)
    stage.venice.faults.add(status, prompt="poison")
    assert stage.drop("bad.jpg", sidecar={"prompt": "poison"}) == "queued"
    for number in range(3):
        assert stage.drop(f"{number}.jpg", tags=CUT_OUT) == "queued"
    stage.watch("account-unavailable")
    stage.pass_time(ROUND)
    stage.watch()
    assert not paused_and_stopped(stage, mapping)

    stage.work_off()

    assert not stage.processing_paused
    assert stage.outputs() == ["0.jpg.png", "1.jpg.png", "2.jpg.png", "bad.jpg.error.json"]
    assert stage.report("bad.jpg")["status"] == status
    assert (stage.dead(), stage.paid) == (1, 3)
    assert events_named(stage, "Venice Account Unavailable") == 1


def test_images_of_refused_model_pause_processing_once(stage: Stage, mapping: MappingState) -> None:
    stage.configure(tries=3)
    stage.venice.faults.add(402, model="seedream-v4-edit")
    dear = {"prompt": "pink", "model": "seedream-v4-edit"}
    for number in range(6):
        stage.drop(f"dear-{number}.jpg", sidecar=dear)
    stage.drop("cheap.jpg", tags=CUT_OUT)
    stage.watch("account-unavailable")
    stage.pass_time(ROUND)
    stage.watch()
    assert not stage.processing_paused

    stage.work_off()

    assert stage.outputs() == [
        "cheap.jpg.png",
        *(f"dear-{number}.jpg.error.json" for number in range(6)),
    ]
    assert stage.dead() == 6
    assert events_named(stage, "Venice Account Unavailable") == 1


def test_refused_image_is_set_aside_and_next_one_tried(stage: Stage, mapping: MappingState) -> None:
    stage.venice.faults.add(403, prompt="poison")
    stage.drop("bad.jpg", sidecar={"prompt": "poison"})
    stage.drop("good.jpg", tags=CUT_OUT)
    stage.pass_time(ROUND)

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert stage.outputs() == ["good.jpg.png"]


@pytest.mark.parametrize(("messages", "rounds"), [(1, 6), (5, 7)])
def test_refused_images_do_not_hold_up_others_of_their_model(
    stage: Stage, mapping: MappingState, messages: int, rounds: int
) -> None:
    stage.venice.faults.add(403, prompt="poison")
    for number in range(4):
        for _ in range(messages):
            stage.drop(f"bad-{number}.jpg", sidecar={"prompt": "poison"})
    stage.drop("good.jpg", sidecar={"prompt": "pink"})

    for _ in range(rounds):
        stage.pass_time(ROUND)
        stage.watch()

    assert stage.outputs() == ["good.jpg.png"]
    assert not stage.processing_paused


@pytest.mark.parametrize(("models", "calls"), [(1, 2), (2, 4), (4, 5)])
def test_model_is_tried_twice_and_five_calls_refused_at_most(
    stage: Stage, mapping: MappingState, models: int, calls: int
) -> None:
    stage.venice.change(account="spend_limit")
    names = ["qwen-image-2-edit", "seedream-v4-edit", "flux-2-max-edit", "luma-uni-1-edit"]
    for number in range(12):
        model = names[number % models]
        stage.drop(f"{number}.jpg", sidecar={"prompt": "pink", "model": model})
    stage.pass_time(ROUND)
    before = stage.calls

    stage.watch()

    assert stage.calls - before == calls
    assert paused_and_stopped(stage, mapping)


# --- trials --------------------------------------------------------------------------------------


def test_any_number_of_images_without_call_is_skipped_at_once(
    stage: Stage, mapping: MappingState
) -> None:
    for number in range(12):
        stage.drop(f"{number}.jpg", tags=CUT_OUT)
        body = json.dumps({"bucket": stage.env["INPUT_BUCKET"], "key": f"{number}.jpg"})
        stage.sqs.send_message(QueueUrl=stage.queue, MessageBody=body)
    stage.pause()
    stage.drop("new.jpg", tags=CUT_OUT)
    stage.pass_time(ROUND)

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert "new.jpg.png" in stage.outputs()
    assert stage.paid == 13


@pytest.mark.parametrize(("seconds", "calls"), [(209, 0), (211, 1)])
def test_no_trial_begins_that_invocation_may_not_outlive(
    stage: Stage, mapping: MappingState, seconds: int, calls: int
) -> None:
    stage.pause()
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.pass_time(ROUND)

    stage.watch(context=FakeContext(remaining=seconds * 1000))

    assert stage.calls == calls
    assert paused_and_stopped(stage, mapping) is (calls == 0)


def test_trial_that_reaches_daily_limit_does_not_resume(
    stage: Stage, mapping: MappingState
) -> None:
    stage.configure(DAILY_SPEND_LIMIT_USD="0.05")
    stage.drop("before.jpg", tags=CUT_OUT)
    stage.pause()
    for key in ("a.jpg", "b.jpg"):
        stage.drop(key, tags=CUT_OUT)
    stage.pass_time(ROUND)

    for _ in range(2):
        stage.watch()
        stage.pass_time(ROUND)

    assert paused_and_stopped(stage, mapping)
    assert stage.services.circuit_breaker.status().reason == "daily_spend_limit"
    assert events_named(stage, "Venice Account Restored") == 0
    assert stage.paid == 1


def test_spent_day_does_not_resume_without_trial(stage: Stage, mapping: MappingState) -> None:
    stage.configure(DAILY_SPEND_LIMIT_USD="0.03")
    stage.drop("before.jpg", tags=CUT_OUT)
    stage.pause()

    stage.watch()

    assert paused_and_stopped(stage, mapping)
    assert stage.services.circuit_breaker.status().reason == "daily_spend_limit"


def test_trial_without_call_does_not_resume(stage: Stage, mapping: MappingState) -> None:
    wanted = CUT_OUT | {"keep_original": True, "finish": {"size": "90x90"}}
    stage.drop("a.jpg", sidecar=wanted)
    stage.pause()
    stage.venice.faults.add(402)
    stage.deliver(stage.put_json("a.jpg.json", **wanted | {"finish": {"size": "80x80"}}))
    stage.drop("b.jpg", tags=CUT_OUT)
    stage.pass_time(ROUND)

    stage.watch()

    assert stage.paid == 1
    assert paused_and_stopped(stage, mapping)


def test_trial_that_spends_last_of_day_does_not_resume(stage: Stage, mapping: MappingState) -> None:
    stage.configure(DAILY_SPEND_LIMIT_USD="0.03")
    stage.pause()
    for key in ("a.jpg", "b.jpg"):
        stage.drop(key, tags=CUT_OUT)
    stage.pass_time(ROUND)

    stage.watch()

    assert paused_and_stopped(stage, mapping)
    assert stage.services.circuit_breaker.status().reason == "daily_spend_limit"
    assert events_named(stage, "Venice Account Restored") == 0
    assert stage.paid == 1


# --- what the account's page may answer ----------------------------------------------------------


def account_page(stage: Stage, status: int, body: bytes) -> None:
    venice = stage.services.venice
    whole = venice.exchange

    def answered(method: str, url: str, seconds: float, **request: Any) -> Reply:
        if "/api_keys" in url:
            return Reply(status, CaseInsensitiveDict(), body)
        return whole(method, url, seconds, **request)

    stage.services = replace(stage.services, venice=replace(venice, exchange=answered))


def limits(amount: str, name: str = '"firered-image-edit"') -> bytes:
    rate = f'{{"apiModelId": {name}, "rateLimits": [{{"type": "RPM", "amount": {amount}}}]}}'
    return f'{{"data": {{"accessPermitted": true, "rateLimits": [{rate}]}}}}'.encode()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"data": {"balances": {"USD": 1e308, "DIEM": 1e308}}}'),
        (200, b'{"data": {"balances": {"USD": -5, "DIEM": "NaN"}}}'),
        (200, b'{"data": {"balances": {"USD": "inf"}}}'),
        (200, b'{"data": {"balances": {"USD": ' + b"9" * 5000 + b"}}}"),
        (200, b'{"data": {"accessPermitted": {}, "rateLimits": {"a": 1}}}'),
        *((200, limits(text)) for text in ("1e308", "1e999", "-1", "0", "null", '"x"', "[[]]")),
        (200, limits("1e9", "[1]")),
        (200, limits("20", '"' + "edit" * 100_000 + '"')),
        (200, b"[]"),
        (200, b"<html>"),
        (204, b""),
        (302, b""),
        (400, b"{}"),
        (404, b'{"error": {"message": [1]}}'),
        (410, b""),
        (418, b"\xff"),
        (429, b""),
        (500, b""),
    ],
)
@pytest.mark.parametrize("stopped", [False, True])
def test_watch_survives_whatever_accounts_page_answers(
    stage: Stage, mapping: MappingState, status: int, body: bytes, stopped: bool
) -> None:
    if stopped:
        stage.pause()
    account_page(stage, status, body)

    stage.watch()

    assert stopped or not stage.processing_paused
    assert (mapping() == "Disabled") is stage.processing_paused
    assert 1 <= stage.services.limiter.peek("firered-image-edit")[0].limit <= 1000


def test_page_forbidden_by_something_in_between_is_refusal(
    stage: Stage, mapping: MappingState
) -> None:
    account_page(stage, 403, b"<html>Forbidden")

    stage.watch()

    assert paused_and_stopped(stage, mapping)
