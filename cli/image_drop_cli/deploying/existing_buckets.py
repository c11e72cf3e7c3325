"""Buckets that exist already: whether a stack can use them, and how they send their events.

Nothing in a bucket is changed but this: EventBridge is turned on, next to all its notifications.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from image_drop.settings import overlap
from image_drop_cli.aws import Aws, DeploymentError

INPUT, OUTPUT = "ExistingInputBucket", "ExistingOutputBucket"
_OWN = {INPUT: "input", OUTPUT: "output"}
_NO_ENCRYPTION = "ServerSideEncryptionConfigurationNotFoundError"


@dataclass(frozen=True)
class Obstacle:
    """What keeps a stack from using a bucket, and what to do about it."""

    text: str
    cure: str


def names(value: Callable[[str], str]) -> dict[str, str]:
    """Return the existing buckets by the parameter that names them. `value`: of a parameter."""
    return {parameter: value(parameter) for parameter in (INPUT, OUTPUT) if value(parameter)}


def check(aws: Aws, stack: str, value: Callable[[str], str]) -> None:
    """Raise `DeploymentError` if the stack cannot work with its buckets."""
    existing = names(value)
    both = [
        existing.get(parameter) or f"{stack}-{part}-{aws.account}-{aws.region}"
        for parameter, part in _OWN.items()
    ]
    if both[0] == both[1] and overlap(value("InputPrefix"), value("OutputPrefix")):
        raise DeploymentError(
            f"The bucket {both[0]} is for images and for results, so each result would be an image "
            "again. Set InputPrefix and OutputPrefix to two folders of which neither contains the "
            "other, such as incoming/ and edited/."
        )
    for parameter, name in existing.items():
        for obstacle in obstacles(aws, name, parameter, value("KmsKeyArn")):
            raise DeploymentError(f"{obstacle.text} {obstacle.cure}")


def obstacles(aws: Aws, name: str, parameter: str, kms_key: str) -> Iterator[Obstacle]:
    """Yield what is in the way of using a bucket. `kms_key`: the one that the functions may use."""
    s3 = aws.client("s3")
    try:
        head = s3.head_bucket(Bucket=name, ExpectedBucketOwner=aws.account)
    except ClientError as error:
        yield _unusable(error, name, parameter, aws)
        return
    region = head.get("BucketRegion", aws.region)
    if region != aws.region:
        yield _elsewhere(name, region, aws)
    key = _key_of(s3, name)
    if key and not key.endswith("alias/aws/s3") and not kms_key.endswith(key):
        yield Obstacle(
            f"The bucket {name} encrypts its objects with the KMS key {key}, and the functions may "
            "not use that.",
            "Set KmsKeyArn to the ARN of this key.",
        )


def sends_events(aws: Aws, name: str) -> bool:
    """Return whether a bucket sends its events to EventBridge."""
    found = aws.client("s3").get_bucket_notification_configuration(
        Bucket=name, ExpectedBucketOwner=aws.account
    )
    return "EventBridgeConfiguration" in found


def send_events(aws: Aws, name: str) -> None:
    """Let a bucket send its events to EventBridge. Its other notifications stay as they are."""
    s3 = aws.client("s3")
    owner = {"Bucket": name, "ExpectedBucketOwner": aws.account}
    found = s3.get_bucket_notification_configuration(**owner)
    found.pop("ResponseMetadata", None)
    s3.put_bucket_notification_configuration(
        **owner,
        NotificationConfiguration={**found, "EventBridgeConfiguration": {}},
        SkipDestinationValidation=True,  # the others are not ours to judge
    )


def _unusable(error: ClientError, name: str, parameter: str, aws: Aws) -> Obstacle:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    if status == 404:
        return Obstacle(f"There is no bucket {name}.", f"Correct {parameter}.")
    if status == 403:
        return Obstacle(
            f"The bucket {name} belongs to another account, or you may not use it (s3:ListBucket).",
            f"Ask for the permission, or name a bucket of the account {aws.account} with "
            f"{parameter}.",
        )
    if region := headers.get("x-amz-bucket-region"):
        return _elsewhere(name, region, aws)
    raise error


def _elsewhere(name: str, region: str, aws: Aws) -> Obstacle:
    return Obstacle(
        f"The bucket {name} is in the region {region}, and the stack in {aws.region}.",
        f"Deploy the stack there with --region {region}, or name another bucket.",
    )


def _key_of(s3: Any, name: str) -> str:
    """Return the KMS key with which a bucket encrypts new objects; empty if it uses none."""
    try:
        found = s3.get_bucket_encryption(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] == _NO_ENCRYPTION:
            return ""
        raise
    [rule, *_] = found["ServerSideEncryptionConfiguration"]["Rules"]
    return str(rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", ""))
