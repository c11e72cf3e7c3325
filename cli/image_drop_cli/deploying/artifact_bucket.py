"""The account's own bucket for what is deployed: private, encrypted, TLS only."""

import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from image_drop_cli.aws import Aws, DeploymentError
from image_drop_cli.deploying.archives import sha256
from image_drop_cli.deploying.package import Artifact

_MISSING = ("404", "NoSuchBucket", "NotFound")
_FOLDER = "image-drop"


@dataclass(frozen=True)
class ArtifactBucket:
    """One bucket for each account and region; all stacks share it.

    Keys are hashes of what they hold or are built of. So nothing is ever overwritten, and
    CloudFormation finds the earlier archives when it has to roll back. Each request names the
    owner, so that a bucket of somebody else is never used.
    """

    aws: Aws

    @property
    def name(self) -> str:
        """Its name."""
        return f"image-drop-artifacts-{self.aws.account}-{self.aws.region}"

    def ensure(self) -> None:
        """Create the bucket if it is missing, and set what keeps it private. Raise `ClientError`.

        Raise `DeploymentError` if somebody else has a bucket of this name.
        """
        if not self._exists():
            place = self.aws.region
            elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": place}}
            self._s3.create_bucket(
                Bucket=self.name,
                ObjectOwnership="BucketOwnerEnforced",
                **({} if place == "us-east-1" else elsewhere),
            )
        # Each time, because an earlier run may have stopped between two of these.
        self._s3.put_public_access_block(
            **self._ours,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        )
        encryption = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        self._s3.put_bucket_encryption(
            **self._ours, ServerSideEncryptionConfiguration={"Rules": [encryption]}
        )
        self._s3.put_bucket_policy(**self._ours, Policy=json.dumps(self._tls_only()))

    def put(self, artifact: Artifact, suffix: str = ".zip") -> str:
        """Upload an archive unless it is there already; return its key."""
        key = f"{_FOLDER}/{artifact.digest}{suffix}"
        try:
            self._s3.head_object(**self._ours, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _MISSING:
                raise
            self._s3.put_object(**self._ours, Key=key, Body=artifact.read())
        return key

    def put_text(self, text: str, suffix: str) -> str:
        """Upload a template, and return the URL under which CloudFormation reads it."""
        data = text.encode()
        key = self.put(Artifact(sha256(data), lambda: data), suffix)
        return f"{self._s3.meta.endpoint_url}/{self.name}/{key}"

    def _exists(self) -> bool:
        try:
            self._s3.head_bucket(**self._ours)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING:
                return False
            if code == "403":  # also AWS's answer if the owner is another one
                raise DeploymentError(
                    f"The bucket {self.name} exists, and you may not use it (s3:ListBucket). "
                    "Ask for the permission. If another account owns the bucket, deploy to "
                    "another region with --region."
                ) from error
            raise
        return True

    def _tls_only(self) -> dict[str, Any]:
        partition = self.aws.session.get_partition_for_region(self.aws.region)
        arn = f"arn:{partition}:s3:::{self.name}"
        statement = {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, f"{arn}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        return {"Version": "2012-10-17", "Statement": [statement]}

    @property
    def _ours(self) -> dict[str, str]:
        return {"Bucket": self.name, "ExpectedBucketOwner": self.aws.account}

    @property
    def _s3(self) -> Any:
        return self.aws.client("s3")
