"""One tiny upload through the whole stack: the events, the functions, their roles, the buckets.

The free one is a text that is named like an image. A report comes back, and nothing is called,
whatever the stack's parameters are. What was uploaded and what came back are deleted.
"""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
from PIL import Image

from image_drop.events import Place
from image_drop.instructions.schema import Mode
from image_drop.storage.output_bucket import REPORT_SUFFIX, Report, output_key, report_key
from image_drop_cli.doctor.finding import Check, Finding, fine, problem
from image_drop_cli.wording import duration

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

FOLDER = "image-drop-doctor"
NO_IMAGE = b"A test by image-drop doctor. No image."
SIDE = 256  # pixels; Venice takes nothing smaller for some modes
# S3 delivers an event usually in seconds, sometimes after a minute or more; then a cold start.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html
FREE_SECONDS, PAID_SECONDS = 120.0, 300.0


type Sleep = Callable[[float], None]


def free(patience: float = FREE_SECONDS, sleep: Sleep = time.sleep) -> Check:
    """Return the check that costs nothing: a report has to come back within so many seconds."""

    def round_trip(deployment: "Deployment") -> Iterator[Finding]:
        yield from _round(deployment, NO_IMAGE, patience, sleep)

    return round_trip


def paid(patience: float = PAID_SECONDS, sleep: Sleep = time.sleep) -> Check:
    """Return the check that makes one cut-out, for about $0.03: a result has to come back."""

    def round_trip(deployment: "Deployment") -> Iterator[Finding]:
        picture = io.BytesIO()
        Image.new("RGB", (SIDE, SIDE), "orange").save(picture, "PNG")
        yield from _round(deployment, picture.getvalue(), patience, sleep)

    return round_trip


def _round(
    deployment: "Deployment", data: bytes, patience: float, sleep: Sleep
) -> Iterator[Finding]:
    if deployment.services.circuit_breaker.status().stopped:
        return  # uploads wait in the queue, as another finding says
    key = f"{FOLDER}/{uuid4().hex}.png"
    report, began = report_key(key, None), time.monotonic()
    uploaded = _upload(deployment, key, data)
    try:
        result = _result_key(deployment, key)
        came = _wait(deployment, (result, report), patience, sleep)
    finally:
        _delete(deployment, deployment.input_place(key), uploaded)
    taken = duration(time.monotonic() - began)
    expected = report if data == NO_IMAGE else result
    if came is None:
        logs = f"/aws/lambda/{deployment.name}-upload and -retry"
        yield problem(
            "round trip",
            f"Nothing came back for a test image within {taken}.",
            f"Look at the other findings, then into the logs {logs}.",
        )
    elif came.key != expected:
        yield problem("round trip", came.text or f"{came.key} came back.", "See the report.")
    else:
        yield fine("round trip", f"A test image went through the stack in {taken}.")


@dataclass(frozen=True)
class _Came:
    key: str
    text: str


def _result_key(deployment: "Deployment", key: str) -> str:
    format_ = deployment.services.settings.output_key_format
    return output_key(format_, key, Mode.BACKGROUND_REMOVE.value, None, ".png")


def _upload(deployment: "Deployment", key: str, data: bytes) -> str | None:
    """Upload a test image, and return its version."""
    place = deployment.input_place(key)
    answer = deployment.client("s3").put_object(
        Bucket=place.bucket,
        Key=place.key,
        Body=data,
        ContentType="image/png",
        Tagging=f"mode={Mode.BACKGROUND_REMOVE.value}",
    )
    version: str | None = answer.get("VersionId")
    return version


def _wait(
    deployment: "Deployment", keys: Sequence[str], seconds: float, sleep: Sleep
) -> _Came | None:
    """Return what came back, and delete it; None if nothing came in time."""
    s3 = deployment.client("s3")
    pause = 0.2 if deployment.is_local else 2.0
    for _ in range(int(seconds / pause)):
        for key in keys:
            place = deployment.services.output_bucket.place(key)
            try:
                found = s3.get_object(Bucket=place.bucket, Key=place.key)
            except s3.exceptions.NoSuchKey:
                continue
            body = found["Body"].read()
            _delete(deployment, place, found.get("VersionId"))
            return _Came(key, _said(body) if key.endswith(REPORT_SUFFIX) else "")
        sleep(pause)
    return None


def _said(body: bytes) -> str:
    report = msgspec.json.decode(body, type=Report)
    return f"{report.title}. {report.detail} {report.what_to_do}"


def _delete(deployment: "Deployment", place: Place, version: str | None) -> None:
    named = {"VersionId": version} if version else {}
    deployment.client("s3").delete_object(Bucket=place.bucket, Key=place.key, **named)
