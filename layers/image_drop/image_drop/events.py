"""What is told to the account's default event bus, for others to build on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from image_drop.telemetry import logger, measure

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "image-drop"


class Place(msgspec.Struct, frozen=True):
    """An object in a bucket."""

    bucket: str
    key: str


class ImageEdited(msgspec.Struct, frozen=True, kw_only=True):
    """A result was stored. `duration`: seconds from the start of this try."""

    name: ClassVar[str] = "Image Edited"

    version: int = 1
    input: Place
    output: Place
    mode: str
    variant: str | None
    model: str | None
    edit_id: str
    request_id: str | None
    changes: tuple[str, ...]
    duration: float
    attempts: int


class ImageEditFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A report was written, at `output`."""

    name: ClassVar[str] = "Image Edit Failed"

    version: int = 1
    input: Place
    output: Place
    mode: str | None
    variant: str | None
    model: str | None
    edit_id: str | None
    request_id: str | None
    code: str
    title: str
    duration: float
    attempts: int


class AccountUnavailable(msgspec.Struct, frozen=True, kw_only=True):
    """The line was stopped. `reason`: `account_unavailable`, or `daily_spend_limit`."""

    name: ClassVar[str] = "Venice Account Unavailable"

    version: int = 1
    reason: str
    detail: str


class AccountRestored(msgspec.Struct, frozen=True, kw_only=True):
    """The line runs again. `stopped_for`: seconds."""

    name: ClassVar[str] = "Venice Account Restored"

    version: int = 1
    stopped_for: float


Event = ImageEdited | ImageEditFailed | AccountUnavailable | AccountRestored


def encoded(event: Event) -> str:
    """An event as text, to be put on the bus later."""
    return msgspec.json.encode((event.name, msgspec.json.encode(event).decode())).decode()


def decoded(text: str) -> tuple[str, str]:
    """The detail type and the detail of such a text."""
    return msgspec.json.decode(text, type=tuple[str, str])


@dataclass(frozen=True)
class EventBus:
    """The default event bus."""

    events: "EventBridgeClient"

    def announce(self, event: Event) -> bool:
        """Put an event on the bus; whether the bus took it. A failure is not raised."""
        return self.put(event.name, msgspec.json.encode(event).decode())

    def put(self, name: str, detail: str) -> bool:
        """Put an event on the bus, by its detail type; whether the bus took it.

        A failure is logged and counted, not raised.
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
