"""The API key is read from SSM, kept for a while, and read again when somebody changed it."""

from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import Stubber

from image_drop.errors import AccountError, StorageBusyError
from image_drop.venice.api_key import ApiKey
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

NAME = "/image-drop/venice-api-key"


def put(ssm: "SSMClient", text: str) -> None:
    ssm.put_parameter(Name=NAME, Value=text, Type="SecureString", Overwrite=True)


def test_key_is_decrypted_parameter(ssm: "SSMClient") -> None:
    put(ssm, "secret")

    assert ApiKey(ssm, NAME, FakeClock().now)() == "secret"


def test_white_space_around_pasted_key_does_not_matter(ssm: "SSMClient") -> None:
    put(ssm, " secret\n")

    assert ApiKey(ssm, NAME, FakeClock().now)() == "secret"


def test_key_is_kept_until_it_is_asked_whether_it_was_replaced(ssm: "SSMClient") -> None:
    put(ssm, "old")
    key = ApiKey(ssm, NAME, FakeClock().now)
    assert key() == "old"
    put(ssm, "new")

    assert key() == "old"
    assert key.replaced()
    assert key() == "new"
    assert not key.replaced()


def test_key_is_read_again_after_five_minutes(ssm: "SSMClient") -> None:
    put(ssm, "old")
    clock = FakeClock()
    key = ApiKey(ssm, NAME, clock.now)
    assert key() == "old"
    put(ssm, "new")

    clock.sleep(299)
    assert key() == "old"
    clock.sleep(1)
    assert key() == "new"


def test_missing_parameter_is_accounts_fault(ssm: "SSMClient") -> None:
    with pytest.raises(AccountError, match=rf"{NAME}.*ParameterNotFound"):
        ApiKey(ssm, NAME, FakeClock().now)()


@pytest.mark.parametrize("text", [" ", "\n", "schlüssel", "two\nlines", "tab\there"])
def test_parameter_that_holds_no_key_is_accounts_fault(ssm: "SSMClient", text: str) -> None:
    put(ssm, text)

    with pytest.raises(AccountError) as caught:
        ApiKey(ssm, NAME, FakeClock().now)()
    assert NAME in caught.value.detail
    assert text not in caught.value.detail.replace(" ", "")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDeniedException", AccountError),
        ("ThrottlingException", StorageBusyError),
        ("InternalServerError", StorageBusyError),
    ],
)
def test_only_missing_or_forbidden_parameter_pauses_processing(
    code: str, error: type[Exception]
) -> None:
    client = boto3.client("ssm")
    with Stubber(client) as stub:
        stub.add_client_error("get_parameter", code)
        with pytest.raises(error):
            ApiKey(client, NAME, FakeClock().now)()


def test_key_does_not_show_where_it_is_printed(ssm: "SSMClient") -> None:
    put(ssm, "secret")
    key = ApiKey(ssm, NAME, FakeClock().now)
    key()

    assert "secret" not in repr(key)
