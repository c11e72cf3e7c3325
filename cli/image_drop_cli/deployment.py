"""A deployed stack, on AWS or the embedded one: its outputs, clients, and the layer's services."""

import threading
from collections.abc import Mapping
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

from image_drop.services import Services

OUTPUTS = (
    "InputBucketName",
    "OutputBucketName",
    "RetryQueueUrl",
    "DeadLetterQueueUrl",
    "StateTableName",
)
PARAMETERS = {  # of the template, by the functions' variables
    "DEFAULT_MODE": "DefaultMode",
    "DEFAULT_PROMPT": "DefaultPrompt",
    "OUTPUT_KEY_FORMAT": "OutputKeyFormat",
    "MAX_IMAGE_BYTES": "MaxImageBytes",
    "MAX_FAILURES": "MaxFailures",
    "DAILY_SPEND_LIMIT_USD": "DailySpendLimitUSD",
    "MAX_EDIT_USD": "MaxEditUSD",
    "ALLOWED_MODELS": "AllowedModels",
    "UNTRUSTED_PREFIXES": "UntrustedPrefixes",
    "KEEP_METADATA": "KeepMetadata",
    "VENICE_BASE_URL": "VeniceBaseUrl",
    "VENICE_API_KEY_PARAMETER": "VeniceApiKeyParameter",
}
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
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
_DENIED = ("AccessDenied", "AccessDeniedException", "403")


class DeploymentError(Exception):
    """When a stack cannot be used; its text says what happened and what to do."""


@dataclass(frozen=True)
class Deployment:
    """An Image Drop stack. `endpoint_url`: of the embedded stack; None on AWS."""

    name: str
    session: boto3.Session
    endpoint_url: str | None
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def find(
        cls,
        name: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
    ) -> "Deployment":
        """Return the stack `name`, as the person's own AWS credentials show it.

        An `endpoint_url` on this machine is the embedded stack, which has credentials of its own.
        Raise `DeploymentError`.
        """
        try:
            session = _session(endpoint_url, region, profile)
            make: Any = session.client  # its stubs know literal names only
            cloudformation = make("cloudformation", endpoint_url=endpoint_url, config=_CONFIG)
            [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        except (BotoCoreError, ClientError) as error:
            raise DeploymentError(_not_found(error, name, endpoint_url, region)) from error
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
        parameters = {
            each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])
        }
        missing = [f"output {each}" for each in OUTPUTS if each not in outputs]
        missing += [f"parameter {each}" for each in PARAMETERS.values() if each not in parameters]
        if missing:
            raise DeploymentError(
                f"The stack {name} ({stack['StackStatus']}) has no {missing[0]}. This is not an "
                "Image Drop stack, or it is incomplete or of another version. Deploy this version "
                "with `sam deploy`, or choose another stack with --stack."
            )
        return cls(name, session, endpoint_url, outputs, parameters)

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service; the same one each time, for all threads."""
        with self._making:  # making clients is not safe for threads, using them is
            if service not in self._clients:
                make: Any = self.session.client
                self._clients[service] = make(
                    service, endpoint_url=self.endpoint_url, config=_CONFIG
                )
            return self._clients[service]

    @property
    def is_local(self) -> bool:
        """Whether this is the embedded stack."""
        return is_local(self.endpoint_url)

    @property
    def input_bucket(self) -> str:
        """The bucket that images are sent to."""
        return self.outputs["InputBucketName"]

    @cached_property
    def services(self) -> Services:
        """What the stack's functions work with; makes no call until it is used."""
        env = {
            "INPUT_BUCKET": self.input_bucket,
            "OUTPUT_BUCKET": self.outputs["OutputBucketName"],
            "RETRY_QUEUE_URL": self.outputs["RetryQueueUrl"],
            "DEAD_LETTER_QUEUE_URL": self.outputs["DeadLetterQueueUrl"],
            "STATE_TABLE": self.outputs["StateTableName"],
        } | {name: self.parameters[parameter] for name, parameter in PARAMETERS.items()}
        return Services.from_env(env, client=self.client)


def is_local(endpoint_url: str | None) -> bool:
    """Return whether an endpoint is on this machine."""
    host = urlsplit(endpoint_url or "").hostname or ""
    return host == "localhost" or host.startswith("127.")


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
    if code in _REFUSED_CREDENTIALS:
        return (
            f"AWS rejected your credentials ({code}). Sign in again, or choose a profile with "
            "--profile."
        )
    if code in _DENIED:
        return (
            f"Your AWS user may not do this ({error.operation_name}): {message or code}. Ask for "
            "the permission, or choose another profile with --profile."
        )
    return (
        f"AWS answered {error.operation_name} with {code}: {message}. Check that the stack is "
        "complete, then run the command again."
    )


def _session(endpoint_url: str | None, region: str | None, profile: str | None) -> boto3.Session:
    if is_local(endpoint_url):
        return boto3.Session("test", "test", region_name=region or LOCAL_REGION)
    return boto3.Session(region_name=region, profile_name=profile)


def _not_found(
    error: BotoCoreError | ClientError,
    name: str,
    endpoint_url: str | None,
    region: str | None,
) -> str:
    if isinstance(error, NETWORK_GONE) and endpoint_url:
        return (
            f"Nothing answers at {endpoint_url}. Start the embedded stack with `make local`, or "
            "correct --endpoint-url (AWS_ENDPOINT_URL)."
        )
    session = boto3.Session()
    region = region or session.region_name or "?"
    if isinstance(error, NETWORK_GONE):
        known = session.get_available_regions("cloudformation")
        if known and region not in known:
            return f"There is no AWS region {region!r}. Correct --region or AWS_REGION."
    if isinstance(error, ClientError) and "does not exist" in str(error):
        where = f"at {endpoint_url}" if endpoint_url else f"in the region {region} of this account"
        return (
            f"There is no stack {name!r} {where}. Choose another with --stack and --region, or "
            "deploy it with `sam deploy`."
        )
    return explained(error)
