"""What all tests share: no way out of this machine, no real AWS account, time that is passed in."""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.loaders import JSONFileLoader
from moto import mock_aws
from xdist.scheduler import LoadScopeScheduling

from tests.support.account import INPUT_BUCKET, OUTPUT_BUCKET, TABLE, make_bucket, make_table
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient


# They share a stack, built layers, or what a large photo takes.
WHOLE = ("tests/e2e/", "tests/integration/test_layers.py", "tests/unit/test_imaging_bounds.py")


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Spreads tests over the processes one by one, and some module by module.

    Those share what takes long to make. xdist's own `loadgroup` does not know what pytest 9.2
    calls a test.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith(WHOLE) else nodeid


@pytest.hookimpl(optionalhook=True)  # for runs without xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


class NetworkBlockedError(BaseException):
    """When a test reaches for the network; a `BaseException`, so that no retry swallows it."""


def pytest_configure() -> None:
    """Before anything is collected: the environment of a machine that has no AWS account."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CONFIG_HOME": os.devnull,  # the console keeps nothing between two runs
    }


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Sockets reach this machine and nothing else; names are not looked up."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            _require_loopback(address[0])
        connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        _require_loopback(host)
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(scope="session", autouse=True)
def _aws_models_read_once() -> Iterator[None]:
    """A process reads each of botocore's models once, however many sessions of boto3 it makes.

    Commands that a test runs in its own process make one each, as on a person's machine.
    """
    read = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


def _require_loopback(host: str | bytes | None) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", "0.0.0.0", "::") or name.endswith(".localhost"):
        return
    try:
        if ipaddress.ip_address(name).is_loopback:
            return
    except ValueError:
        pass
    raise NetworkBlockedError(f"A test tried to reach {name}.")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def aws() -> Iterator[None]:
    """An AWS account of its own for the test, in memory."""
    with mock_aws():
        yield


@pytest.fixture(scope="session")
def boto_client() -> Callable[[str], Any]:
    """boto3 clients by name, made once, since each takes a while. Within `aws` they reach moto."""
    return cache(boto3.Session().client)


@pytest.fixture
def dynamodb(aws: None, boto_client: Callable[[str], Any]) -> "DynamoDBClient":
    client: DynamoDBClient = boto_client("dynamodb")
    return client


@pytest.fixture
def table(dynamodb: "DynamoDBClient") -> str:
    """The state table, as in template.yaml."""
    make_table(dynamodb)
    return TABLE


@pytest.fixture
def s3(aws: None, boto_client: Callable[[str], Any]) -> "S3Client":
    client: S3Client = boto_client("s3")
    return client


@pytest.fixture
def input_bucket(s3: "S3Client") -> str:
    make_bucket(s3, INPUT_BUCKET)
    return INPUT_BUCKET


@pytest.fixture
def output_bucket(s3: "S3Client") -> str:
    make_bucket(s3, OUTPUT_BUCKET)
    return OUTPUT_BUCKET


@pytest.fixture
def sqs(aws: None, boto_client: Callable[[str], Any]) -> "SQSClient":
    client: SQSClient = boto_client("sqs")
    return client


@pytest.fixture
def ssm(aws: None, boto_client: Callable[[str], Any]) -> "SSMClient":
    client: SSMClient = boto_client("ssm")
    return client
