"""Errors as botocore raises them."""

from typing import Any

from botocore.exceptions import ClientError


def client_error(code: str, status: int, operation: str = "", **more: Any) -> ClientError:
    """Return the error of an answer with this code and HTTP status."""
    answer: Any = {
        "Error": {"Code": code, "Message": code},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer | more, operation)


class ConditionalCheckFailedException(ClientError):  # noqa: N818 - boto3's name
    """A conditional write whose condition does not hold."""

    def __init__(self, item: Any = None) -> None:
        more = {"Item": item} if item else {}
        found = client_error("ConditionalCheckFailedException", 400, "PutItem", **more)
        super().__init__(found.response, "PutItem")
