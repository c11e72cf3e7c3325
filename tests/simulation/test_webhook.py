"""A webhook that is down, away for a day, or has moved: what the template's target makes of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from image_drop.events import AccountRestored
from image_drop.storage.event_bus import EventBus as Announcements
from tests.simulation.aws.api_destination import ApiDestination
from tests.simulation.aws.others import EventBus
from tests.simulation.world import World
from tests.support.resolved import Resolved
from tests.template.conftest import template, whole

__all__ = ["template", "whole"]

HOUR = 3600.0
START = 1_800_000_000.0


class Shop:
    """The server of a webhook. `status(seconds)`: its answer so long after the event."""

    def __init__(self, resolved: Resolved, status: Callable[[float], int | None]) -> None:
        self.world, self.resolved, self.status = World(START, seed=1), resolved, status
        self.requests: list[float] = []  # seconds after the event
        self.got: list[Any] = []
        [target] = resolved.resources["WebhookRule"]["Targets"]
        self.destination = ApiDestination(self.world, target, self.answer)

    def answer(self, event: Any) -> int | None:
        self.requests.append(self.world.time - START)
        status = self.status(self.requests[-1])
        if status == 204:
            self.got.append(event)
        return status

    def is_told(self) -> None:
        """Image Drop announces something, and all that follows happens."""
        bus: Any = EventBus(
            lambda kind, detail: self.destination.deliver((kind, json.loads(detail)))
        )
        assert Announcements(bus).announce(AccountRestored(stopped_for=60.0, event_id="1"))
        self.world.run()

    @property
    def alarm(self) -> bool:
        """Whether the alarm fires, by its metric in CloudWatch."""
        alarm = self.resolved.resources["WebhookAlarm"]
        assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        return bool(len(self.destination.dead_letters) > alarm["Threshold"])


@pytest.fixture
def resolved(whole: dict[str, Any]) -> Resolved:
    return Resolved(whole, WebhookUrl="https://shop.example/hook")


def down_for(seconds: float, status: int | None) -> Callable[[float], int | None]:
    return lambda since: status if since < seconds else 204


@pytest.mark.parametrize("status", [None, 401, 429, 500, 503])
def test_webhook_that_comes_back_within_day_gets_event(
    resolved: Resolved, status: int | None
) -> None:
    shop = Shop(resolved, down_for(23 * HOUR, status))
    shop.is_told()

    assert [detail["event_id"] for _, detail in shop.got] == ["1"]
    assert shop.requests[-1] < 23.25 * HOUR
    assert not shop.destination.dead_letters
    assert not shop.alarm


def test_webhook_that_is_down_for_day_leaves_event_in_queue(resolved: Resolved) -> None:
    shop = Shop(resolved, down_for(25 * HOUR, None))
    shop.is_told()

    [letter] = shop.destination.dead_letters
    assert letter.event[1]["event_id"] == "1"
    assert 20 * HOUR < letter.at - START <= 24 * HOUR
    assert letter.retries <= 185
    assert shop.got == []
    assert shop.alarm
    days = resolved.resources["WebhookDeadLetterQueue"]["MessageRetentionPeriod"] / 86_400
    assert days == 14


@pytest.mark.parametrize("status", [301, 302, 400, 403, 404])
def test_webhook_that_moved_or_refuses_is_asked_once(resolved: Resolved, status: int) -> None:
    shop = Shop(resolved, down_for(1.0, status))
    shop.is_told()

    assert len(shop.requests) == 1
    [letter] = shop.destination.dead_letters
    assert (letter.code, letter.retries) == (status, 0)
    assert shop.alarm
