"""The Venice API key in Systems Manager, encrypted. Nothing prints it, no argument holds it."""

from botocore.exceptions import ClientError

from image_drop_cli.aws import Aws, DeploymentError


def is_stored(aws: Aws, name: str) -> bool:
    """Return whether there is a key. Its value is not decrypted.

    Raise `DeploymentError` if it is stored without encryption.
    """
    try:
        found = aws.client("ssm").get_parameter(Name=name, WithDecryption=False)["Parameter"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ParameterNotFound":
            return False
        raise
    if found["Type"] != "SecureString":
        raise DeploymentError(
            f"The parameter {name} is a {found['Type']}, which is not encrypted. Delete it with "
            f"`aws ssm delete-parameter --name {name}`, then run the command again."
        )
    return True


def store(aws: Aws, name: str, key: str) -> None:
    """Store a key, or replace it. Raise `DeploymentError` if it cannot be one."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise DeploymentError(
            "This is not an API key: it is empty, or has characters that no key has. Copy the key "
            "again from https://venice.ai/settings/api."
        )
    aws.client("ssm").put_parameter(
        Name=name,
        Value=key,
        Type="SecureString",
        Overwrite=True,
        Description="Venice API key of Image Drop",
    )
