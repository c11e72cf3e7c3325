"""What the integration tests share: an AWS account in memory, Venice over HTTP, the functions."""

import io
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import pytest
from moto import backend_index, mock_aws
from moto.core.botocore_stubber import BotocoreStubber

from functions.account_watch import app as account_watch_app
from functions.retry import app as retry_app
from functions.upload import app as upload_app
from image_drop import telemetry
from image_drop_local.simulator import Simulator
from tests.support.clock import FakeClock
from tests.support.stage import MappingState, Stage, client

SERVICES = ("cloudwatch", "dynamodb", "events", "iam", "awslambda", "s3", "sqs", "ssm")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> Iterator[None]:
    """An AWS account in memory whose S3 and SQS live by the test's clock.

    Each request is carried out alone: moto's checks and writes are not atomic, AWS's are.
    """
    answer, alone = BotocoreStubber.__call__, Lock()

    def one_at_a_time(self: BotocoreStubber, *args: Any, **kwargs: Any) -> Any:
        with alone:
            return answer(self, *args, **kwargs)

    monkeypatch.setattr(BotocoreStubber, "__call__", one_at_a_time)
    monkeypatch.setattr("moto.sqs.models.unix_time", clock.now)
    monkeypatch.setattr("moto.sqs.models.unix_time_millis", lambda: clock.now() * 1000)
    monkeypatch.setattr(
        "moto.sqs.models.Queue.wait_for_messages", lambda _, seconds: clock.sleep(seconds)
    )
    monkeypatch.setattr(
        "moto.s3.models.utcnow",
        lambda: datetime.fromtimestamp(clock.now(), UTC).replace(tzinfo=None),
    )
    # It is there for input templates, which the rule here has not, and needs one more package.
    monkeypatch.setattr("moto.events.models.EventTemplateParser.parse", _as_it_is)
    # moto looks for the service of each request in a list of two hundred.
    wanted = [entry for entry in backend_index.backend_url_patterns if entry[0] in SERVICES]
    monkeypatch.setattr(backend_index, "backend_url_patterns", wanted)
    core: Any = {"passthrough": {"urls": ["http://127.0.0.1.*"]}, "reset_boto3_session": False}
    with mock_aws(config={"core": core}):
        yield


@pytest.fixture
def venice(clock: FakeClock) -> Iterator[Simulator]:
    with Simulator(clock=clock.now, pictures="fast") as simulator:
        yield simulator


@pytest.fixture
def stage(aws: None, clock: FakeClock, venice: Simulator, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The functions with real services; only their clock and their rng are the test's."""
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "image-drop")
    made = Stage(clock, venice, upload_app.services)
    for app in (upload_app, retry_app, account_watch_app):
        monkeypatch.setattr(app, "services", lambda: made.services)
    return made


@pytest.fixture
def mapping(stage: Stage) -> MappingState:
    """The retry function's event source mapping; how it is.

    It hangs at another queue, for moto would start a function in Docker.
    """
    role = client("iam").create_role(RoleName="retry", AssumeRolePolicyDocument="{}")
    stage.awslambda.create_function(
        FunctionName="retry",
        Runtime="python3.13",
        Handler="app.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": b""},
    )
    queue = stage.sqs.create_queue(QueueName="elsewhere")["QueueUrl"].rpartition("/")[2]
    uuid = stage.awslambda.create_event_source_mapping(
        FunctionName="retry", EventSourceArn=f"arn:aws:sqs:us-east-1:123456789012:{queue}"
    )["UUID"]
    stage.configure(RETRY_EVENT_SOURCE_MAPPING=uuid)
    return lambda: str(stage.awslambda.get_event_source_mapping(UUID=uuid)["State"])


@pytest.fixture
def metrics(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, list[float]]]:
    """The metrics that were written since the last look, by name."""

    def read() -> dict[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(list)
        for line in capsys.readouterr().out.splitlines():
            if '"_aws"' not in line:
                continue
            written = json.loads(line)
            (directive,) = written["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == "ImageDrop"
            for metric in directive["Metrics"]:
                value = written[metric["Name"]]
                found[metric["Name"]] += value if isinstance(value, list) else [value]
        return dict(found)

    return read


@contextmanager
def _handler(handler: logging.Handler) -> Iterator[None]:
    telemetry.logger.addHandler(handler)
    try:
        yield
    finally:
        telemetry.logger.handlers.remove(handler)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the functions log."""
    stream = io.StringIO()
    with _handler(logging.StreamHandler(stream)):
        yield stream


def _as_it_is(*, event: Mapping[str, Any], **_: Any) -> dict[str, Any]:
    return dict(event)
