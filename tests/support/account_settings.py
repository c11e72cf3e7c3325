"""Lambda's GetAccountSettings, which moto does not know: the limit of a new AWS account."""

from types import SimpleNamespace
from typing import Any


def answer_account_settings(client: Any) -> None:
    """Let a boto3 client of Lambda answer it."""
    client.meta.events.register_last("before-call.lambda.GetAccountSettings", _answer)


def _answer(**_: object) -> tuple[Any, dict[str, Any]]:
    return SimpleNamespace(status_code=200), {"AccountLimit": {"ConcurrentExecutions": 10}}
