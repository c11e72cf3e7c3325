"""One bucket of somebody's for images and results, with versions and Object Lock."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from image_drop_cli.aws import Aws
from image_drop_cli.commands.doctor import findings
from image_drop_cli.deploying import existing_buckets
from image_drop_cli.deployment import Deployment
from image_drop_cli.doctor.finding import Level
from image_drop_local.emulator.stack import STACK_NAME, Stack
from image_drop_local.simulator import Simulator
from tests.support.pictures import photo
from tests.support.system import CUT_OUT, MAX_WAIT, System
from tests.support.waiting import until

BUCKET = "archive"
PARAMETERS = {
    "ExistingInputBucket": BUCKET,
    "InputPrefix": "in/",
    "ExistingOutputBucket": BUCKET,
    "OutputPrefix": "out/",
}
CHECKSUMS = ("content-md5", "x-amz-sdk-checksum-algorithm")


def fill(stack: Stack) -> None:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    retention = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}
    s3.put_object_lock_configuration(
        Bucket=BUCKET,
        ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": retention},
    )
    existing_buckets.send_events(Aws.connect(endpoint_url=stack.endpoint_url), BUCKET)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with (
        Simulator(limit=1000, pictures="fast") as venice,
        Stack(venice_url=venice.url, concurrency=4, parameters=PARAMETERS, existing=fill) as stack,
    ):
        yield System(stack, venice)


def versions(system: System, key: str) -> int:
    found = system.s3.list_object_versions(Bucket=BUCKET, Prefix=key)
    return sum(each["Key"] == key for each in found.get("Versions", []))


def edit_id(system: System, key: str) -> str | None:
    metadata: Mapping[str, str] = system.head(key).get("Metadata", {})
    return metadata.get("edit-id")


def test_overwritten_image_gets_new_result_and_old_one_stays(system: System) -> None:
    system.drop("in/shoe.jpg", photo("first"), metadata=CUT_OUT)
    system.metadata("out/shoe.jpg.png")
    first = edit_id(system, "out/shoe.jpg.png")

    system.drop("in/shoe.jpg", photo("second"), metadata=CUT_OUT)

    assert until(lambda: edit_id(system, "out/shoe.jpg.png") != first, MAX_WAIT)
    assert versions(system, "out/shoe.jpg.png") == 2
    assert versions(system, "in/shoe.jpg") == 2
    assert [system.paid(photo(name)) for name in ("first", "second")] == [1, 1]


def test_deleted_image_keeps_its_result_and_is_not_edited_again(system: System) -> None:
    system.drop("in/cup.jpg", metadata=CUT_OUT)
    system.metadata("out/cup.jpg.png")

    system.s3.delete_object(Bucket=BUCKET, Key="in/cup.jpg")
    system.invoke("BackfillFunction", {})

    assert system.waiting() == 0
    assert versions(system, "out/cup.jpg.png") == 1
    assert system.paid(photo("in/cup.jpg")) == 1


def test_report_that_is_over_stays_as_old_version_only(system: System) -> None:
    system.drop("in/late.jpg", b"no image", metadata=CUT_OUT)
    assert system.report("out/late.jpg")["code"] == "not_an_image"

    system.drop("in/late.jpg", metadata=CUT_OUT)

    assert system.metadata("out/late.jpg.png")["mode"] == "background-remove"
    assert until(lambda: not system.head("out/late.jpg.error.json"), MAX_WAIT)
    assert versions(system, "out/late.jpg.error.json") == 1


def test_doctor_goes_through_locked_bucket_and_names_lock(system: System) -> None:
    deployment = Deployment.find(STACK_NAME, endpoint_url=system.stack.endpoint_url)
    events = deployment.client("s3").meta.events
    events.register("before-send.s3.PutObject", refuse_without_checksum)

    found = list(findings(deployment))

    assert [each for each in found if each.level == Level.PROBLEM] == []
    assert "round trip" in [each.check for each in found if each.level == Level.FINE]
    [lock] = [each.text for each in found if each.check == "buckets"]
    assert "locks each new object for 30 days (Object Lock)" in lock


def refuse_without_checksum(request: Any, **_: Any) -> AWSResponse | None:
    """Answer as S3 does where a default retention counts; the emulator is more lenient."""
    names = {name.lower() for name in request.headers}
    if names & set(CHECKSUMS):
        return None

    class Refused(AWSResponse):
        content = (
            b"<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header"
            b" is required for Put Object requests with Object Lock parameters</Message></Error>"
        )

    return Refused(request.url, 400, HTTPHeaders(), None)
