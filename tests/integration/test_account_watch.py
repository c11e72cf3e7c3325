"""The account at Venice is refused: the line stops, and resumes by itself."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from image_drop import account
from image_drop.services import Invocation
from tests.integration.stage import Context, Stage, client, photo

CUT_OUT = {"mode": "background-remove"}
ROUND = 300  # seconds between two looks at the account


@pytest.fixture
def mapping(stage: Stage) -> Callable[[], str]:
    """The retry function's event source mapping; how it is.

    It hangs at another queue, for moto would start a function in Docker.
    """
    role = client("iam").create_role(RoleName="retry", AssumeRolePolicyDocument="{}")
    stage.awslambda.create_function(
        FunctionName="retry",
        Runtime="python3.13",
        Handler="app.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": b""},
    )
    queue = stage.sqs.create_queue(QueueName="elsewhere")["QueueUrl"].rpartition("/")[2]
    uuid = stage.awslambda.create_event_source_mapping(
        FunctionName="retry", EventSourceArn=f"arn:aws:sqs:us-east-1:123456789012:{queue}"
    )["UUID"]
    stage.configure(RETRY_EVENT_SOURCE_MAPPING=uuid)
    return lambda: str(stage.awslambda.get_event_source_mapping(UUID=uuid)["State"])


Mapping = Callable[[], str]
Metrics = Callable[[], dict[str, list[float]]]


def paused_and_stopped(stage: Stage, mapping: Mapping) -> bool:
    assert (mapping() == "Disabled") is stage.line_stopped
    return stage.line_stopped


def test_account_in_order_leaves_the_line_running(
    stage: Stage, mapping: Mapping, metrics: Metrics
) -> None:
    stage.venice.change(balance_usd=12.5)

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert metrics() == {
        "Balance": [12.5],
        "EditLimit": [20],
        "RemovalLimit": [20],
        "LineStopped": [0],
    }
    assert stage.events() == []
    assert stage.calls == 0


def test_metrics_have_the_dimension_that_the_alarms_look_for(
    stage: Stage, mapping: Mapping, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.watch()

    written = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    for metric in written:
        (directive,) = metric["_aws"]["CloudWatchMetrics"]
        assert directive["Dimensions"] == [["service"]]
        assert metric["service"] == "image-drop"
    assert len(written) == 2


def test_watch_teaches_the_limiter_the_limits_of_the_account(
    stage: Stage, mapping: Mapping
) -> None:
    stage.venice.change(limit=120)

    stage.watch()

    for model in ("firered-image-edit", "background-remove", "qwen-image-2-edit"):
        assert stage.services.limiter.look(model)[0].limit == 120
    endings = {stage.drop(f"{number}.jpg", tags=CUT_OUT) for number in range(16)}
    assert endings == {"edited"}


@pytest.mark.parametrize("account", ["bad_key", "no_balance", "forbidden"])
def test_watch_that_finds_the_account_refused_stops_the_line(
    stage: Stage, mapping: Mapping, metrics: Metrics, account: str
) -> None:
    stage.venice.change(account=account)

    stage.watch()

    assert paused_and_stopped(stage, mapping)
    assert [kind for kind, _ in stage.events()] == ["Venice Account Unavailable"]
    assert metrics()["LineStopped"][-1] == 1

    stage.watch()
    assert stage.events() == []  # said once


@pytest.mark.parametrize("fault", [500, 503, "drop", "html", "empty"])
@pytest.mark.parametrize("stopped", [False, True])
def test_unreachable_venice_neither_stops_nor_resumes_the_line(
    stage: Stage, mapping: Mapping, fault: int | str, stopped: bool
) -> None:
    if stopped:
        stage.venice.change(account="no_balance")
        stage.watch()
        stage.venice.change(account="ok")
    stage.venice.faults.add(fault, endpoint="rate_limits")

    stage.watch()

    assert paused_and_stopped(stage, mapping) is stopped


def test_uploads_while_the_line_stands_go_to_the_queue_without_a_call(
    stage: Stage, mapping: Mapping
) -> None:
    stage.venice.change(account="no_balance")
    stage.watch()

    endings = {stage.drop(f"{number}.jpg", tags=CUT_OUT) for number in range(5)}

    assert endings == {"queued"}
    assert stage.waiting() == 5
    assert stage.calls == 0


def test_line_resumes_by_itself_when_one_edit_has_succeeded(
    stage: Stage, mapping: Mapping, metrics: Metrics
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
    assert metrics()["LineStopped"][-1] == 0

    stage.work_off()
    assert stage.outputs() == [f"{number}.jpg.png" for number in range(5)]
    assert stage.dead() == 0


def test_line_without_anything_to_try_resumes(stage: Stage, mapping: Mapping) -> None:
    stage.venice.change(account="no_balance")
    stage.watch()
    stage.venice.change(account="ok")

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert stage.calls == 0


def test_spent_limit_of_a_key_does_not_flap(stage: Stage, mapping: Mapping) -> None:
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

    assert stage.calls <= 8  # the first, and one at each look
    assert [kind for kind, _ in stage.events()] == ["Venice Account Unavailable"]
    assert (stage.waiting(), stage.dead()) == (3, 0)

    stage.venice.change(account="ok")
    stage.pass_time(ROUND)
    stage.watch()
    assert not paused_and_stopped(stage, mapping)
    stage.work_off()
    assert len(stage.outputs()) == 3


def test_line_stands_while_all_that_could_be_tried_is_hidden(
    stage: Stage, mapping: Mapping
) -> None:
    stage.venice.change(account="spend_limit")
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.clock.sleep(10)
    assert stage.receive() is not None  # the retry function has it in its hands

    stage.watch("account-unavailable")

    assert paused_and_stopped(stage, mapping)
    assert stage.calls == 1


def test_trial_passes_over_images_that_need_no_call(stage: Stage, mapping: Mapping) -> None:
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


def test_trial_that_venice_is_too_busy_for_leaves_the_line_standing(
    stage: Stage, mapping: Mapping
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


def test_key_that_was_rotated_does_not_stop_the_line(stage: Stage, mapping: Mapping) -> None:
    stage.watch()
    stage.set_key("second-key")
    stage.venice.change(bad_keys=["first-key"])

    stage.watch()

    assert not paused_and_stopped(stage, mapping)
    assert stage.events() == []


def test_key_that_was_corrected_resumes_the_line(stage: Stage, mapping: Mapping) -> None:
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


def test_outage_in_the_middle_of_a_drop_loses_nothing(stage: Stage, mapping: Mapping) -> None:
    keys = [f"{number:02}.jpg" for number in range(16)]
    events: list[dict[str, Any]] = [stage.put(key, photo(), tags=CUT_OUT) for key in keys]
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


class ChangingMapping:
    """Lambda's API for a mapping that takes its time: AWS refuses an update during another."""

    def __init__(self) -> None:
        self.enabled = True
        self._changing = False

    def update_event_source_mapping(self, *, UUID: str, Enabled: bool) -> None:  # noqa: N803
        if self._changing:
            raise RuntimeError("ResourceInUseException")
        self.enabled, self._changing = Enabled, True

    def settle(self) -> None:
        self._changing = False


def test_mapping_is_changed_at_most_once_in_a_round(stage: Stage) -> None:
    lambda_api = ChangingMapping()
    mapping = account.Mapping(lambda_api, "uuid")  # type: ignore[arg-type]
    stage.services.line.stop("account_unavailable", "Venice answered 402.", stage.clock.now())

    stage.venice.change(account="no_balance")
    account.watch(stage.services, mapping, Invocation(Context(), 70))  # type: ignore[arg-type]
    assert not lambda_api.enabled

    lambda_api.settle()
    stage.venice.change(account="ok")
    account.watch(stage.services, mapping, Invocation(Context(), 70))  # type: ignore[arg-type]
    assert lambda_api.enabled
    assert not stage.line_stopped
