"""The mapping that feeds the retry function: on while processing runs, as wide as needed."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from image_drop import account
from image_drop.invocation import Invocation
from image_drop.storage.queue_trigger import QueueTrigger
from tests.support.lambda_context import FakeContext
from tests.support.stage import MappingState, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

CUT_OUT = {"mode": "background-remove"}


def test_paused_mapping_is_resumed_while_processing_runs(
    stage: Stage, mapping: MappingState
) -> None:
    stage.venice.change(account="no_balance")
    stage.watch()
    assert mapping() == "Disabled"
    stage.dynamodb.delete_item(TableName="state", Key={"id": {"S": "circuit-breaker"}})  # lost

    stage.venice.change(account="ok")
    stage.watch()

    assert mapping() == "Enabled"


class LambdaApi:
    """Lambda's API for a mapping. AWS refuses an update while another one takes effect."""

    def __init__(self, *, slow: bool = False) -> None:
        self.enabled, self.updates = True, 0
        self.account_concurrency, self.at_once = 1000, 0
        self.meanwhile: Callable[[], Any] = lambda: None
        self._slow, self._changing = slow, False

    def get_account_settings(self) -> Any:
        return {"AccountLimit": {"ConcurrentExecutions": self.account_concurrency}}

    def update_event_source_mapping(
        self,
        *,
        UUID: str,  # noqa: N803
        Enabled: bool,  # noqa: N803
        ScalingConfig: Any,  # noqa: N803
    ) -> None:
        self.updates += 1
        self.at_once = ScalingConfig["MaximumConcurrency"]
        if self._changing:
            error: Any = {"Error": {"Code": "ResourceInUseException"}}
            raise ClientError(error, "UpdateEventSourceMapping")
        self._changing = self._slow and Enabled != self.enabled
        self.enabled = Enabled
        self.meanwhile()

    def settle(self) -> None:
        self._changing = False


def watch_with(stage: Stage, api: LambdaApi, maximum: int = 1000) -> None:
    trigger = QueueTrigger(api, "uuid", maximum)  # type: ignore[arg-type]
    services = replace(stage.services, queue_trigger=trigger)
    account.watch(services, Invocation(FakeContext(), 70))


@pytest.mark.parametrize(
    ("limit", "account_concurrency", "maximum", "at_once"),
    [(20, 1000, 1000, 23), (120, 1000, 1000, 135), (120, 100, 1000, 50), (120, 1000, 40, 40)],
)
def test_concurrency_follows_limit_up_to_half_of_account(
    stage: Stage, limit: int, account_concurrency: int, maximum: int, at_once: int
) -> None:
    api = LambdaApi()
    api.account_concurrency = account_concurrency
    stage.venice.change(limit=limit)

    watch_with(stage, api, maximum)

    assert api.at_once == at_once


def test_mapping_is_updated_once_in_round(stage: Stage) -> None:
    api = LambdaApi(slow=True)
    watch_with(stage, api)
    assert (api.updates, api.enabled) == (1, True)

    stage.venice.change(account="no_balance")
    watch_with(stage, api)
    assert (api.updates, api.enabled) == (2, False)

    api.settle()
    stage.venice.change(account="ok")
    watch_with(stage, api)
    assert (api.updates, api.enabled) == (3, True)
    assert not stage.processing_paused


def test_mapping_under_change_is_left_to_next_round(stage: Stage) -> None:
    api = LambdaApi(slow=True)
    stage.venice.change(account="no_balance")
    watch_with(stage, api)
    stage.venice.change(account="ok")

    watch_with(stage, api)
    assert not stage.processing_paused
    assert not api.enabled

    api.settle()
    watch_with(stage, api)
    assert api.enabled


def test_pause_that_another_watch_has_overtaken_is_taken_back(stage: Stage) -> None:
    api = LambdaApi()
    stage.venice.change(account="no_balance")
    api.meanwhile = lambda: stage.services.circuit_breaker.resume(stage.clock.now())

    watch_with(stage, api)

    assert api.enabled


def test_answer_with_new_limit_starts_watch_by_event(stage: Stage) -> None:
    stage.venice.change(limit=60)

    stage.drop("a.jpg", tags=CUT_OUT)

    detail = dict(stage.events())["Venice Limit Changed"]
    assert (detail["limit"], detail["former"]) == (60, 20)
