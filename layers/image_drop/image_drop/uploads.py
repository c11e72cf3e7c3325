"""From S3 notifications and queue messages to uploads: which key changed, and is it our concern.

An upload is a hint that something happened to a key, no more. S3 delivers events twice and out
of order, so the version and the sequencer that an event carries say nothing that can be relied
on; the pipeline always works on what the key holds *now*. That is what makes the newest upload
win, and a late or repeated event harmless.
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
    """An image that may need an edit; also the body of a RetryQueue message, as JSON.

    `variant`: only this one of the image's variants; None is the image as a whole.
    `sidecar`: the instructions arrived, not the image, so a missing image is no error.
    `retry`: the id of an explicit retry, which makes again what was removed or reported.
    `failures`: how many tries have failed before the message was sent.
    """

    bucket: str
    key: str
    variant: str | None = None
    sidecar: bool = False
    retry: str = ""
    failures: int = 0


class UnreadableMessageError(ValueError):
    """When a queue message is neither an upload, nor an S3 event, nor a Lambda failure record."""


def from_event(event: Mapping[str, Any]) -> list[Upload]:
    """The uploads in an S3 notification, in its order.

    Keys are form-encoded in these notifications (a space arrives as `+`, as `%20` from some
    tools). Test events have no `Records`; removals and every other kind of event are left out.
    """
    return list(_uploads(event))


def from_message(body: str) -> list[Upload]:
    """The uploads in a message of the retry queue.

    Three kinds arrive there: our own message, the record that Lambda writes when the upload
    function failed for good (the S3 event is its `requestPayload`), and plain S3 events, where
    somebody connects a bucket to the queue.

    Raises `UnreadableMessageError`.
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
    """Whether a key is not to be edited: folders, hidden names, everything below `_layers/`."""
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
