"""The embedded stack itself: the real template deploys, and its parts are connected as on AWS."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from image_drop_local.emulator.stack import Stack
from tests.support.probe import ALLOWED, Probe
from tests.support.waiting import until

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def upload_probe(stack: Stack) -> Iterator[Probe]:
    probe = Probe(stack, "UploadFunction")
    yield probe
    probe.delete()


@pytest.fixture
def paused_queue(stack: Stack) -> Iterator[str]:
    """UUID of the retry function's event source mapping, disabled during the test."""
    uuid = stack.physical_id("RetryFunctionMessages")
    mappings = stack.client("lambda")
    mappings.update_event_source_mapping(UUID=uuid, Enabled=False)
    yield uuid
    mappings.update_event_source_mapping(UUID=uuid, Enabled=True)


def depth(stack: Stack, queue: str) -> int:
    """Messages in a queue, hidden ones too."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    names.append("ApproximateNumberOfMessagesDelayed")
    sqs = stack.client("sqs")
    found = sqs.get_queue_attributes(QueueUrl=stack.outputs[queue], AttributeNames=names)
    return sum(int(found["Attributes"][name]) for name in names)


def runs(stack: Stack, function: str) -> int:
    return sum(line.startswith("END RequestId") for line in stack.logs(function))


def test_our_package_comes_from_layer_and_not_from_checkout(upload_probe: Probe) -> None:
    where = Path(upload_probe.ask(module="image_drop"))
    assert where.parts[-4:-1] == ("layer_1", "python", "image_drop")
    assert not where.is_relative_to(PROJECT)


def test_function_may_do_what_its_role_allows(stack: Stack, upload_probe: Probe) -> None:
    tries, output = upload_probe.tries, stack.outputs["OutputBucketName"]
    table, key = stack.outputs["StateTableName"], {"id": {"S": "probe"}}
    api_key = "/image-drop/venice-api-key"
    assert tries("s3", "put_object", Bucket=output, Key="probe.png") == ALLOWED
    assert tries("s3", "delete_object", Bucket=output, Key="probe.error.json") == ALLOWED
    assert tries("s3", "delete_object", Bucket=output, Key=".image-drop/answers/1") == ALLOWED
    event = {"Source": "image-drop", "DetailType": "Probe", "Detail": "{}"}
    assert tries("events", "put_events", Entries=[event]) == ALLOWED
    assert tries("dynamodb", "get_item", TableName=table, Key=key) == ALLOWED
    assert tries("ssm", "get_parameter", Name=api_key, WithDecryption=True) == ALLOWED


def test_function_may_do_nothing_else(stack: Stack, upload_probe: Probe) -> None:
    tries, names = upload_probe.tries, stack.outputs
    for operation, bucket, key in [
        ("put_object", names["InputBucketName"], "probe.png"),
        ("delete_object", names["InputBucketName"], "probe.error.json"),
        ("delete_object", names["OutputBucketName"], "probe.png"),
    ]:
        assert tries("s3", operation, Bucket=bucket, Key=key) == "AccessDenied"
    queue = names["RetryQueueUrl"]
    assert tries("sqs", "receive_message", QueueUrl=queue) == "AccessDenied"
    table = names["StateTableName"]
    assert tries("dynamodb", "scan", TableName=table) == "AccessDeniedException"
    assert tries("ssm", "get_parameter", Name="/somebody/else") == "AccessDeniedException"
    assert tries("lambda", "list_functions") == "AccessDeniedException"


def test_missing_object_is_missing_and_not_forbidden(stack: Stack, upload_probe: Probe) -> None:
    for bucket in (stack.outputs["InputBucketName"], stack.outputs["OutputBucketName"]):
        assert upload_probe.tries("s3", "head_object", Bucket=bucket, Key="nothing") == "404"


def test_burst_of_uploads_waits_for_processes_instead_of_failing(stack: Stack) -> None:
    s3, before = stack.client("s3"), runs(stack, "upload")
    for number in range(60):  # below _layers/ nothing is edited, but every upload runs the function
        s3.put_object(Bucket=stack.outputs["InputBucketName"], Key=f"_layers/{number}", Body=b"-")
    until(lambda: runs(stack, "upload") - before >= 60, timeout=60)
    assert depth(stack, "RetryQueueUrl") == 0


def test_paused_queue_keeps_messages_and_delivers_when_resumed(
    stack: Stack, paused_queue: str
) -> None:
    before = runs(stack, "retry")
    send(stack, message_of_an_image_that_is_gone(stack))
    with pytest.raises(AssertionError, match="still 0"):
        until(lambda: runs(stack, "retry") - before, timeout=2)
    assert depth(stack, "RetryQueueUrl") == 1
    stack.client("lambda").update_event_source_mapping(UUID=paused_queue, Enabled=True)
    until(lambda: runs(stack, "retry") - before)
    until(lambda: depth(stack, "RetryQueueUrl") == 0)


def test_message_that_only_crashes_becomes_dead_letter_in_end(
    stack: Stack, paused_queue: str
) -> None:
    sqs, queue = stack.client("sqs"), stack.outputs["RetryQueueUrl"]
    sent = send(stack, message_of_an_image_that_is_gone(stack))
    tries = 0
    while received := sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0).get("Messages"):
        assert [message["MessageId"] for message in received] == [sent]
        tries += 1
    assert tries == 100  # a backstop: the functions count failures
    dead = sqs.receive_message(QueueUrl=stack.outputs["DeadLetterQueueUrl"])["Messages"]
    assert [message["MessageId"] for message in dead] == [sent]
    sqs.delete_message(
        QueueUrl=stack.outputs["DeadLetterQueueUrl"], ReceiptHandle=dead[0]["ReceiptHandle"]
    )


def test_upload_whose_function_dies_goes_to_retry_queue(stack: Stack, paused_queue: str) -> None:
    stack.client("lambda").invoke(
        FunctionName=stack.physical_id("UploadFunction"),
        InvocationType="Event",
        Payload=b'{"Records": "not what S3 sends"}',
    )
    until(lambda: depth(stack, "RetryQueueUrl") == 1)
    queue = stack.outputs["RetryQueueUrl"]
    [message] = stack.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    assert json.loads(message["Body"])["requestPayload"] == {"Records": "not what S3 sends"}
    stack.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def test_account_event_starts_account_watch(stack: Stack) -> None:
    before = runs(stack, "account-watch")
    event = {"Source": "image-drop", "DetailType": "Venice Account Unavailable", "Detail": "{}"}
    stack.client("events").put_events(Entries=[event])
    until(lambda: runs(stack, "account-watch") - before)


def test_event_of_closed_stack_starts_nothing_in_next_one(stack: Stack) -> None:
    """ministack tries an event again after seconds, when the next stack may have its names."""
    from ministack.services import lambda_svc

    old = {"FunctionName": "image-drop-upload", "LastModified": "2026-01-01T00:00:00.000+0000"}
    later_try = threading.Thread(
        target=lambda_svc._acquire_execution_slot, args=({"config": old}, old), daemon=True
    )
    later_try.start()
    later_try.join(timeout=0.5)
    assert later_try.is_alive()  # and stays so: its failure reaches no queue


def test_process_has_one_stack_at_time(stack: Stack) -> None:
    with pytest.raises(RuntimeError, match="has a stack already"), Stack(venice_url="http://x"):
        pass


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_make_local_stops_clean_in_middle_of_work(stop: signal.Signals, tmp_path: Path) -> None:
    with serving(PORT="0", TMPDIR=str(tmp_path)) as process:
        welcome = told(process)
        drop_files(welcome["AWS"], welcome["InputBucketName"])
        process.send_signal(stop)
        assert process.wait(timeout=20) == 0
    assert list(tmp_path.iterdir()) == []


def test_make_local_says_that_its_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with serving(PORT=str(port)) as process:
            assert process.wait(timeout=20) == 1
            assert process.stderr
            assert "Address already in use" in process.stderr.read()


@contextmanager
def serving(**environment: str) -> Iterator[subprocess.Popen[str]]:
    """`make local`, as a process; killed in the end if it is still there."""
    with subprocess.Popen(
        [sys.executable, "-m", "image_drop_local.emulator"],
        cwd=PROJECT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> dict[str, str]:
    """What `make local` prints as `name  value`, once it is ready."""
    assert process.stdout
    lines = iter(
        process.stdout.readline, "Or drop a photo and look for the result in another terminal:\n"
    )
    return dict(line.split() for line in lines if len(line.split()) == 2)


def drop_files(endpoint_url: str, bucket: str) -> None:
    s3 = boto3.Session().client("s3", endpoint_url=endpoint_url)  # not the credentials of moto
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"{number}.jpg", Body=b"not an image")


def send(stack: Stack, body: str) -> str:
    """Put a message into the retry queue; its id."""
    sqs = stack.client("sqs")
    sent = sqs.send_message(QueueUrl=stack.outputs["RetryQueueUrl"], MessageBody=body)
    return str(sent["MessageId"])


def message_of_an_image_that_is_gone(stack: Stack) -> str:
    return json.dumps({"bucket": stack.outputs["InputBucketName"], "key": "gone.jpg"})
