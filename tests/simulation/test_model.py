"""The virtual AWS against moto: the same requests have the same answers, the same errors too."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.s3 import S3
from tests.simulation.aws.sqs import Sqs
from tests.simulation.world import World

KEYS = ("a.jpg", "a.jpg.json", "b/c.png", "b/ü.png")


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


def outcome(request: Callable[..., Any], **parameters: Any) -> Any:
    """Return the answer, or the error's status and code."""
    try:
        return request(**parameters)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status, error.response["Error"]["Code"]


# --- S3 --------------------------------------------------------------------------------------


def seen(answer: Any) -> Any:
    """What of an S3 answer the project looks at; version ids and times differ."""
    if not isinstance(answer, dict):
        # To a delete marker S3 answers 405, as its documentation says; moto answers 404.
        return (404, "NoSuchKey") if answer == (405, "MethodNotAllowed") else answer
    found = {
        name: answer[name]
        for name in ("ETag", "ContentLength", "Metadata", "ContentType", "TagSet", "IsTruncated")
        if name in answer
    }
    if "Body" in answer:
        found["Body"] = answer["Body"].read()
    if "Contents" in answer:
        found["Contents"] = [(each["Key"], each["ETag"]) for each in answer["Contents"]]
    return found


def s3_request(rng: random.Random, etags: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Draw a request that the project makes."""
    key = rng.choice(KEYS)
    place: dict[str, Any] = {"Bucket": "bucket", "Key": key}
    etag = rng.choice([etags.get(key, '"none"'), '"0123"'])
    operation = rng.choice(["head", "get", "tags", "put", "put", "put", "delete", "list"])
    if operation == "head":
        return "head_object", place
    if operation == "get":
        return "get_object", place | rng.choice([{}, {"IfMatch": etag}])
    if operation == "tags":
        return "get_object_tagging", place
    if operation == "delete":
        return "delete_object", place
    if operation == "list":
        after = rng.choice([{}, {"StartAfter": key}])
        return "list_objects_v2", {
            "Bucket": "bucket",
            "Prefix": rng.choice(["", "b/"]),
            **after,
        } | {"MaxKeys": rng.choice([1, 1000])}
    condition = rng.choice([{}, {"IfNoneMatch": "*"}, {"IfMatch": etag}])
    return "put_object", place | condition | {
        "Body": rng.randbytes(8),
        "Metadata": {"edit-id": str(rng.randrange(9))},
        "ContentType": "image/png",
    }


@pytest.mark.parametrize("seed", range(6))
def test_s3_answers_as_moto_does(seed: int, aws: None) -> None:
    rng = random.Random(seed)
    real = boto3.client("s3", "us-east-1")
    real.create_bucket(Bucket="bucket")
    real.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    model = S3(lambda: 1_800_000_000.0, lambda *_: None)
    etags: dict[str, str] = {}
    for _ in range(120):
        operation, parameters = s3_request(rng, etags)
        theirs = seen(outcome(getattr(real, operation), **parameters))
        ours = seen(outcome(getattr(model, operation), **parameters))
        if operation == "put_object" and isinstance(ours, dict):
            etags[parameters["Key"]] = ours["ETag"]
        assert ours == theirs, (operation, parameters)


# --- DynamoDB --------------------------------------------------------------------------------


def dynamodb_request(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """Draw a request in the forms that the project's code has."""
    id, table = {"id": {"S": rng.choice("abc")}}, {"TableName": "state"}
    version = rng.randrange(4)
    conditions: list[dict[str, Any]] = [
        {"ConditionExpression": "attribute_not_exists(version)"},
        {
            "ConditionExpression": "version = :old",
            "ExpressionAttributeValues": {":old": {"N": str(version)}},
        },
    ]
    put = {
        "Item": id | {"version": {"N": str(version + 1)}, "value": {"B": rng.randbytes(3)}},
        **rng.choice(conditions),
    }
    day = {"id": {"S": "spend#" + rng.choice("12")}}
    update: dict[str, Any] = {
        "Key": day,
        "UpdateExpression": "ADD #a0 :a0, #a1 :a1 SET expiration = :expiration",
        "ExpressionAttributeNames": {"#a0": "unconfirmed", "#a1": "committed"},
        "ExpressionAttributeValues": {
            ":a0": {"N": str(rng.randrange(-3, 9))},
            ":a1": {"N": str(rng.randrange(9))},
            ":expiration": {"N": "7"},
        },
    }
    if rng.random() < 0.5:
        update["ConditionExpression"] = "attribute_not_exists(committed) OR committed <= :room"
        update["ExpressionAttributeValues"][":room"] = {"N": str(rng.randrange(12))}
    match rng.choice(["get", "put", "put", "update", "failed", "transact", "transact"]):
        case "get":
            return "get_item", table | {"Key": rng.choice([id, day]), "ConsistentRead": True}
        case "put":
            return "put_item", table | put
        case "update":
            return "update_item", table | update | {"ReturnValues": "ALL_NEW"}
        case "failed":
            return "update_item", table | {
                "Key": id,
                "UpdateExpression": "ADD failed :receive SET expiration = :expiration",
                "ExpressionAttributeValues": {
                    ":receive": {"NS": [str(rng.randrange(5))]},
                    ":expiration": {"N": "9"},
                },
                "ReturnValues": "ALL_NEW",
            }
        case _:
            return "transact_write_items", {
                "TransactItems": [{"Put": table | put}, {"Update": table | update}]
            }


def told(answer: Any) -> Any:
    """What of a DynamoDB answer the project looks at; sets have no order."""
    if not isinstance(answer, dict):
        return answer
    item = answer.get("Item") or answer.get("Attributes") or {}
    return {
        name: {kind: sorted(value) if kind == "NS" else value for kind, value in typed.items()}
        for name, typed in item.items()
    }


@pytest.mark.parametrize("seed", range(6))
def test_dynamodb_answers_as_moto_does(seed: int, aws: None) -> None:
    rng = random.Random(seed)
    real = boto3.client("dynamodb", "us-east-1")
    real.create_table(
        TableName="state",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    model = DynamoDB(lambda: 0.0, rng)
    for _ in range(150):
        operation, parameters = dynamodb_request(rng)
        theirs = told(outcome(getattr(real, operation), **parameters))
        ours = told(outcome(getattr(model, operation), **parameters))
        assert ours == theirs, (operation, parameters)


# --- SQS -------------------------------------------------------------------------------------


def test_sqs_counts_hides_and_deletes_as_moto_does(aws: None) -> None:
    real = boto3.client("sqs", "us-east-1")
    url = real.create_queue(QueueName="retry", Attributes={"VisibilityTimeout": "1800"})["QueueUrl"]
    world = World(0.0, 1)
    model = Sqs(world, url, "dead", 100, 1800.0)

    def settled() -> None:
        over: list[bool] = []
        world.call(1.0, lambda: over.append(True))
        world.run(lambda: bool(over))

    assert life(real, url, lambda: None) == life(model, url, settled)


def life(sqs: Any, url: str, settled: Callable[[], None]) -> Any:
    """Send two messages, receive them, bring one back, and delete it; return what was seen."""

    def receive() -> Any:
        return sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=1,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        ).get("Messages", [])

    sqs.send_message(QueueUrl=url, MessageBody="one")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "two"}])
    settled()
    first, second, none = receive(), receive(), receive()
    sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=first[0]["ReceiptHandle"], VisibilityTimeout=0
    )
    settled()
    third = receive()
    sqs.delete_message(QueueUrl=url, ReceiptHandle=third[0]["ReceiptHandle"])
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return (
        sorted(each[0]["Body"] for each in (first, second)),
        none,
        third[0]["Attributes"]["ApproximateReceiveCount"],
        {name: counts[name] for name in names},
    )
