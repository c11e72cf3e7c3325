"""Buckets that exist already: whether a stack can use them, and how they send their events.

Nothing in a bucket is changed but this: EventBridge is turned on, next to all its notifications.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from image_drop.settings import overlap
from image_drop_cli.aws import Aws, DeploymentError
from image_drop_cli.wording import counted

INPUT, OUTPUT = "ExistingInputBucket", "ExistingOutputBucket"
_OWN = {INPUT: "input", OUTPUT: "output"}
_NO_ENCRYPTION = "ServerSideEncryptionConfigurationNotFoundError"
_NO_LOCK = "ObjectLockConfigurationNotFoundError"


@dataclass(frozen=True)
class Remark:
    """What is special about a bucket, and what to do about it."""

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


def obstacles(aws: Aws, name: str, parameter: str, kms_key: str) -> Iterator[Remark]:
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
        yield Remark(
            f"The bucket {name} encrypts its objects with the KMS key {key}, and the functions may "
            "not use that.",
            "Set KmsKeyArn to the ARN of this key.",
        )


def habits(aws: Aws, name: str) -> Iterator[Remark]:
    """Yield what a stack works with, and what is different in such a bucket.

    Raise `ClientError` if the person may not read the bucket's settings.
    """
    s3, owner = aws.client("s3"), {"Bucket": name, "ExpectedBucketOwner": aws.account}
    if s3.get_bucket_request_payment(**owner).get("Payer") == "Requester":
        yield Remark(  # S3's API reference of x-amz-request-payer: owners need not send it
            f"The bucket {name} is Requester Pays. Image Drop is in the owner's account, so the "
            "owner pays for its requests.",
            "Programs of other accounts have to send x-amz-request-payer with theirs.",
        )
    if retention := _retention(s3, owner):
        yield Remark(
            f"The bucket {name} locks each new object for {retention} (Object Lock). Old results, "
            "and reports and kept answers that Image Drop removes, stay as older versions so long.",
            "To save that storage, name a bucket without a default retention.",
        )
    if s3.get_bucket_versioning(**owner).get("Status") != "Enabled":
        yield Remark(
            f"The bucket {name} keeps no versions, so what is overwritten or deleted is gone.",
            "To keep it for a while, turn on versioning, with a lifecycle rule for old versions.",
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


def _unusable(error: ClientError, name: str, parameter: str, aws: Aws) -> Remark:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    if status == 404:
        return Remark(f"There is no bucket {name}.", f"Correct {parameter}.")
    if status == 403:
        return Remark(
            f"The bucket {name} belongs to another account, or you may not use it (s3:ListBucket).",
            f"Ask for the permission, or name a bucket of the account {aws.account} with "
            f"{parameter}.",
        )
    if region := headers.get("x-amz-bucket-region"):
        return _elsewhere(name, region, aws)
    raise error


def _elsewhere(name: str, region: str, aws: Aws) -> Remark:
    return Remark(
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


def _retention(s3: Any, owner: dict[str, str]) -> str:
    """Return how long a bucket locks each new object, such as "30 days"; empty if it does not."""
    try:
        found = s3.get_object_lock_configuration(**owner)["ObjectLockConfiguration"]
    except ClientError as error:
        if error.response["Error"]["Code"] == _NO_LOCK:
            return ""
        raise
    default = found.get("Rule", {}).get("DefaultRetention", {})
    if years := default.get("Years"):
        return counted(years, "year")
    return counted(default["Days"], "day") if default.get("Days") else ""
