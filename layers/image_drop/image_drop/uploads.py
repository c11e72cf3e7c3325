"""From S3 notifications and queue messages to uploads: which keys changed, and which matter.

An upload is only a hint that something happened to a key. S3 delivers events twice and out of
order, so the version and the sequencer in an event are not reliable. The pipeline always works on
what the key holds *now*. So the newest upload wins, and a late or repeated event is harmless.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

import msgspec

FOLDER_FILE = ".image-drop.json"
LAYERS_FOLDER = "_layers"
SIDECAR_SUFFIX = ".json"


class Upload(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image that may need an edit; as JSON also the body of a RetryQueue message.

    `variant`: one of the image's variants; None is the image as a whole.
    `sidecar`: the instructions were uploaded, not the image, so a missing image is no error.
    `retry`: the id of an explicit retry, which makes a removed or reported result again.
    `failures`: tries that failed before this message was sent.
    `model`: the limiter's name of the model whose rate it waits for, as far as that is known.
    `asked_at`: when its first message was sent, if this is another one; in seconds since 1970.
    """

    bucket: str
    key: str
    variant: str | None = None
    sidecar: bool = False
    retry: str = ""
    failures: int = 0
    model: str = ""
    asked_at: float | None = None


class UnreadableMessageError(ValueError):
    """Raised when a message is neither an upload, nor an S3 event, nor Lambda's failure record."""


def from_event(event: Mapping[str, Any]) -> list[Upload]:
    """Return the uploads in an S3 notification, in its order.

    Keys are form-encoded in these notifications: a space arrives as `+`, from some tools as
    `%20`. Test events have no `Records`. Removals and all other kinds of events are skipped.
    """
    return list(_uploads(event))


def from_message(body: str) -> list[Upload]:
    """Return the uploads in a message of the retry queue.

    Three kinds arrive there: our own messages, the records that Lambda writes when the upload
    function has failed for good (the S3 event is their `requestPayload`), and plain S3 events,
    if somebody connects a bucket to the queue.

    Raise `UnreadableMessageError`.
    """
    try:
        message = json.loads(body)
        event = message.get("requestPayload", message)
        if "Records" in event or event.get("Event") == "s3:TestEvent":
            return from_event(event)
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


def _uploads(event: Mapping[str, Any]) -> Iterator[Upload]:
    for record in event.get("Records", ()):
        if not record["eventName"].startswith("ObjectCreated:"):
            continue
        bucket = record["s3"]["bucket"]["name"]
        key = unquote_plus(record["s3"]["object"]["key"])
        if starts_nothing(key):
            continue
        if key.endswith(SIDECAR_SUFFIX):
            yield Upload(bucket, key.removesuffix(SIDECAR_SUFFIX), sidecar=True)
        else:
            yield Upload(bucket, key)
