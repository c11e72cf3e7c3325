"""Change sets on the embedded AWS: what is shown, what happens, why it failed."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from image_drop_cli.aws import Aws
from image_drop_cli.deploying.artifact_bucket import ArtifactBucket
from image_drop_cli.deploying.stacks import GONE, Change, FailedError, Stacks
from image_drop_local.emulator.stack import bare_aws

QUEUE = {"Type": "AWS::SQS::Queue"}
NEVER_READY = {  # it fails after a second, with CloudFormation's own words
    "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
    "Never": {
        "Type": "AWS::CloudFormation::WaitCondition",
        "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "1"},
    },
}
_numbers = count()


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with bare_aws() as url:
        yield Aws.connect(endpoint_url=url)


@pytest.fixture(scope="module")
def bucket(aws: Aws) -> ArtifactBucket:
    bucket = ArtifactBucket(aws)
    bucket.ensure()
    return bucket


@pytest.fixture
def template(bucket: ArtifactBucket) -> Callable[..., str]:
    """The URL of a template of some resources."""
    return lambda **resources: bucket.put_text(json.dumps({"Resources": resources}), ".json")


@pytest.fixture
def stacks(aws: Aws) -> Stacks:
    return Stacks(aws)


@pytest.fixture
def name() -> str:
    return f"stack-{next(_numbers)}"


def deployed(stacks: Stacks, name: str, url: str) -> str:
    change_set = stacks.change_set(name, url, [])
    assert change_set
    list(stacks.execute(change_set))
    return change_set.stack_id


def test_change_set_says_what_is_created(
    stacks: Stacks, name: str, template: Callable[..., str]
) -> None:
    change_set = stacks.change_set(name, template(Queue=QUEUE), [])
    assert change_set
    assert change_set.changes == (Change("Add", "Queue", "AWS::SQS::Queue", False, ()),)


def test_discarded_change_set_leaves_no_stack(
    stacks: Stacks, name: str, template: Callable[..., str]
) -> None:
    change_set = stacks.change_set(name, template(Queue=QUEUE), [])
    assert change_set
    stacks.discard(change_set)
    assert stacks.status(name) == GONE


def test_execution_tells_each_resource_until_all_is_done(
    stacks: Stacks, name: str, template: Callable[..., str]
) -> None:
    change_set = stacks.change_set(name, template(Queue=QUEUE, Other=QUEUE), [])
    assert change_set
    events = list(stacks.execute(change_set))
    finished = {each.resource for each in events if each.status == "CREATE_COMPLETE"}
    assert finished == {"Queue", "Other", name}
    assert stacks.status(name) == "CREATE_COMPLETE"


def test_same_template_again_changes_nothing(
    stacks: Stacks, name: str, template: Callable[..., str]
) -> None:
    deployed(stacks, name, template(Queue=QUEUE))
    assert stacks.change_set(name, template(Queue=QUEUE), []) is None
    assert stacks.status(name) == "CREATE_COMPLETE"


def test_update_tells_only_its_own_events(
    stacks: Stacks, name: str, template: Callable[..., str]
) -> None:
    deployed(stacks, name, template(Queue=QUEUE))
    change_set = stacks.change_set(name, template(Queue=QUEUE, Other=QUEUE), [])
    assert change_set
    events = list(stacks.execute(change_set))
    assert (events[0].resource, events[0].status) == (name, "UPDATE_IN_PROGRESS")
    assert "Other" in {each.resource for each in events}


def test_failed_execution_gives_reason_of_resource(
    stacks: Stacks, name: str, template: Callable[..., str]
) -> None:
    change_set = stacks.change_set(name, template(**NEVER_READY), [])
    assert change_set
    with pytest.raises(FailedError) as failure:
        list(stacks.execute(change_set))
    text = str(failure.value)
    assert text.startswith("CloudFormation stopped with ROLLBACK_COMPLETE.")
    assert "- Never (AWS::CloudFormation::WaitCondition): WaitCondition timed out" in text


def test_refused_change_set_gives_reason_and_leaves_nothing(
    stacks: Stacks, name: str, template: Callable[..., str]
) -> None:
    url = template(Queue=QUEUE | {"DeletionPolicy": "Retain"})
    missing: dict[str, Any] = {
        "ResourceType": "AWS::SQS::Queue",
        "LogicalResourceId": "Queue",
        "ResourceIdentifier": {"QueueUrl": "http://localhost/000000000000/nothing"},
    }
    with pytest.raises(FailedError, match=r"refuses the change set: .*was not found"):
        stacks.change_set(name, url, [], [missing])
    assert stacks.status(name) == GONE


def test_deletion_is_followed_to_its_end(
    stacks: Stacks, name: str, template: Callable[..., str]
) -> None:
    stack_id = deployed(stacks, name, template(Queue=QUEUE))
    events = list(stacks.delete(stack_id))
    assert events[-1].status == "DELETE_COMPLETE"
    assert stacks.status(name) == GONE


class TestArtifactBucket:
    def test_is_private_encrypted_and_tls_only(self, aws: Aws, bucket: ArtifactBucket) -> None:
        s3, name = aws.client("s3"), bucket.name
        assert name == "image-drop-artifacts-000000000000-us-east-1"
        block = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        assert set(block.values()) == {True}
        rules = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        [statement] = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_is_made_once(self, bucket: ArtifactBucket) -> None:
        bucket.ensure()

    def test_same_content_is_uploaded_once(self, aws: Aws, bucket: ArtifactBucket) -> None:
        url = bucket.put_text("the same", ".txt")
        key = url.partition(f"{bucket.name}/")[2]
        first = aws.client("s3").head_object(Bucket=bucket.name, Key=key)["LastModified"]
        assert bucket.put_text("the same", ".txt") == url
        assert aws.client("s3").head_object(Bucket=bucket.name, Key=key)["LastModified"] == first
