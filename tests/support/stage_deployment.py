"""The stage as the command line sees it: a deployment over the same account, queue and clock."""

import boto3

from image_drop_cli.aws import Aws
from image_drop_cli.deployment import Deployment
from tests.support.account import TABLE
from tests.support.stage import INPUT, OUTPUT, Stage, client


def deployment_of(stage: Stage) -> Deployment:
    """Return the deployment whose functions play on this stage."""
    outputs = {
        "InputBucketName": INPUT,
        "OutputBucketName": OUTPUT,
        "RetryQueueUrl": stage.queue,
        "DeadLetterQueueUrl": stage.dead_letters,
        "StateTableName": TABLE,
    }
    clients = {name: client(name) for name in ("s3", "sqs", "dynamodb", "events", "lambda")}
    deployment = Deployment("image-drop", Aws(boto3.Session(), None, clients), outputs, {})
    vars(deployment)["services"] = stage.services  # with the stage's clock
    return deployment
