"""The account's default event bus."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from image_drop.events import SOURCE, Event
from image_drop.telemetry import logger, measure

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


@dataclass(frozen=True)
class EventBus:
    """The default event bus."""

    events: "EventBridgeClient"

    def announce(self, event: Event) -> bool:
        """Put an event on the bus; return whether the bus took it. Never raise a failure."""
        return self.put(event.name, msgspec.json.encode(event).decode())

    def put(self, name: str, detail: str) -> bool:
        """Put an event on the bus by its detail type; return whether the bus took it.

        Log and count a failure instead of raising it.
        """
        try:
            answer = self.events.put_events(
                Entries=[{"Source": SOURCE, "DetailType": name, "Detail": detail}]
            )
            failed = answer["FailedEntryCount"]
        except (ClientError, BotoCoreError) as error:
            logger.error("event not sent", event_name=name, error=type(error).__name__)
            failed = 1
        if failed:
            measure({"EventsNotSent": failed})
        return not failed
