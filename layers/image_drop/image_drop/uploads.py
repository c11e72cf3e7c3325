"""From S3 notifications and queue messages to uploads: which keys changed, and which matter.

An upload is only a hint that something happened to a key. S3 delivers events twice and out of
order, so the version and the sequencer in an event are not reliable. The pipeline always works on
what the key holds *now*. So the newest upload wins, and a late or repeated event is harmless.

A key here, and everywhere but in S3 itself, is what follows the input prefix. What is not below the
prefix is none of our business, so no result can start an edit.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import msgspec

FOLDER_FILE = ".image-drop.json"
LAYERS_FOLDER = "_layers"
SIDECAR_SUFFIX = ".json"
FRESH = "fresh-"  # begins the id of a retry that asks for a new draw


class Upload(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image that may need an edit; as JSON also the body of a RetryQueue message.

    `variant`: one of the image's variants; None is the image as a whole.
    `sidecar`: the instructions were uploaded, not the image, so a missing image is no error.
    `retry`: the id of an explicit retry, which makes a removed or reported result again; one that
    begins with `FRESH` also makes a result again that is there.
    `failures`: tries that failed before this message was sent.
    `model`: the limiter's name of the model whose rate it waits for, as far as that is known.
    `asked_at`: when it was asked for, in seconds since 1970: the time of S3's event, or when its
    first message was sent, if this is another one.
    """

    bucket: str
    key: str
    variant: str | None = None
    sidecar: bool = False
    retry: str = ""
    failures: int = 0
    model: str = ""
    asked_at: float | None = None

    @property
    def fresh(self) -> bool:
        """Whether a new draw was asked for: a new call in spite of a result or a known answer."""
        return self.retry.startswith(FRESH)

    @property
    def folder(self) -> str | None:
        """The folder whose instructions changed, with its slash, if that is what was uploaded."""
        return self.key.removesuffix(FOLDER_FILE) if _is_folder_file(self.key) else None


class UnreadableMessageError(ValueError):
    """Raised when a message is neither an upload, nor an S3 event, nor Lambda's failure record."""


def from_event(event: Mapping[str, Any], prefix: str = "") -> list[Upload]:
    """Return the uploads in an event of S3, in its order. `prefix`: of the input bucket.

    S3 sends notifications of its own (`Records`), and events through EventBridge (`detail`). Test
    events have neither. New tags count like an upload, for they may be instructions. Removals, all
    other kinds of events and keys elsewhere are skipped.
    """
    changes = _by_eventbridge(event) if "detail" in event else _notified(event)
    ours = (
        (bucket, key.removeprefix(prefix), at)
        for bucket, key, at in changes
        if key.startswith(prefix)
    )
    return [
        _upload(bucket, key, _seconds(at))
        for bucket, key, at in ours
        if not starts_nothing(key) or _is_folder_file(key)
    ]


def from_message(body: str, prefix: str = "") -> list[Upload]:
    """Return the uploads in a message of the retry queue. `prefix`: of the input bucket.

    Three kinds arrive there: our own messages, the records that Lambda writes when the upload
    function has failed for good (the S3 event is their `requestPayload`), and plain S3 events,
    if somebody connects a bucket to the queue.

    Raise `UnreadableMessageError`.
    """
    try:
        message = json.loads(body)
        event = message.get("requestPayload", message)
        if "Records" in event or "detail" in event or event.get("Event") == "s3:TestEvent":
            return from_event(event, prefix)
        return [msgspec.convert(event, Upload)]
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise UnreadableMessageError(
            f"the message is neither an upload nor an S3 event: {error}"
        ) from error


def starts_nothing(key: str) -> bool:
    """Return whether a key starts no edit: a folder, a hidden name, or anything in `_layers/`."""
    *folders, name = key.split("/")
    return (
        not name
        or LAYERS_FOLDER in folders
        or any(part.startswith(".") for part in (*folders, name))
    )


def _notified(event: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Yield bucket, key and time of each change in a notification, whose keys are form-encoded.

    A space arrives as `+`, from some tools as `%20`.
    """
    for record in event.get("Records", ()):
        if record["eventName"].startswith(("ObjectCreated:", "ObjectTagging:Put")):
            s3 = record["s3"]
            key = unquote_plus(s3["object"]["key"])
            yield s3["bucket"]["name"], key, record.get("eventTime")


def _by_eventbridge(event: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
    """Yield bucket, key and time of the change in an event, whose key is plain."""
    if event["detail-type"] in ("Object Created", "Object Tags Added"):
        detail = event["detail"]
        yield detail["bucket"]["name"], detail["object"]["key"], event.get("time")


def _seconds(time: object) -> float | None:
    """Return a time of ISO 8601 in seconds since 1970; None for anything else."""
    try:
        return datetime.fromisoformat(time).timestamp() if isinstance(time, str) else None
    except ValueError:
        return None


def _is_folder_file(key: str) -> bool:
    """Return whether a key is a file of instructions for a folder that images can be in."""
    named_so = key == FOLDER_FILE or key.endswith(f"/{FOLDER_FILE}")
    return named_so and not starts_nothing(f"{key.removesuffix(FOLDER_FILE)}image")


def _upload(bucket: str, key: str, asked_at: float | None) -> Upload:
    if key.endswith(SIDECAR_SUFFIX) and not _is_folder_file(key):
        image = key.removesuffix(SIDECAR_SUFFIX)
        return Upload(bucket, image, sidecar=True, asked_at=asked_at)
    return Upload(bucket, key, asked_at=asked_at)
