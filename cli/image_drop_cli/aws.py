"""The person's own AWS account, or the embedded AWS: clients, and what an error of AWS means."""

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

LOCAL_REGION = "us-east-1"

# A person waits for these clients: a lost network shows within half a minute.
_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 4},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=32,
    request_checksum_calculation="when_required",  # files are sent with their MD5
)
NETWORK_GONE = (ConnectionError, HTTPClientError)
_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)
_REFUSED_CREDENTIALS = (
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
_DENIED = ("AccessDenied", "AccessDeniedException", "403")


class DeploymentError(Exception):
    """When a stack cannot be used; its text says what happened and what to do."""


@dataclass(frozen=True)
class Aws:
    """An account and a region of AWS. `endpoint_url`: of the embedded AWS; None on AWS."""

    session: boto3.Session
    endpoint_url: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def connect(
        cls,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
    ) -> "Aws":
        """Return the account of the person's own credentials; makes no call.

        An `endpoint_url` on this machine is the embedded AWS, which has credentials of its own.
        Raise `DeploymentError` if there is no such profile.
        """
        if is_local(endpoint_url):
            session = boto3.Session("test", "test", region_name=region or LOCAL_REGION)
            return cls(session, endpoint_url)
        try:
            return cls(boto3.Session(region_name=region, profile_name=profile), endpoint_url)
        except ProfileNotFound as error:
            raise DeploymentError(explained(error)) from error

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service; the same one each time, for all threads."""
        with self._making:  # making clients is not safe for threads, using them is
            if service not in self._clients:
                make: Any = self.session.client  # its stubs know literal names only
                self._clients[service] = make(
                    service, endpoint_url=self.endpoint_url, config=_CONFIG
                )
            return self._clients[service]

    @property
    def is_local(self) -> bool:
        """Whether this is the embedded AWS."""
        return is_local(self.endpoint_url)

    @cached_property
    def account(self) -> str:
        """The account's number, of 12 digits."""
        return str(self.client("sts").get_caller_identity()["Account"])

    @cached_property
    def region(self) -> str:
        """The region. Raise `NoRegionError` if none is set."""
        return str(self.client("cloudformation").meta.region_name)


def is_local(endpoint_url: str | None) -> bool:
    """Return whether an endpoint is on this machine."""
    host = urlsplit(endpoint_url or "").hostname or ""
    return host == "localhost" or host.startswith("127.")


def is_denied(error: Exception) -> bool:
    """Return whether an error says that the person may not do something."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in _DENIED


def may_pass(error: Exception) -> bool:
    """Return whether an error ends when the network is back, or when the person signs in again."""
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        # The answer to HEAD has no body, so an expired token has no other code there.
        return code in _REFUSED_CREDENTIALS or (error.operation_name, code) == ("HeadObject", "400")
    return isinstance(error, (*NETWORK_GONE, *_NO_CREDENTIALS))


def explained(error: BotoCoreError | ClientError) -> str:
    """Return what AWS's error means and what to do, in a sentence or two."""
    if isinstance(error, ClientError):
        return _refusal(error)
    if isinstance(error, ProfileNotFound):
        return f"{error}. List your profiles with `aws configure list-profiles`."
    if isinstance(error, NoRegionError):
        return "No AWS region is set. Set it with --region or AWS_REGION."
    if isinstance(error, _NO_CREDENTIALS):
        return (
            f"No AWS credentials: {str(error).rstrip('.')}. Sign in with `aws configure` or "
            "`aws sso login`, or choose a profile with --profile."
        )
    if isinstance(error, NETWORK_GONE):
        return f"AWS cannot be reached: {str(error).rstrip('.')}."
    return f"{type(error).__name__}: {error}"


def _refusal(error: ClientError) -> str:
    answer = error.response.get("Error", {})
    code, message = answer.get("Code", "Unknown"), answer.get("Message", "").rstrip(".")
    if code in _REFUSED_CREDENTIALS or (error.operation_name, code) == ("HeadObject", "400"):
        return (
            f"AWS rejected your credentials ({code}). Sign in again, or choose a profile with "
            "--profile."
        )
    if is_denied(error):
        return (
            f"Your AWS user may not do this ({error.operation_name}): {message or code}. Ask for "
            "the permission, or choose another profile with --profile."
        )
    return (
        f"AWS answered {error.operation_name} with {code}: {message}. Check that the stack is "
        "complete, then run the command again."
    )
