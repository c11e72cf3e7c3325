"""Image Drop on one machine: the real template and code on an AWS emulator in this process.

    with Stack(venice_url=venice.url) as stack:
        stack.client("s3").upload_file("shoe.jpg", stack.outputs["InputBucketName"], "shoe.jpg")

The emulator is ministack. It reads its settings from the environment when it is imported, so only
`_import_emulator` imports it, late.
"""

import asyncio
import logging
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
import hypercorn
from botocore.config import Config
from hypercorn.asyncio import serve

from image_drop_cli.deploying import sources, template
from image_drop_cli.deploying.package import code_archives
from image_drop_cli.deploying.sources import Sources
from image_drop_local.emulator.gate import Gate, Page

if TYPE_CHECKING:
    from image_drop_local.emulator.bursts import Bursts

STACK_NAME = "image-drop"
REGION = "us-east-1"
ACCESS_KEY = SECRET_KEY = "test"

_one_at_a_time = threading.Lock()
_DEADLINE = 30.0  # seconds, for the emulator to start and for the template to deploy
_EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
SQS_BATCHES = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")

# Of this process, and so of the functions, while a stack runs.
_ENVIRONMENT = {
    "AUTH": "true",  # signatures, roles and resource policies count
    "LAMBDA_EXECUTOR": "local",
    "LAMBDA_ACCOUNT_CONCURRENCY": "0",  # Bursts limits it instead, and lets executions wait
    "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.2",  # a minute on AWS
    "SFTP_ENABLED": "0",
    "IOT_MTLS_ENABLED": "0",
    # The AWS settings of your own environment must reach neither emulator nor functions.
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_SESSION_TOKEN": None,
    "AWS_PROFILE": None,
    "AWS_ENDPOINT_URL": None,
    # Requests within this machine must not go through a proxy.
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    # The functions read the key from SSM, as they do on AWS; nothing else needs it.
    "VENICE_API_KEY": None,
}


class Stack:
    """The deployed template `image-drop`; a context manager, one at a time in a process.

    Attributes inside the context: `endpoint_url`, and `outputs`, the stack's outputs by name.

    Functions run as processes of this interpreter, with the permissions of their roles and no
    others. Third-party packages come from this environment, which uv.lock pins to the versions of
    the runtime layer; the layer `image_drop` is the real one, zipped.

    Raises `OSError` when `port` is taken, `RuntimeError` when this process has a stack already, or,
    with CloudFormation's reasons, when the template does not deploy.
    """

    endpoint_url: str
    outputs: dict[str, str]

    def __init__(
        self,
        *,
        venice_url: str,
        venice_api_key: str = "local",
        port: int = 0,
        parameters: Mapping[str, str] | None = None,
        concurrency: int = 16,
        allow_origin: str = "",
        existing: Callable[["Stack"], None] | None = None,
    ) -> None:
        """Prepare a stack. `port` 0 takes a free one.

        `existing` makes what the account has before the template is deployed, such as a bucket.
        `concurrency`: the number of functions that run at a time; others wait. `parameters`: of the
        template, in addition to those for this machine. `allow_origin`: an origin whose web pages
        may upload to the input bucket; without one, pages may do nothing. Raise `ValueError` if it
        is not an origin.
        """
        self.outputs = {}
        self._page = Page(allow_origin, bucket="") if allow_origin else None
        self._port = port
        self._venice_api_key = venice_api_key
        self._concurrency = concurrency
        self._existing = existing
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()
        self._parameters = {
            "VeniceBaseUrl": venice_url,
            "Architecture": "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64",
            **(parameters or {}),
        }
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            self.endpoint_url = starting.enter_context(
                _emulator(self._port, self._concurrency, lambda: self._page)
            )
            self._session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
            self._store_api_key()
            if self._existing:
                self._existing(self)
            self._deploy()
            self._watch_account()
            if self._page:
                self._page = replace(self._page, bucket=self.outputs["InputBucketName"])
            self._cleanup = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def client(self, service: str) -> Any:
        """Return a boto3 client with the permissions of the account's owner.

        The same one each time, for all threads, because to make one takes 0.2 s of CPU.
        """
        with self._making:
            if service not in self._clients:
                make: Any = self._session.client  # its stubs know literal names only
                config = Config(max_pool_connections=50)  # a drop of many files uses many threads
                self._clients[service] = make(
                    service, endpoint_url=self.endpoint_url, config=config
                )
            return self._clients[service]

    def logs(self, function: str) -> list[str]:
        """Return the lines that a function printed, such as `upload` or `account-watch`."""
        pages = self.client("logs").get_paginator("filter_log_events")
        group = f"/aws/lambda/{STACK_NAME}-{function}"
        return [
            event["message"]
            for page in pages.paginate(logGroupName=group)
            for event in page["events"]
        ]

    def physical_id(self, logical_id: str) -> str:
        """Return the name or id of a resource of the template, such as a function's name."""
        found = self.client("cloudformation").describe_stack_resource(
            StackName=STACK_NAME, LogicalResourceId=logical_id
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def _store_api_key(self) -> None:
        name = self._parameters.get("VeniceApiKeyParameter", "/image-drop/venice-api-key")
        self.client("ssm").put_parameter(Name=name, Value=self._venice_api_key, Type="SecureString")

    def _deploy(self) -> None:
        cloudformation = self.client("cloudformation")
        cloudformation.create_stack(
            StackName=STACK_NAME,
            TemplateBody=self._package(sources.find()),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in self._parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        deadline = time.monotonic() + _DEADLINE
        while time.monotonic() < deadline:
            [stack] = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"]
            if stack["StackStatus"] == "CREATE_COMPLETE":
                self.outputs = {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}
                return
            if stack["StackStatus"] != "CREATE_IN_PROGRESS":
                break
            time.sleep(0.05)
        events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in reversed(events)
            if event.get("ResourceStatusReason")
        ]
        raise RuntimeError("the template did not deploy\n" + "\n".join(reasons))

    def _watch_account(self) -> None:
        """Let the functions know Venice's limits and catalogue before the first upload.

        The schedule first starts the account watch five minutes later. An unavailable Venice is
        noted as on AWS: processing pauses, or the next round asks again.
        """
        self.client("lambda").invoke(FunctionName=self.physical_id("AccountWatchFunction"))

    def _package(self, files: Sources) -> str:
        """Return the template with its code in S3, as `image-drop deploy` uploads it.

        The layers of third-party packages are empty, for this environment has the packages.
        """
        s3 = self.client("s3")
        bucket = "artifacts"
        s3.create_bucket(Bucket=bucket)
        archives = code_archives(files)
        locations = {}
        for name in template.code(files.template):
            s3.put_object(Bucket=bucket, Key=f"{name}.zip", Body=archives.get(name, _EMPTY_ZIP))
            locations[name] = f"s3://{bucket}/{name}.zip"
        return template.with_code_at(files.template, locations)


@contextmanager
def bare_aws(port: int = 0, concurrency: int = 16) -> Iterator[str]:
    """Serve an AWS without a stack, and yield its URL. Raise as `Stack` does."""
    with _emulator(port, concurrency, lambda: None) as url:
        yield url


@contextmanager
def _emulator(port: int, concurrency: int, page: Callable[[], Page | None]) -> Iterator[str]:
    """Serve the emulator on 127.0.0.1 and yield its URL. Leave no process, file or state behind."""
    with (
        _alone(),
        TemporaryDirectory(prefix="image-drop-") as folder,
        socket.create_server(("127.0.0.1", port)) as listener,
    ):
        port = listener.getsockname()[1]
        # The functions' AWS_ENDPOINT_URL contains the port.
        with _environment(_ENVIRONMENT | {"GATEWAY_PORT": str(port), "STATE_DIR": folder}):
            app, bursts, reset = _import_emulator(concurrency)
            with _serving(Gate(_as_behind_tls(app), page), listener.detach()):
                try:
                    yield f"http://127.0.0.1:{port}"
                finally:
                    bursts.close()
                    reset()


@contextmanager
def _alone() -> Iterator[None]:
    if not _one_at_a_time.acquire(blocking=False):
        raise RuntimeError("this process has a stack already; ministack keeps its state in globals")
    try:
        yield
    finally:
        _one_at_a_time.release()


@contextmanager
def _environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables of this process (None removes one), and restore them at the end."""
    before = {name: os.environ.get(name) for name in variables}
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _import_emulator(concurrency: int) -> tuple[Any, "Bursts", Callable[[], None]]:
    """Return the emulator's ASGI app, the gate for bursts, and its reset."""
    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of its own telemetry
    with _environment({"LOG_LEVEL": "WARNING"}):  # not for the functions: Powertools reads it too
        from ministack import app
        from ministack.core import iam_actions

    from image_drop_local.emulator import deliveries, metrics
    from image_drop_local.emulator.bursts import Bursts

    deliveries.install()
    metrics.install()
    iam_actions._action_from_target = _permission
    bursts = Bursts(concurrency, starts=max(1, (os.process_cpu_count() or 1) // 2))
    bursts.install()
    return app.app, bursts, app._reset_all_state


def _permission(headers: Mapping[str, str]) -> str | None:
    """Return the permission that a JSON request needs. SQS's batches have none of their own on AWS.

    It replaces ministack's function of the same form, which requires `sqs:SendMessageBatch`.
    """
    _, dot, operation = headers.get("x-amz-target", "").rpartition(".")
    if not dot:
        return None
    return operation.removesuffix("Batch") if operation in SQS_BATCHES else operation


def _as_behind_tls(app: Any) -> Any:
    """Return the app with the header of a TLS proxy, for the policies that require TLS."""

    async def with_header(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [*scope["headers"], (b"x-forwarded-proto", b"https")]
            scope = {**scope, "headers": headers}
        await app(scope, receive, send)

    return with_header


@contextmanager
def _serving(app: Any, listener: int) -> Iterator[None]:
    """Serve an ASGI app in a thread, on a listening socket whose descriptor it takes over."""
    config = hypercorn.Config()
    config.bind = [f"fd://{listener}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 0.2  # seconds; clients keep idle connections open
    stop: Future[Callable[[], object]] = Future()

    async def until_stopped() -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        stop.set_result(lambda: loop.call_soon_threadsafe(stopping.set))
        await stopping.wait()

    with ThreadPoolExecutor(1, "aws-emulator") as thread:
        serving = thread.submit(asyncio.run, serve(app, config, shutdown_trigger=until_stopped))
        either: list[Future[Any]] = [serving, stop]
        wait(either, timeout=_DEADLINE, return_when=FIRST_COMPLETED)
        if not stop.done():
            raise serving.exception(0) or RuntimeError("the emulator did not start")
        try:
            yield
        finally:
            stop.result()()
            serving.result()
