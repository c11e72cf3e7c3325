"""A bucket that was there before the stack: images and results in two of its folders.

The stack has a webhook as well.
"""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar, override

import pytest
from typer.testing import CliRunner, Result

from image_drop_cli import app
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

BUCKET = "company-files"
PARAMETERS = {
    "ExistingInputBucket": BUCKET,
    "InputPrefix": "photos/in/",
    "ExistingOutputBucket": BUCKET,
    "OutputPrefix": "photos/out/",
}
SECRET = "/image-drop/webhook-secret"
OLD = "photos/in/old/1.jpg"


def fill(stack: Stack) -> None:
    """Make the bucket, with an old image and with a notification of somebody else's."""
    s3, sqs = stack.client("s3"), stack.client("sqs")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=OLD, Body=photo(OLD), Metadata=CUT_OUT)
    queue = sqs.create_queue(QueueName="theirs")["QueueUrl"]
    [arn] = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])[
        "Attributes"
    ].values()
    theirs = {"Id": "theirs", "QueueArn": arn, "Events": ["s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=BUCKET,
        NotificationConfiguration={"QueueConfigurations": [theirs]},
        SkipDestinationValidation=True,
    )
    stack.client("ssm").put_parameter(Name=SECRET, Value="s3cret", Type="String")
    existing_buckets.send_events(Aws.connect(endpoint_url=stack.endpoint_url), BUCKET)


class Webhook(BaseHTTPRequestHandler):
    """A server of somebody who wants to know. `got`: the secret and the event of each request."""

    got: ClassVar[list[tuple[str | None, dict[str, Any]]]] = []
    status: ClassVar[int] = 204

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.headers["X-Image-Drop-Secret"], json.loads(body)))
        self.send_response(self.status)
        self.send_header("Location", "https://shop.example/new")
        self.end_headers()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def webhook() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def system(webhook: str) -> Iterator[System]:
    parameters = PARAMETERS | {"WebhookUrl": webhook}
    with (
        Simulator(limit=1000, pictures="fast") as venice,
        Stack(venice_url=venice.url, concurrency=4, parameters=parameters, existing=fill) as stack,
    ):
        yield System(stack, venice)


@pytest.fixture(scope="module")
def events(system: System) -> str:
    """A queue that gets all of Image Drop's events."""
    sqs, bus = system.sqs, system.stack.client("events")
    url = str(sqs.create_queue(QueueName="watched")["QueueUrl"])
    [arn] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])[
        "Attributes"
    ].values()
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    bus.put_rule(Name="watched", EventPattern=json.dumps({"source": ["image-drop"]}))
    bus.put_targets(Rule="watched", Targets=[{"Id": "1", "Arn": arn}])
    return url


def command(system: System, *arguments: str) -> Result:
    environment = {"AWS_ENDPOINT_URL": system.stack.endpoint_url, "COLUMNS": "200"}
    return CliRunner().invoke(app, arguments, env=environment)


def received(system: System, queue: str) -> list[dict[str, Any]]:
    """The details of the events that are in a queue, once there are some."""

    def receive() -> Any:
        return system.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages")

    return [json.loads(each["Body"])["detail"] for each in until(receive, MAX_WAIT)]


def test_notifications_of_others_survive(system: System) -> None:
    found = system.s3.get_bucket_notification_configuration(Bucket=BUCKET)

    assert [each["Id"] for each in found["QueueConfigurations"]] == ["theirs"]
    assert "EventBridgeConfiguration" in found


def test_image_below_prefix_is_edited_and_result_starts_nothing(
    system: System, events: str
) -> None:
    system.drop("photos/in/new/a b+é%20.jpg", metadata=CUT_OUT)

    assert system.metadata("photos/out/new/a b+é%20.jpg.png")["mode"] == "background-remove"
    [detail] = received(system, events)
    assert detail["input"] == {"bucket": BUCKET, "key": "photos/in/new/a b+é%20.jpg"}
    assert detail["output"] == {"bucket": BUCKET, "key": "photos/out/new/a b+é%20.jpg.png"}
    # The event about the result comes before that of a later image, which is done by then.
    system.drop("photos/in/new/b.jpg", b"no image", metadata=CUT_OUT)
    assert system.report("photos/out/new/b.jpg")["key"] == "new/b.jpg"
    assert [key for key in system.outputs() if not key.startswith("photos/in/")] == [
        "photos/out/new/a b+é%20.jpg.png",
        "photos/out/new/b.jpg.error.json",
    ]


def test_webhook_gets_events_with_secret(system: System) -> None:
    system.drop("photos/in/hook.jpg", metadata=CUT_OUT | {"reference": "order 4711"})

    def told() -> list[Any]:
        return [each for each in Webhook.got if each[1]["detail"]["reference"] == "order 4711"]

    [(secret, event)] = until(told, MAX_WAIT)
    assert secret == "s3cret"
    assert event["detail-type"] == "Image Edited"
    assert event["detail"]["output"]["key"] == "photos/out/hook.jpg.png"
    assert event["detail"]["event_id"]


def test_event_that_webhook_did_not_take_is_sent_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = system.stack.physical_id("WebhookDeadLetterQueue")
    reason = {
        name: {"DataType": "String", "StringValue": text}
        for name, text in (("ERROR_CODE", "SDK_CLIENT_ERROR"), ("ERROR_MESSAGE", "status code 301"))
    }
    for number in range(12):
        body = json.dumps({"source": "image-drop", "detail": {"reference": f"dead {number}"}})
        system.sqs.send_message(QueueUrl=queue, MessageBody=body, MessageAttributes=reason)

    listed = command(system, "dead", "events")
    monkeypatch.setattr(Webhook, "status", 301)
    refused = command(system, "dead", "events", "--redeliver")
    monkeypatch.setattr(Webhook, "status", 204)
    Webhook.got.clear()
    sent = command(system, "dead", "events", "--redeliver")

    assert "12  SDK_CLIENT_ERROR: status code 301" in listed.output
    assert refused.exit_code == 1
    assert "answered 301 and named https://shop.example/new." in refused.output
    assert "About 12 events are left." in refused.output
    assert (sent.exit_code, sent.output) == (0, "Delivered 12 events.\n")
    ours = [each for each in Webhook.got if each[1]["detail"]["reference"].startswith("dead ")]
    assert sorted(each[1]["detail"]["reference"] for each in ours) == sorted(
        f"dead {number}" for number in range(12)
    )
    assert {secret for secret, _ in ours} == {"s3cret"}
    assert command(system, "dead", "events").output == "There are none.\n"


def test_instructions_above_prefix_do_not_count(system: System) -> None:
    system.put_json("photos/.image-drop.json", prompt="from above")
    system.put_json("photos/in/shop/.image-drop.json", mode="background-remove")
    system.drop("photos/elsewhere.jpg", metadata=CUT_OUT)
    system.drop("photos/in/plain.jpg")
    system.drop("photos/in/shop/shoe.jpg")

    assert system.metadata("photos/out/shop/shoe.jpg.png")["mode"] == "background-remove"
    assert system.report("photos/out/plain.jpg")["code"] == "no_instructions"
    assert not [key for key in system.outputs() if "elsewhere" in key and key.endswith(".png")]


def test_tags_after_upload_start_edit_through_eventbridge(system: System) -> None:
    system.drop("photos/in/late.jpg")
    assert system.report("photos/out/late.jpg")["code"] == "no_instructions"

    tags: Any = [{"Key": "mode", "Value": "background-remove"}]
    system.s3.put_object_tagging(Bucket=BUCKET, Key="photos/in/late.jpg", Tagging={"TagSet": tags})

    assert system.metadata("photos/out/late.jpg.png")["mode"] == "background-remove"


def test_old_images_are_for_backfill_that_is_started(system: System) -> None:
    system.invoke("BackfillFunction", {})  # as every five minutes
    assert system.waiting() == 0
    assert not system.head("photos/out/old/1.jpg.png")

    assert command(system, "backfill", "start", "old/").exit_code == 0
    system.invoke("BackfillFunction", {})

    assert system.metadata("photos/out/old/1.jpg.png")["source-key"] == "old/1.jpg"
    assert system.paid(photo(OLD)) == 1


def test_command_line_works_below_prefixes(system: System, tmp_path: Any) -> None:
    (tmp_path / "cup.jpg").write_bytes(photo("cup"))

    out = tmp_path / "results"
    put = command(
        system, "put", str(tmp_path / "cup.jpg"), "--mode", "background-remove", "--out", str(out)
    )
    explained = command(system, "explain", "cup.jpg")
    status = json.loads(command(system, "status", "--json").stdout)

    assert put.exit_code == 0, put.output
    assert system.s3.head_object(Bucket=BUCKET, Key="photos/in/cup.jpg")
    assert (out / "cup.jpg.png").exists()
    assert "cup.jpg: result. The result cup.jpg.png was stored" in explained.output
    assert status["last_hour"]["results"] >= 3
    assert status["last_hour"]["reports"] >= 1


def test_doctor_finds_nothing_and_names_what_is_off(system: System) -> None:
    deployment = Deployment.find(STACK_NAME, endpoint_url=system.stack.endpoint_url)
    assert [each for each in findings(deployment) if each.level == Level.PROBLEM] == []

    system.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    from image_drop_cli.doctor import stack_checks

    [problem] = list(stack_checks.events(deployment))
    assert "does not send its events to EventBridge" in problem.text
