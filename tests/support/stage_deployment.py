"""The command line's view of a `Stage`."""

import boto3

from image_drop_cli.aws import Aws
from image_drop_cli.deployment import PARAMETERS, Deployment
from tests.support.account import TABLE
from tests.support.stage import INPUT, OUTPUT, Stage, client


def deployment_of(stage: Stage) -> Deployment:
    """The stack as the command line finds it, with the functions' settings and the stage's time."""
    outputs = {
        "InputBucketName": INPUT,
        "OutputBucketName": OUTPUT,
        "RetryQueueUrl": stage.queue,
        "DeadLetterQueueUrl": stage.dead_letters,
        "StateTableName": TABLE,
    }
    given = {parameter: stage.env.get(name, "") for name, parameter in PARAMETERS.items()}
    clients = {name: client(name) for name in ("s3", "sqs", "dynamodb", "ssm")}
    deployment = Deployment("image-drop", Aws(boto3.Session(), None, clients), outputs, given)
    vars(deployment)["services"] = stage.services
    return deployment
