"""A deployed stack, on AWS or the embedded one: its outputs, clients, and the layer's services."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from image_drop.events import Place
from image_drop.services import Services
from image_drop_cli.aws import NETWORK_GONE, Aws, DeploymentError, explained

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
    "INPUT_PREFIX": "InputPrefix",
    "OUTPUT_PREFIX": "OutputPrefix",
    "KEEP_METADATA": "KeepMetadata",
    "MAXIMUM_CONCURRENCY": "MaximumConcurrency",
    "VENICE_BASE_URL": "VeniceBaseUrl",
    "VENICE_API_KEY_PARAMETER": "VeniceApiKeyParameter",
}


@dataclass(frozen=True)
class Deployment:
    """An Image Drop stack, on AWS or in the embedded AWS."""

    name: str
    aws: Aws
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

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
        aws = Aws.connect(endpoint_url=endpoint_url, region=region, profile=profile)
        return cls.of(aws, name)

    @classmethod
    def of(cls, aws: Aws, name: str) -> "Deployment":
        """Return the stack `name` of an account. Raise `DeploymentError`."""
        try:
            [stack] = aws.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except (BotoCoreError, ClientError) as error:
            raise DeploymentError(_not_found(error, name, aws)) from error
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
                "with `image-drop deploy`, or choose another stack with --stack."
            )
        return cls(name, aws, outputs, parameters)

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service; the same one each time, for all threads."""
        return self.aws.client(service)

    def physical_id(self, logical_id: str) -> str:
        """Return the name, id or ARN of a resource of the template."""
        found = self.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical_id
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def function(self, logical_id: str) -> Any:
        """Return the configuration of a function of the template."""
        name = self.physical_id(logical_id)
        return self.client("lambda").get_function_configuration(FunctionName=name)

    @property
    def is_local(self) -> bool:
        """Whether this is the embedded stack."""
        return self.aws.is_local

    @property
    def input_bucket(self) -> str:
        """The bucket that images are sent to."""
        return self.outputs["InputBucketName"]

    def input_place(self, key: str) -> Place:
        """Return where S3 has an image or its instructions."""
        return self.services.input_bucket.place(self.input_bucket, key)

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


def _not_found(error: BotoCoreError | ClientError, name: str, aws: Aws) -> str:
    if isinstance(error, NETWORK_GONE) and aws.endpoint_url:
        return (
            f"Nothing answers at {aws.endpoint_url}. Start the embedded stack with `make local`, "
            "or correct --endpoint-url (AWS_ENDPOINT_URL)."
        )
    region = aws.session.region_name or "?"
    if isinstance(error, NETWORK_GONE):
        known = aws.session.get_available_regions("cloudformation")
        if known and region not in known:
            return f"There is no AWS region {region!r}. Correct --region or AWS_REGION."
    if isinstance(error, ClientError) and "does not exist" in str(error):
        where = (
            f"at {aws.endpoint_url}"
            if aws.endpoint_url
            else f"in the region {region} of this account"
        )
        return (
            f"There is no stack {name!r} {where}. Choose another with --stack and --region, or "
            "deploy it with `image-drop deploy`."
        )
    return explained(error)
