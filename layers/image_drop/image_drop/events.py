"""The events on the account's default event bus, for others to build on.

`event_id` is the same if the same event is sent again, so that a consumer can drop it.
"""

from typing import ClassVar

import msgspec

SOURCE = "image-drop"


class Place(msgspec.Struct, frozen=True):
    """An object in a bucket."""

    bucket: str
    key: str


class ImageEdited(msgspec.Struct, frozen=True, kw_only=True):
    """A result was stored. `reference`: the caller's own id. `duration`: seconds of this try.

    `reused_from`: the result or original that was served, if the picture had been paid for before.
    """

    name: ClassVar[str] = "Image Edited"

    version: int = 1
    event_id: str
    input: Place
    output: Place
    reference: str | None
    mode: str
    variant: str | None
    model: str | None
    edit_id: str
    request_id: str | None
    changes: tuple[str, ...]
    duration: float
    attempts: int
    reused_from: Place | None = None


class ImageEditFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A report was written, at `output`."""

    name: ClassVar[str] = "Image Edit Failed"

    version: int = 1
    event_id: str
    input: Place
    output: Place
    reference: str | None
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
    """Processing was paused.

    `reason`: `account_unavailable`, `daily_spend_limit` or `paused_by_hand`.
    """

    name: ClassVar[str] = "Venice Account Unavailable"

    version: int = 1
    event_id: str
    reason: str
    detail: str


class AccountRestored(msgspec.Struct, frozen=True, kw_only=True):
    """Processing has resumed. `stopped_for`: seconds of the pause."""

    name: ClassVar[str] = "Venice Account Restored"

    version: int = 1
    event_id: str
    stopped_for: float


class LimitChanged(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of Venice named another rate limit than before, in calls a minute."""

    name: ClassVar[str] = "Venice Limit Changed"

    version: int = 1
    event_id: str
    model: str
    limit: int
    former: int


class SpendLevelReached(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a day's spend limit is spent or reserved.

    `percent`: 50, 80 or 100; 100 also means that the next call did not fit. `date`: a day of UTC.
    `usd`: charged; `unconfirmed_usd`: of calls in progress or without an answer.
    """

    name: ClassVar[str] = "Spend Level Reached"

    version: int = 1
    event_id: str
    date: str
    percent: int
    limit_usd: float
    usd: float
    unconfirmed_usd: float


class SpendDayEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A day of UTC with calls is over, and so are its calls. In US dollars.

    `limit_usd`: 0 is none. `unconfirmed_usd`: of calls without an answer.
    """

    name: ClassVar[str] = "Spend Day Ended"

    version: int = 1
    event_id: str
    date: str
    limit_usd: float
    usd: float
    unconfirmed_usd: float
    calls: int
    usd_by_model: dict[str, float]
    calls_by_model: dict[str, int]


Event = (
    ImageEdited
    | ImageEditFailed
    | AccountUnavailable
    | AccountRestored
    | LimitChanged
    | SpendLevelReached
    | SpendDayEnded
)


def encoded(event: Event) -> str:
    """Return an event as text, to put on the bus later."""
    return msgspec.json.encode((event.name, msgspec.json.encode(event).decode())).decode()


def decoded(text: str) -> tuple[str, str]:
    """Return the detail type and the detail of a text that `encoded` made."""
    return msgspec.json.decode(text, type=tuple[str, str])
