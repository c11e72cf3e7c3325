"""Before anything is paid, the AWS SDK is asked whether it can keep what will be paid for."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from image_drop.errors import SettingsError
from image_drop.services import Services

if TYPE_CHECKING:
    from collections.abc import Callable

ENV = {
    "INPUT_BUCKET": "in",
    "OUTPUT_BUCKET": "out",
    "RETRY_QUEUE_URL": "retry",
    "DEAD_LETTER_QUEUE_URL": "dead",
    "STATE_TABLE": "state",
    "VENICE_API_KEY_PARAMETER": "/key",
}


def clients(*put_object: str) -> "Callable[[str], Any]":
    """boto3's clients, of which S3's is one whose PutObject has these parameters."""
    shape = SimpleNamespace(members=dict.fromkeys(["Bucket", "Key", "Body", *put_object]))
    model = SimpleNamespace(operation_model=lambda _: SimpleNamespace(input_shape=shape))
    s3 = SimpleNamespace(meta=SimpleNamespace(service_model=model))
    return lambda name: s3 if name == "s3" else boto3.client(name)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("known", "missing"),
    [([], "IfMatch and IfNoneMatch"), (["IfNoneMatch"], "IfMatch"), (["IfMatch"], "IfNoneMatch")],
)
def test_sdk_without_conditional_writes_is_refused(known: list[str], missing: str) -> None:
    with pytest.raises(SettingsError, match=rf"botocore .* does not support {missing} of"):
        Services.from_env(ENV, client=clients(*known))


def test_sdk_of_runtime_layer_has_conditional_writes(boto_client: "Callable[[str], Any]") -> None:
    Services.from_env(ENV)
    Services.from_env(ENV, client=boto_client)
