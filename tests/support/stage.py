"""The real functions on a stage: AWS in memory, Venice simulated over HTTP, time that is told."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, override
from urllib.parse import quote_plus

import boto3
from botocore.exceptions import ClientError
from moto.sqs.models import sqs_backends

from functions.account_watch import app as account_watch_app
from functions.retry import app as retry_app
from functions.upload import app as upload_app
from image_drop.services import Services
from image_drop_local.simulator import Simulator
from tests.support.account import TABLE, make_bucket, make_table
from tests.support.buckets import Buckets
from tests.support.clock import FakeClock
from tests.support.interruptions import Interruptions, Killed
from tests.support.lambda_context import FakeContext
from tests.support.pictures import photo

EVENTS = Path(__file__).parents[2] / "events"
INPUT = "image-drop-input-123456789012-us-east-1"  # the bucket that the sample events name
OUTPUT = "image-drop-output-123456789012-us-east-1"
KEY_PARAMETER = "/image-drop/venice-api-key"
VISIBILITY = 1800  # seconds, as in template.yaml
MAX_KEY_BYTES = 1024
LAMBDA_TIMEOUT = 300  # seconds
ROUND = 300  # seconds between two looks at the account

MappingState = Callable[[], str]  # how the retry function's event source mapping is


def sample(name: str) -> dict[str, Any]:
    """One of the sample events of `events/`."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))
    return event


@cache
def client(service: str) -> Any:
    """A client for the tests themselves, made once: that takes longer than most of the tests."""
    return boto3.client(service)  # type: ignore[call-overload]


class Stage(Buckets):
    """Buckets, queues, table, parameter and event bus as in template.yaml, and the functions.

    `drop` uploads and runs the upload function, `redeliver` hands the retry function the next
    message that is due. Nothing happens by itself.
    """

    def __init__(self, clock: FakeClock, venice: Simulator, own_services: Any) -> None:
        """`own_services`: what the upload function itself would work with."""
        self.clock, self.venice, self.own_services = clock, venice, own_services
        super().__init__(client("s3"), INPUT, OUTPUT)
        self.sqs = client("sqs")
        self.dynamodb = client("dynamodb")
        self.ssm = client("ssm")
        self.awslambda = client("lambda")
        for bucket in (INPUT, OUTPUT):
            make_bucket(self.s3, bucket)
        make_table(self.dynamodb)
        self.set_key("first-key")
        self.dead_letters = self._queue("dead-letters")
        self.queue = ""
        self.env: dict[str, str] = {}
        self.services: Services
        self.interruptions = Interruptions()
        self.configure()
        self._events = self._queue("events")
        self._watch_events()

    # --- how it is set up ------------------------------------------------------------------

    def configure(self, *, tries: int = 12, read_timeout: float | None = None, **env: str) -> None:
        """Deploy, or deploy again with other parameters, as a cold start would see them."""
        if not self.queue:
            self.queue = self._queue("retry", VisibilityTimeout=str(VISIBILITY))
        redrive = {"deadLetterTargetArn": self._arn(self.dead_letters), "maxReceiveCount": 100}
        self.sqs.set_queue_attributes(
            QueueUrl=self.queue, Attributes={"RedrivePolicy": json.dumps(redrive)}
        )
        self.env |= {
            "INPUT_BUCKET": INPUT,
            "OUTPUT_BUCKET": OUTPUT,
            "RETRY_QUEUE_URL": self.queue,
            "STATE_TABLE": TABLE,
            "VENICE_API_KEY_PARAMETER": KEY_PARAMETER,
            "VENICE_BASE_URL": self.venice.url,
            "DEAD_LETTER_QUEUE_URL": self.dead_letters,
            "MAX_FAILURES": str(tries),
        } | env
        self.cold_start()
        if read_timeout is not None:
            venice = replace(self.services.venice, max_seconds=read_timeout)
            self.services = replace(self.services, venice=venice)

    def cold_start(self) -> None:
        """A new process: nothing is cached, connections are new."""
        self.services = Services.from_env(
            self.env,
            now=self.clock.now,
            sleep=self.clock.sleep,
            rng=Random(1),
            client=self.interruptions.client,
        )
        s3 = self.services.input_bucket.s3
        s3.meta.events.register("before-call.s3", _refuse_long_keys)

    def set_key(self, key: str) -> None:
        self.ssm.put_parameter(Name=KEY_PARAMETER, Value=key, Type="SecureString", Overwrite=True)

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.sleep(seconds)

    # --- what people and AWS do ------------------------------------------------------------

    def put(
        self,
        key: str,
        data: bytes | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Upload an object, by default a photo of its own; S3's event about it, a second later."""
        data = photo(key) if data is None else data
        self.store(key, data, tags, metadata)
        self.clock.sleep(1)
        event = sample("s3-put")
        put_at = datetime.fromtimestamp(self.clock.now() - 1, UTC)
        event["Records"][0]["eventTime"] = put_at.isoformat(timespec="milliseconds")
        event["Records"][0]["s3"]["object"] |= {
            "key": quote_plus(key, safe="/"),
            "size": len(data),
            "eTag": hashlib.md5(data).hexdigest(),
        }
        return event

    def put_json(self, key: str, **content: Any) -> dict[str, Any]:
        """Upload a sidecar or folder file; the event that S3 sends about it."""
        return self.put(key, json.dumps(content).encode())

    def drop(
        self,
        key: str,
        data: bytes | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        sidecar: Mapping[str, Any] | None = None,
    ) -> str:
        """Upload an image (after its sidecar) and run the upload function; how it ended."""
        if sidecar is not None:
            self.put_json(f"{key}.json", **sidecar)
        return self.upload(self.put(key, data, tags=tags, metadata=metadata))[key]

    def upload(self, event: dict[str, Any], context: FakeContext | None = None) -> dict[str, str]:
        """Run the upload function."""
        return upload_app.handler(event, context or FakeContext())

    def deliver(self, event: dict[str, Any]) -> None:
        """Hand an event to the upload function as Lambda does: three times at most, then queued."""
        for wait in (60, 120, 0):
            try:
                self.upload(event)
            except Killed:
                self.pass_time(LAMBDA_TIMEOUT)
                self.cold_start()
            except Exception:  # a function that fails is called again
                pass
            else:
                return
            self.pass_time(wait)
        record = json.loads(sample("sqs-lambda-failure")["Records"][0]["body"])
        body = json.dumps(record | {"requestPayload": event})
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def receive(self) -> dict[str, Any] | None:
        """The next message of the retry queue that is due, as the event that Lambda makes of it."""
        self.clock.sleep(0.001)  # moto hides a message for the instant in which it is due
        messages = self.sqs.receive_message(
            QueueUrl=self.queue, MaxNumberOfMessages=1, MessageSystemAttributeNames=["All"]
        ).get("Messages", [])
        if not messages:
            return None
        event = sample("sqs-retry")
        event["Records"][0] |= {
            "messageId": messages[0]["MessageId"],
            "receiptHandle": messages[0]["ReceiptHandle"],
            "body": messages[0]["Body"],
            "md5OfBody": messages[0]["MD5OfBody"],
            "attributes": messages[0]["Attributes"],
            "eventSourceARN": self._arn(self.queue),
        }
        return event

    def redeliver(self, context: FakeContext | None = None, *, acknowledge: bool = True) -> str:
        """Run the retry function on the next message that is due: `nothing due`, `kept`, `gone`.

        Without `acknowledge`, Lambda dies before it deletes the message.
        """
        event = self.receive()
        if event is None:
            return "nothing due"
        answer = retry_app.handler(copy.deepcopy(event), context or FakeContext())
        record = event["Records"][0]
        if answer["batchItemFailures"]:
            assert answer["batchItemFailures"] == [{"itemIdentifier": record["messageId"]}]
            return "kept"
        if acknowledge:
            self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=record["receiptHandle"])
        return "gone"

    def due_in(self) -> float:
        """Seconds until the next message of the retry queue is due, as moto has noted it."""
        queue = sqs_backends["123456789012"]["us-east-1"].queues["retry"]
        due = min(max(each.visible_at, each.delayed_until) for each in queue._messages)
        return max(0.0, due / 1000 - self.clock.now())

    def work_off(self, hours: float = 24) -> int:
        """Let time pass until the retry queue is empty; how often the retry function ran."""
        runs, end = 0, self.clock.now() + hours * 3600
        while self.waiting():
            assert self.clock.now() < end, f"{self.waiting()} messages after {hours} h"
            if wait := self.due_in():
                self.pass_time(wait)
            try:
                runs += self.redeliver() != "nothing due"  # but moved to the dead letters
            except Killed:
                self.pass_time(LAMBDA_TIMEOUT)
                self.cold_start()
        return runs

    def watch(self, event: str = "schedule", context: FakeContext | None = None) -> None:
        """Run the account watch function."""
        account_watch_app.handler(sample(event), context or FakeContext())

    def redrive(self) -> None:
        """Send the dead letters round again."""
        while messages := self.sqs.receive_message(QueueUrl=self.dead_letters).get("Messages"):
            for message in messages:
                self.sqs.send_message(QueueUrl=self.queue, MessageBody=message["Body"])
                self.sqs.delete_message(
                    QueueUrl=self.dead_letters, ReceiptHandle=message["ReceiptHandle"]
                )

    def kill(self, moment: str) -> None:
        """Kill the next invocation at a moment of its S3 client, such as `before-call.PutObject`.

        Only calls about the image and its result count, not the reads of instructions.
        """
        when, operation = moment.split(".")
        events = self.services.input_bucket.s3.meta.events
        name = f"{when}.s3.{operation}"

        def die(context: Mapping[str, Any], **_: Any) -> None:
            if not context["input_params"]["Key"].endswith(".json"):
                events.unregister(name, die)
                raise Killed

        events.register(name, die)

    # --- what can be seen ------------------------------------------------------------------

    @override
    def report(self, key: str) -> dict[str, Any]:
        """Return the report about an image, or {}."""
        return super().report(key) if self.head(f"{key}.error.json") else {}

    def waiting(self) -> int:
        """Messages in the retry queue: visible, delayed, or hidden."""
        return self._count(self.queue)

    def dead(self) -> int:
        """Messages in the dead-letter queue."""
        return self._count(self.dead_letters)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """What has been announced since the last look: detail type and detail."""
        return [(event["detail-type"], event["detail"]) for event in self.delivered()]

    def delivered(self) -> list[dict[str, Any]]:
        """The same, as EventBridge delivers it."""
        found = []
        while messages := self.sqs.receive_message(QueueUrl=self._events).get("Messages"):
            for message in messages:
                event = json.loads(message["Body"])
                assert event["source"] == "image-drop"
                found.append(event)
                self.sqs.delete_message(
                    QueueUrl=self._events, ReceiptHandle=message["ReceiptHandle"]
                )
        return found

    @property
    def calls(self) -> int:
        """How many edits Venice was asked for."""
        return sum("/image/" in call.path for call in self.venice.calls)

    @property
    def paid(self) -> int:
        """How many edits Venice was paid for."""
        return sum(call.paid for call in self.venice.calls)

    def pause(self) -> None:
        """Stop all calls, as a call that Venice refuses does."""
        self.services.circuit_breaker.stop(
            "account_unavailable", "Venice answered 402.", self.clock.now()
        )

    @property
    def processing_paused(self) -> bool:
        return self.services.circuit_breaker.status().stopped

    def _count(self, queue: str) -> int:
        attributes = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
        return sum(
            int(attributes["Attributes"][f"ApproximateNumberOfMessages{kind}"])
            for kind in ("", "Delayed", "NotVisible")
        )

    def _queue(self, name: str, **attributes: str) -> str:
        return str(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def _arn(self, queue: str) -> str:
        return f"arn:aws:sqs:us-east-1:123456789012:{queue.rpartition('/')[2]}"

    def _watch_events(self) -> None:
        events = client("events")
        events.put_rule(Name="all", EventPattern=json.dumps({"source": ["image-drop"]}))
        events.put_targets(Rule="all", Targets=[{"Id": "1", "Arn": self._arn(self._events)}])


def _refuse_long_keys(params: Mapping[str, Any], model: Any, **_: Any) -> None:
    """As S3 does at every request about an object; moto does it nowhere."""
    key = params["context"]["input_params"].get("Key", "")
    if len(key.encode()) > MAX_KEY_BYTES:
        head = model.name == "HeadObject"  # has no body to tell the code in
        raise ClientError(
            {
                "Error": {
                    "Code": "400" if head else "KeyTooLongError",
                    "Message": "Bad Request" if head else "Your key is too long",
                },
                "ResponseMetadata": {"HTTPStatusCode": 400},  # type: ignore[typeddict-item]
            },
            model.name,
        )
