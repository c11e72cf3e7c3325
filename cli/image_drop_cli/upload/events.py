"""What happens to the files of an upload, as whoever watches it sees it."""

from dataclasses import dataclass
from pathlib import Path

from image_drop.storage.output_bucket import Report


@dataclass(frozen=True)
class Sent:
    """An image is in the input bucket; `already` if it was there before this run."""

    key: str
    already: bool


@dataclass(frozen=True)
class NotSent:
    """A file was not sent, or its result not fetched. `reason` also says what to do."""

    key: str
    reason: str


@dataclass(frozen=True)
class LeftAtHome:
    """A file is not sent, because it is no image; it would get a report."""

    key: str
    reason: str


@dataclass(frozen=True)
class Arrived:
    """A result or a report is in the output bucket.

    `size` is in bytes, `seconds` counts from the upload. `path`: the local copy, if one was
    fetched. `report` is None for a result. `already`: it was there before this run.
    """

    key: str
    variant: str | None
    output_key: str
    size: int
    seconds: float
    path: Path | None
    report: Report | None
    already: bool


Event = Sent | NotSent | LeftAtHome | Arrived


class NotSentError(Exception):
    """When one file cannot be sent or fetched; its text becomes the reason of a `NotSent`."""
