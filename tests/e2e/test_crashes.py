"""The function's process is killed on the way: the redelivery finishes the work, and pays once.

Killed with SIGKILL, at the moment when the process (a) reads the image, before its call; (b) waits
for Venice; (c) has the answer and is about to store it; (d) has stored it. A call that was charged
and whose answer was lost cannot be told from one that was not: there, and only there, a second one
is paid, and the log and a metric say so.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from image_drop.state.records import Records
from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator
from tests.support.interception import Interceptor
from tests.support.system import CUT_OUT, MAX_WAIT, System
from tests.support.waiting import until

MOMENTS = {
    "before GET": 1,  # (a)
    "during the call": 2,  # (b)
    "before PUT": 2,  # (c)
    "after PUT": 1,  # (d)
}
paid_by_moment = pytest.mark.parametrize(("moment", "paid"), MOMENTS.items())


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with (
        Simulator(limit=1000, pictures="fast") as venice,
        Stack(venice_url=venice.url, concurrency=4) as stack,
    ):
        yield System(stack, venice)


@pytest.fixture(scope="module")
def s3(system: System) -> Iterator[Interceptor]:
    """What the upload and the retry function take for S3."""
    with Interceptor(system.stack.endpoint_url) as proxy:
        for name in ("UploadFunction", "RetryFunction"):
            function = system.stack.physical_id(name)
            found = system.functions.get_function_configuration(FunctionName=function)
            variables = found["Environment"]["Variables"] | {"AWS_ENDPOINT_URL_S3": proxy.url}
            system.functions.update_function_configuration(
                FunctionName=function, Environment={"Variables": variables}
            )
        yield proxy


class Killer:
    """Kills a function's processes, as Lambda does when their time or memory is used up."""

    def __init__(self, system: System, s3: Interceptor, logical_id: str) -> None:
        self.system, self.s3 = system, s3
        self.function = system.stack.physical_id(logical_id)

    def kill(self) -> None:
        """Now; and the time is over for which the process held its image."""
        expire_holds(self.system)
        for process in self.processes():
            os.kill(process, signal.SIGKILL)

    def kill_at(self, moment: str, key: str, times: int = 1) -> None:
        """At a moment of the edit of `key`, which is still to come."""
        if moment == "during the call":
            self.system.venice.faults.add("timeout", times=1)
            return
        bucket, name = self.system.input, key
        if "PUT" in moment:
            bucket, name = self.system.output, f"{key}.png"
        self.s3.when(moment, f"/{bucket}/{name}", self.kill, times)

    def wait(self, moment: str, data: bytes) -> None:
        """Until the call has reached Venice, where that is the moment."""
        if moment == "during the call":
            until(lambda: self.system.calls(data), MAX_WAIT)
            self.kill()

    def processes(self) -> list[int]:
        """Ids of those children of this process that the emulator started for the function."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                parent = status.read_text().partition("PPid:")[2].split()[0]
                command = status.with_name("cmdline").read_text()
            except (OSError, IndexError):
                continue  # it has ended
            if int(parent) == os.getpid() and f"-{self.function}-" in command:
                found.append(int(status.parent.name))
        return found


def expire_holds(system: System) -> None:
    """Five minutes pass for the records: a function that held one would have been ended by now."""
    records = Records(system.dynamodb, system.table, time.time, time.sleep, Random(1))
    for item in system.dynamodb.scan(TableName=system.table)["Items"]:
        if item["id"]["S"].startswith("edit#"):
            records.change_record(
                item["id"]["S"],
                lambda record: record.held(record.holder, 0.0) if record.holder else record,
            )


def is_told(system: System, function: str, key: str) -> bool:
    """Whether the log says that an edit was possibly paid twice."""
    messages = [line["message"] for line in system.log(function, key)]
    return "calling again after a call without an answer" in messages


def possibly_paid_twice(system: System) -> int:
    """How often that metric was published."""
    lines = system.stack.logs("upload") + system.stack.logs("retry")
    return sum('"_aws"' in line and '"PossiblyPaidTwice"' in line for line in lines)


# --- the upload function -------------------------------------------------------------------


@paid_by_moment
def test_killed_upload_is_queued_by_lambdas_retry_and_finished(
    system: System, s3: Interceptor, moment: str, paid: int
) -> None:
    key = f"upload/{moment}.jpg"
    killer, before = Killer(system, s3, "UploadFunction"), possibly_paid_twice(system)
    killer.kill_at(moment, key)
    runs = system.runs("upload")

    data = system.drop(key, metadata=CUT_OUT)
    killer.wait(moment, data)

    assert system.metadata(f"{key}.png")["source-key"] == key
    until(lambda: system.runs("upload") == runs + 2, MAX_WAIT)  # killed, and again
    until(lambda: system.waiting() == 0, MAX_WAIT)  # the log is there when the function has ended
    assert system.paid(data) == len(system.calls(data)) == paid
    assert is_told(system, "retry", key) is (paid == 2)
    assert possibly_paid_twice(system) - before == paid - 1
    assert system.dead() == 0


# --- the retry function --------------------------------------------------------------------


@paid_by_moment
def test_message_of_killed_retry_function_comes_again(
    system: System, s3: Interceptor, moment: str, paid: int
) -> None:
    key = f"retry/{moment}.jpg"
    killer, before = Killer(system, s3, "RetryFunction"), possibly_paid_twice(system)
    with paused_queue(system), without_notifications(system):
        data = system.drop(key, metadata=CUT_OUT)
        system.sqs.send_message(QueueUrl=system.queue, MessageBody=system.message(key))
        message = receive(system)
        killer.kill_at(moment, key)
        with ThreadPoolExecutor(1) as lambda_service:
            dies = lambda_service.submit(system.invoke, "RetryFunction", event_of(message))
            killer.wait(moment, data)
            assert dies.result() is None
        assert system.waiting() == 1
        system.sqs.change_message_visibility(  # half an hour passes for the message
            QueueUrl=system.queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )

    until(lambda: system.waiting() == 0, MAX_WAIT)
    assert system.metadata(f"{key}.png")["source-key"] == key
    assert system.paid(data) == len(system.calls(data)) == paid
    assert is_told(system, "retry", key) is (paid == 2)
    assert possibly_paid_twice(system) - before == paid - 1
    assert system.dead() == 0


@contextmanager
def paused_queue(system: System) -> Iterator[None]:
    """The retry function is not fed: the test receives its messages."""
    uuid = system.stack.physical_id("RetryFunctionMessages")
    system.functions.update_event_source_mapping(UUID=uuid, Enabled=False)
    yield
    system.functions.update_event_source_mapping(UUID=uuid, Enabled=True)


@contextmanager
def without_notifications(system: System) -> Iterator[None]:
    """Uploads do not start the upload function."""
    bucket, s3 = system.input, system.s3
    found: Any = s3.get_bucket_notification_configuration(Bucket=bucket)
    found.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    yield
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=found)


def receive(system: System) -> dict[str, Any]:
    message: dict[str, Any]
    [message] = system.sqs.receive_message(
        QueueUrl=system.queue, MessageSystemAttributeNames=["All"]
    )["Messages"]
    return message


def event_of(message: dict[str, Any]) -> dict[str, Any]:
    """What Lambda makes of a message."""
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:retry",
        "awsRegion": "us-east-1",
    }
    return {"Records": [record]}
