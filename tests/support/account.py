"""What template.yaml makes in an AWS account, as far as tests in memory need it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

TABLE = "state"
INPUT_BUCKET = "input"
OUTPUT_BUCKET = "output"


def make_bucket(s3: "S3Client", name: str) -> None:
    """Make a bucket that keeps versions."""
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def make_table(dynamodb: "DynamoDBClient") -> None:
    """Make the state table."""
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
