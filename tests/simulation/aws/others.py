"""The services that need few words: event bus, parameter store, Lambda's event source mapping."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.aws.errors import client_error
from tests.simulation.world import World


@dataclass
class EventBus:
    """EventBridge's default bus. `on_event(detail_type, detail)` is told of each event.

    It takes nothing before `away_until`.
    """

    on_event: Callable[[str, str], object]
    now: Callable[[], float] = lambda: 0.0
    away_until: float = 0.0

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, Any]:
        if self.now() < self.away_until:
            raise client_error("InternalException", 500, "PutEvents")
        for entry in Entries:
            self.on_event(entry["DetailType"], entry["Detail"])
        return {"FailedEntryCount": 0, "Entries": [{} for _ in Entries]}


@dataclass
class Parameters:
    """Systems Manager's parameter store with the API key."""

    key: str

    def get_parameter(self, **_: object) -> dict[str, Any]:
        return {"Parameter": {"Value": self.key, "Type": "SecureString"}}


@dataclass
class QueueTrigger:
    """An event source mapping: what Lambda's API says of it, and what the pollers see.

    A change takes about a minute, and until then another one is refused.
    """

    world: World
    enabled: bool = True
    changing: bool = False
    maximum_concurrency: int = 1000
    account_concurrency: int = 1000
    _parked: list[Callable[[], object]] = field(default_factory=list)

    def wait(self) -> None:
        """Let the calling process wait until the queue is polled again."""
        self._parked.append(self.world.alarm())
        self.world.wait()

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": self.account_concurrency}}

    def update_event_source_mapping(
        self, *, UUID: str, Enabled: bool, ScalingConfig: dict[str, int]
    ) -> dict[str, Any]:
        assert 2 <= ScalingConfig["MaximumConcurrency"] <= 1000
        if self.changing:
            raise client_error("ResourceInUseException", 400, "UpdateEventSourceMapping")
        wanted = Enabled, ScalingConfig["MaximumConcurrency"]
        if wanted != (self.enabled, self.maximum_concurrency):
            self.changing = True
            self.world.call(self.world.about(45.0, 0.3), lambda: self._set(*wanted))
        return {}

    def _set(self, enabled: bool, maximum_concurrency: int) -> None:
        self.enabled, self.changing = enabled, False
        self.maximum_concurrency = maximum_concurrency
        parked, self._parked = self._parked, []
        for alarm in parked:
            self.world.call(0, alarm)
