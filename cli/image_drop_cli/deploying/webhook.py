"""The webhook's secret: CloudFormation reads it from Systems Manager, so it has to be there."""

from botocore.exceptions import ClientError

from image_drop_cli.aws import Aws, DeploymentError


def check(aws: Aws, url: str, name: str) -> None:
    """Raise `DeploymentError` if there is a webhook, and CloudFormation cannot read its secret."""
    if not url:
        return
    cure = (
        f"Store a secret of your own: `aws ssm put-parameter --name {name} --type String "
        '--overwrite --value "$WEBHOOK_SECRET"`.'
    )
    try:
        found = aws.client("ssm").get_parameter(Name=name)["Parameter"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        raise DeploymentError(
            f"There is no SSM parameter {name} for the webhook. {cure}"
        ) from error
    if found["Type"] != "String":
        raise DeploymentError(
            f"The SSM parameter {name} is a {found['Type']}, and CloudFormation can put only a "
            f"String into a webhook's header. Delete it, then run the command again. {cure}"
        )
