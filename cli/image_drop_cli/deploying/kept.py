"""What an earlier stack of the same name left: its buckets and its state table.

CloudFormation keeps them when a stack is deleted. The buckets' names are fixed, so a new stack of
the same name can only be made of them. An import brings them into it, with all that is in them.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from image_drop_cli.aws import Aws, DeploymentError

_BUCKETS = {"InputBucket": "input", "OutputBucket": "output"}
_TABLE = "StateTable"


@dataclass(frozen=True)
class Kept:
    """A resource that was kept. `resource`: what the template calls it."""

    resource: str
    type: str
    name: str

    @property
    def to_import(self) -> dict[str, Any]:
        """Return it as CreateChangeSet wants it."""
        key = "TableName" if self.resource == _TABLE else "BucketName"
        return {
            "ResourceType": self.type,
            "LogicalResourceId": self.resource,
            "ResourceIdentifier": {key: self.name},
        }


def find(aws: Aws, stack: str, unwanted: Container[str]) -> tuple[Kept, ...]:
    """Return what an earlier stack of this name has left; the stack must not exist now.

    `unwanted`: resources that the new stack does not have, because it uses other buckets. Raise
    `DeploymentError` if a bucket of its names is somebody else's.
    """
    found = (*_buckets(aws, stack), *_table(aws, stack))
    return tuple(each for each in found if each.resource not in unwanted)


def _buckets(aws: Aws, stack: str) -> Iterator[Kept]:
    for resource, part in _BUCKETS.items():
        name = f"{stack}-{part}-{aws.account}-{aws.region}"
        try:
            aws.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=aws.account)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("404", "NoSuchBucket", "NotFound"):
                continue
            if code == "403":
                raise DeploymentError(
                    f"The bucket {name} exists, and you may not use it (s3:ListBucket). Ask for "
                    "the permission, or choose another name with --stack."
                ) from error
            raise
        yield Kept(resource, "AWS::S3::Bucket", name)


def _table(aws: Aws, stack: str) -> Iterator[Kept]:
    """Yield the newest table; CloudFormation made up the end of its name."""
    dynamodb = aws.client("dynamodb")
    names = [
        name
        for page in dynamodb.get_paginator("list_tables").paginate()
        for name in page["TableNames"]
        if name.startswith(f"{stack}-{_TABLE}-")
    ]
    made = {name: dynamodb.describe_table(TableName=name)["Table"] for name in names}
    if made:
        newest = max(names, key=lambda name: made[name]["CreationDateTime"])
        yield Kept(_TABLE, "AWS::DynamoDB::Table", newest)
