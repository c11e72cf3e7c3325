"""The environment of a function is read in one place, and says everything that is wrong at once."""

from pathlib import Path

import pytest

from image_drop.errors import SettingsError
from image_drop.settings import BASE_URL, VENICE_BASE_URL, Settings

COMPLETE = {
    "INPUT_BUCKET": "in",
    "OUTPUT_BUCKET": "out",
    "RETRY_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/retry",
    "STATE_TABLE": "state",
    "VENICE_API_KEY_PARAMETER": "/image-drop/venice-api-key",
}


def test_the_required_variables_are_enough() -> None:
    assert Settings.from_env(COMPLETE) == Settings(
        input_bucket="in",
        output_bucket="out",
        retry_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/retry",
        state_table="state",
        venice_api_key_parameter="/image-drop/venice-api-key",
        venice_base_url=VENICE_BASE_URL,
        default_mode="",
        default_prompt="",
        output_key_format="{key}.png",
        max_receive_count=12,
        max_image_bytes=200_000_000,
        backfill_days=7,
        daily_spend_limit_usd=0.0,
    )


def test_the_default_endpoint_is_venice() -> None:
    assert VENICE_BASE_URL == "https://api.venice.ai/api/v1"


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        COMPLETE
        | {
            "VENICE_BASE_URL": "http://127.0.0.1:1/api/v1",
            "DEFAULT_MODE": "edit",
            "DEFAULT_PROMPT": "make the sky pink",
            "OUTPUT_KEY_FORMAT": "{folder}{stem}.png",
            "MAX_RECEIVE_COUNT": "3",
            "MAX_IMAGE_BYTES": "1000",
            "BACKFILL_DAYS": "0",
            "DAILY_SPEND_LIMIT_USD": "12.50",
        }
    )

    assert settings.venice_base_url == "http://127.0.0.1:1/api/v1"
    assert (settings.default_mode, settings.default_prompt) == ("edit", "make the sky pink")
    assert settings.output_key_format == "{folder}{stem}.png"
    assert (settings.max_receive_count, settings.max_image_bytes) == (3, 1000)
    assert (settings.backfill_days, settings.daily_spend_limit_usd) == (0, 12.5)


def test_an_empty_optional_variable_counts_as_not_set() -> None:
    # CloudFormation sets a variable whose parameter is empty to "".
    empty = dict.fromkeys(["VENICE_BASE_URL", "OUTPUT_KEY_FORMAT", "MAX_RECEIVE_COUNT"], "")

    assert Settings.from_env(COMPLETE | empty) == Settings.from_env(COMPLETE)


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("missing", [None, ""])
def test_a_missing_variable_is_named(name: str, missing: str | None) -> None:
    env = {key: text for key, text in COMPLETE.items() if key != name}
    if missing is not None:
        env[name] = missing

    with pytest.raises(SettingsError, match=f"^{name} is missing$"):
        Settings.from_env(env)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", " 3", "٣", "³"])
@pytest.mark.parametrize("name", ["MAX_RECEIVE_COUNT", "MAX_IMAGE_BYTES"])
def test_a_number_that_is_none_is_named_with_its_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(COMPLETE | {name: text})

    assert f"{name} must be a positive whole number, not {text!r}" == caught.value.detail


@pytest.mark.parametrize(
    ("name", "text", "takes"),
    [
        ("BACKFILL_DAYS", "-1", "a whole number of days up to 9999, 0 for never"),
        ("BACKFILL_DAYS", "7.5", "a whole number of days up to 9999, 0 for never"),
        ("DAILY_SPEND_LIMIT_USD", "-1", "a number of US dollars such as 12.50, 0 for no limit"),
        ("DAILY_SPEND_LIMIT_USD", "nan", "a number of US dollars such as 12.50, 0 for no limit"),
        ("DAILY_SPEND_LIMIT_USD", "1e9", "a number of US dollars such as 12.50, 0 for no limit"),
        ("DAILY_SPEND_LIMIT_USD", "12,50", "a number of US dollars such as 12.50, 0 for no limit"),
    ],
)
def test_days_and_dollars_that_are_none_are_named_with_what_they_take(
    name: str, text: str, takes: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(COMPLETE | {name: text})

    assert caught.value.detail == f"{name} must be {takes}, not {text!r}"


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"MAX_RECEIVE_COUNT": "many"})

    assert all(name in caught.value.detail for name in (*COMPLETE, "MAX_RECEIVE_COUNT"))


GOOD_URLS = [
    "https://api.venice.ai/api/v1",
    "https://proxy.example:8443",
    "http://127.0.0.1:4567/api/v1",
    "http://localhost",
    "http://[::1]:4567/api/v1",
]
BAD_URLS = [
    "http://api.venice.ai/api/v1",
    "http://127.0.0.1.example.com/api",
    "http://localhost@example.com/api",
    "http://127.0.0.1:80@example.com",
    "http://localhost\\.example.com",
    "https://user:word@example.com",
    "https://api.venice.ai/api/v1/",
    "https://api.venice.ai/api/v1\n",
    "https://",
    "ftp://localhost",
    "api.venice.ai",
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_venice_is_reached_over_https_or_on_this_machine(url: str) -> None:
    assert Settings.from_env(COMPLETE | {"VENICE_BASE_URL": url}).venice_base_url == url


@pytest.mark.parametrize("url", BAD_URLS)
def test_the_key_and_the_photos_leave_this_machine_over_https_only(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^VENICE_BASE_URL must be an https URL"):
        Settings.from_env(COMPLETE | {"VENICE_BASE_URL": url})


def test_the_template_allows_the_same_addresses() -> None:
    template = (Path(__file__).parents[2] / "template.yaml").read_text("utf-8")

    assert f"AllowedPattern: '{BASE_URL}'" in template
