"""One tiny upload through the whole stack: the events, the functions, their roles, the buckets.

The free one is a text that is named like an image. A report comes back, and nothing is called,
whatever the stack's parameters are. What was uploaded and what came back are deleted.

First the upload function gets a test event, as S3 sends them. So a function that cannot start is
found at once, and only S3's event takes its time.
"""

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
from botocore.exceptions import ClientError
from PIL import Image

from image_drop.events import Place
from image_drop.instructions.schema import Mode
from image_drop.storage.output_bucket import REPORT_SUFFIX, Report, output_key, report_key
from image_drop_cli.aws import is_denied
from image_drop_cli.doctor.finding import Check, Finding, Level, fine, note, problem
from image_drop_cli.wording import duration

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

FOLDER = "image-drop-doctor"
NO_IMAGE = b"A test by image-drop doctor. No image."
SIDE = 256  # pixels; Venice takes nothing smaller for some modes
# S3 delivers an event usually in seconds, sometimes after a minute or more. Warm functions do not
# change that. https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventNotifications.html
FREE_SECONDS, PAID_SECONDS = 120.0, 300.0
LOCAL_SECONDS = 30.0  # the embedded S3 delivers at once
NEEDED = {"functions", "processing", "events", "buckets"}  # checks without which nothing comes back
TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent"}


type Sleep = Callable[[float], None]
type Tell = Callable[[str], object]


def free(
    patience: float = FREE_SECONDS, sleep: Sleep = time.sleep, tell: Tell = lambda _: None
) -> Check:
    """Return the check that costs nothing: a report has to come back within so many seconds.

    `tell` is told what is waited for.
    """

    def round_trip(deployment: "Deployment") -> Iterator[Finding]:
        yield from _round(deployment, NO_IMAGE, patience, sleep, tell)

    return round_trip


def paid(
    patience: float = PAID_SECONDS, sleep: Sleep = time.sleep, tell: Tell = lambda _: None
) -> Check:
    """Return the check that makes one cut-out, for about $0.03: a result has to come back."""

    def round_trip(deployment: "Deployment") -> Iterator[Finding]:
        picture = io.BytesIO()
        Image.new("RGB", (SIDE, SIDE), "orange").save(picture, "PNG")
        yield from _round(deployment, picture.getvalue(), patience, sleep, tell)

    return round_trip


def pointless(found: Sequence[Finding]) -> Finding | None:
    """Return why no test image is worth sending after these findings; None if one is."""
    broken = [each.check for each in found if each.level == Level.PROBLEM and each.check in NEEDED]
    if not broken:
        return None
    return note(
        "round trip",
        f"No test image was sent, because of the problem with {broken[0]}.",
        "Solve it, then run the command again.",
    )


def _round(
    deployment: "Deployment", data: bytes, patience: float, sleep: Sleep, tell: Tell
) -> Iterator[Finding]:
    tell("Starting UploadFunction …")
    if error := _start_error(deployment):
        yield problem(
            "round trip", f"UploadFunction cannot start: {error}", "Run `image-drop deploy`."
        )
        return
    key = f"{FOLDER}/{uuid4().hex}.png"
    report, began = report_key(key, None), time.monotonic()
    uploaded = _upload(deployment, key, data)
    seconds = min(patience, LOCAL_SECONDS) if deployment.is_local else patience
    tell(
        f"A test image is in the input bucket. Waiting for what becomes of it, up to "
        f"{duration(seconds)}, because S3 may take a minute to announce it …"
    )
    try:
        result = _result_key(deployment, key)
        came = _wait(deployment, (result, report), began + seconds, sleep)
    finally:
        _delete(deployment, deployment.input_place(key), uploaded)
    taken = duration(time.monotonic() - began)
    expected = report if data == NO_IMAGE else result
    if came is None and deployment.services.circuit_breaker.status().stopped:
        yield note(
            "round trip",
            "Processing was paused while the test image was on its way.",
            "`image-drop status` says why. Then run the command again.",
        )
    elif came is None:
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


def _start_error(deployment: "Deployment") -> str:
    """Return what keeps the upload function from starting; empty if it starts.

    Empty also if the person may not invoke it: then only the image can tell.
    """
    try:
        answer = deployment.client("lambda").invoke(
            FunctionName=deployment.physical_id("UploadFunction"), Payload=json.dumps(TEST_EVENT)
        )
    except ClientError as error:
        if is_denied(error):
            return ""
        raise
    if not answer.get("FunctionError"):
        return ""
    said = json.loads(answer["Payload"].read())
    return str(said.get("errorMessage", said))


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
        ChecksumAlgorithm="SHA256",  # a bucket with Object Lock demands a checksum
        Tagging=f"mode={Mode.BACKGROUND_REMOVE.value}",
    )
    version: str | None = answer.get("VersionId")
    return version


def _wait(
    deployment: "Deployment", keys: Sequence[str], deadline: float, sleep: Sleep
) -> _Came | None:
    """Return what came back, and delete it; None if nothing came in time, or will come for long.

    `deadline`: by the monotonic clock. While processing is paused, an image waits in the queue.
    """
    s3 = deployment.client("s3")
    pause = 0.2 if deployment.is_local else 2.0
    while time.monotonic() < deadline:
        for key in keys:
            place = deployment.services.output_bucket.place(key)
            try:
                found = s3.get_object(Bucket=place.bucket, Key=place.key)
            except s3.exceptions.NoSuchKey:
                continue
            body = found["Body"].read()
            _delete(deployment, place, found.get("VersionId"))
            return _Came(key, _said(body) if key.endswith(REPORT_SUFFIX) else "")
        if deployment.services.circuit_breaker.status().stopped:
            return None
        sleep(pause)
    return None


def _said(body: bytes) -> str:
    report = msgspec.json.decode(body, type=Report)
    return f"{report.title}. {report.detail} {report.what_to_do}"


def _delete(deployment: "Deployment", place: Place, version: str | None) -> None:
    """Delete an object, its version too. One that Object Lock protects stays as an old version."""
    s3, named = deployment.client("s3"), {"Bucket": place.bucket, "Key": place.key}
    try:
        s3.delete_object(**named, **({"VersionId": version} if version else {}))
    except ClientError as error:
        if not (version and is_denied(error)):
            raise
        s3.delete_object(**named)
