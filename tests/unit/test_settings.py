"""The environment of a function is read in one place, and says everything that is wrong at once."""

import pytest

from image_drop.errors import SettingsError
from image_drop.settings import VENICE_BASE_URL, Settings

COMPLETE = {
    "INPUT_BUCKET": "in",
    "OUTPUT_BUCKET": "out",
    "RETRY_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/retry",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
    "STATE_TABLE": "state",
    "VENICE_API_KEY_PARAMETER": "/image-drop/venice-api-key",
}


def test_required_variables_are_enough() -> None:
    assert Settings.from_env(COMPLETE) == Settings(
        input_bucket="in",
        output_bucket="out",
        retry_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/retry",
        dead_letter_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/dead",
        state_table="state",
        venice_api_key_parameter="/image-drop/venice-api-key",
        venice_base_url=VENICE_BASE_URL,
        default_mode="",
        default_prompt="",
        output_key_format="{key}.png",
        max_failures=12,
        max_image_bytes=200_000_000,
        backfill_days=7,
        daily_spend_limit_usd=50.0,
        max_edit_usd=1.0,
        allowed_models=(),
        untrusted_prefixes=(),
        keep_metadata=False,
    )


def test_default_endpoint_is_venice() -> None:
    assert VENICE_BASE_URL == "https://api.venice.ai/api/v1"


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        COMPLETE
        | {
            "VENICE_BASE_URL": "http://127.0.0.1:1/api/v1",
            "DEFAULT_MODE": "edit",
            "DEFAULT_PROMPT": "make the sky pink",
            "OUTPUT_KEY_FORMAT": "{folder}{stem}.png",
            "MAX_FAILURES": "3",
            "MAX_IMAGE_BYTES": "1000",
            "BACKFILL_DAYS": "0",
            "DAILY_SPEND_LIMIT_USD": "12.50",
            "MAX_EDIT_USD": "0.25",
            "ALLOWED_MODELS": "qwen-image-2-edit, seedream-v4-edit",
            "UNTRUSTED_PREFIXES": "customers/,guests",
            "KEEP_METADATA": "true",
        }
    )

    assert settings.venice_base_url == "http://127.0.0.1:1/api/v1"
    assert (settings.default_mode, settings.default_prompt) == ("edit", "make the sky pink")
    assert settings.output_key_format == "{folder}{stem}.png"
    assert (settings.max_failures, settings.max_image_bytes) == (3, 1000)
    assert (settings.backfill_days, settings.daily_spend_limit_usd) == (0, 12.5)
    assert settings.max_edit_usd == 0.25
    assert settings.allowed_models == ("qwen-image-2-edit", "seedream-v4-edit")
    assert settings.untrusted_prefixes == ("customers/", "guests/")
    assert settings.keep_metadata is True


def test_empty_optional_variable_counts_as_not_set() -> None:
    # CloudFormation sets a variable whose parameter is empty to "".
    empty = dict.fromkeys(["VENICE_BASE_URL", "OUTPUT_KEY_FORMAT", "MAX_FAILURES"], "")

    assert Settings.from_env(COMPLETE | empty) == Settings.from_env(COMPLETE)


@pytest.mark.parametrize(
    ("prefixes", "good"),
    [
        (("in/", "out/"), True),
        (("in/", "in-out/"), True),
        (("a/in/", "a/out/"), True),
        (("", ""), False),
        (("in/", ""), False),
        (("", "out/"), False),
        (("in/", "in/"), False),
        (("in/", "in/out/"), False),
        (("out/in/", "out/"), False),
    ],
)
def test_one_bucket_whose_results_would_be_images_is_refused(
    prefixes: tuple[str, str], good: bool
) -> None:
    both = dict(zip(("INPUT_PREFIX", "OUTPUT_PREFIX"), prefixes, strict=True))
    two_buckets = Settings.from_env(COMPLETE | both)
    assert (two_buckets.input_prefix, two_buckets.output_prefix) == prefixes

    if good:
        assert Settings.from_env(COMPLETE | both | {"OUTPUT_BUCKET": "in"}).input_bucket == "in"
        return
    with pytest.raises(SettingsError, match="neither contains the other"):
        Settings.from_env(COMPLETE | both | {"OUTPUT_BUCKET": "in"})


@pytest.mark.parametrize("prefix", ["in", "/in/", "in//", "*/", "a?/", "${x}/", "in/\n", "/"])
def test_prefix_that_is_no_folder_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError, match="INPUT_PREFIX must be a folder"):
        Settings.from_env(COMPLETE | {"INPUT_PREFIX": prefix})


@pytest.mark.parametrize("name", COMPLETE)
@pytest.mark.parametrize("missing", [None, ""])
def test_missing_variable_is_named(name: str, missing: str | None) -> None:
    env = {key: text for key, text in COMPLETE.items() if key != name}
    if missing is not None:
        env[name] = missing

    with pytest.raises(SettingsError, match=f"^{name} is missing$"):
        Settings.from_env(env)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", " 3", "٣", "³"])
@pytest.mark.parametrize("name", ["MAX_FAILURES", "MAX_IMAGE_BYTES"])
def test_number_that_is_none_is_named_with_its_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(COMPLETE | {name: text})

    assert f"{name} must be a positive whole number, not {text!r}" == caught.value.detail


@pytest.mark.parametrize(
    ("name", "text", "takes"),
    [
        ("BACKFILL_DAYS", "-1", "a whole number of days up to 9999, 0 for never"),
        ("BACKFILL_DAYS", "7.5", "a whole number of days up to 9999, 0 for never"),
        ("MAX_EDIT_USD", "1\n", "a number of US dollars such as 12.50, 0 for no limit"),
        ("KEEP_METADATA", "yes", "true or false"),
        ("KEEP_METADATA", "True", "true or false"),
        ("DAILY_SPEND_LIMIT_USD", "-1", "a number of US dollars such as 12.50, 0 for no limit"),
        ("DAILY_SPEND_LIMIT_USD", "nan", "a number of US dollars such as 12.50, 0 for no limit"),
        ("DAILY_SPEND_LIMIT_USD", "1e9", "a number of US dollars such as 12.50, 0 for no limit"),
        ("DAILY_SPEND_LIMIT_USD", "12,50", "a number of US dollars such as 12.50, 0 for no limit"),
    ],
)
def test_variable_of_another_form_is_named_with_what_it_takes(
    name: str, text: str, takes: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(COMPLETE | {name: text})

    assert caught.value.detail == f"{name} must be {takes}, not {text!r}"


@pytest.mark.parametrize(
    ("text", "prefixes"),
    [
        ("", ()),
        ("customers/", ("customers/",)),
        ("customers", ("customers/",)),
        (" customers/ , my guests/2026 ,", ("customers/", "my guests/2026/")),
        ("Kunden/größe/", ("Kunden/größe/",)),
        ("/", ("",)),
    ],
)
def test_untrusted_prefix_is_folder_and_slash_is_whole_bucket(
    text: str, prefixes: tuple[str, ...]
) -> None:
    settings = Settings.from_env(COMPLETE | {"UNTRUSTED_PREFIXES": text})

    assert settings.untrusted_prefixes == prefixes


@pytest.mark.parametrize(
    "text", ["/customers/", "customers/*", "*", "a/,,b/", ",", "a/\n", "a/,/b"]
)
def test_prefix_that_would_leave_its_folder_open_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^UNTRUSTED_PREFIXES must be folders of the bucket"):
        Settings.from_env(COMPLETE | {"UNTRUSTED_PREFIXES": text})


@pytest.mark.parametrize("text", ["a b", "-a", "a,,b", "a\n", "a;b"])
def test_list_of_models_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^ALLOWED_MODELS must be names of Venice models"):
        Settings.from_env(COMPLETE | {"ALLOWED_MODELS": text})


@pytest.mark.parametrize(
    "url",
    [
        "https://proxy.example/api/v1",
        "http://127.0.0.1:8080/api/v1",
        "http://localhost:8080",
    ],
)
def test_venice_may_be_reached_at_another_address(url: str) -> None:
    assert Settings.from_env(COMPLETE | {"VENICE_BASE_URL": url}).venice_base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://proxy.example/api/v1",
        "http://127.0.0.1.example/api/v1",
        "http://localhost@proxy.example/v1",
        "https://proxy.example/api/v1/",
        "https://proxy.example/api/v1\n",
        "proxy.example",
    ],
)
def test_key_never_leaves_this_machine_unencrypted(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^VENICE_BASE_URL must be an https URL"):
        Settings.from_env(COMPLETE | {"VENICE_BASE_URL": url})


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"MAX_FAILURES": "many"})

    assert all(name in caught.value.detail for name in (*COMPLETE, "MAX_FAILURES"))
