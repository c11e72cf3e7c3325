"""The environment of a function, read once and in one place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from image_drop.errors import SettingsError

VENICE_BASE_URL = "https://api.venice.ai/api/v1"
# As in template.yaml. The key and the photos go there, so plain http is for this machine only.
PREFIX = "([A-Za-z0-9_.-]+/)+"  # nothing that an ARN in a policy would take as a wildcard
BASE_URL = (
    r"(https://[A-Za-z0-9._-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?"
    r"(/[!-~]*[!-.0-~])?"
)
MODEL = "[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"  # the form of a model's name, as in instructions
REQUIRED = (
    "INPUT_BUCKET",
    "OUTPUT_BUCKET",
    "RETRY_QUEUE_URL",
    "DEAD_LETTER_QUEUE_URL",
    "STATE_TABLE",
    "VENICE_API_KEY_PARAMETER",
)
OPTIONAL = ("DEFAULT_MODE", "DEFAULT_PROMPT", "OUTPUT_KEY_FORMAT", "RETRY_EVENT_SOURCE_MAPPING")


def _listed(item: str) -> str:
    """Return the pattern of a list separated by commas, with optional spaces around its items."""
    return rf" *{item} *(, *{item} *)*,? *"


def overlap(one: str, other: str) -> bool:
    """Return whether one of two prefixes contains the other."""
    return one.startswith(other) or other.startswith(one)


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip(" ") for item in text.split(",") if item.strip(" "))


def _prefixes(text: str) -> tuple[str, ...]:
    """Return folders as prefixes of keys, each with its slash; "" is the bucket, as in S3."""
    return tuple("" if item == "/" else item.rstrip("/") + "/" for item in _items(text))


_COUNT = ("0*[1-9][0-9]*", int, "a positive whole number")
_DOLLARS = (
    "[0-9]{1,9}([.][0-9]{1,6})?",
    float,
    "a number of US dollars such as 12.50, 0 for no limit",
)
# Variables that are not plain text: the pattern of the value, its reader, and its description.
# template.yaml has the same patterns, so CloudFormation refuses a deployment with a wrong value.
FORMS: Mapping[str, tuple[str, Callable[[str], Any], str]] = {
    "VENICE_BASE_URL": (
        BASE_URL,
        str,
        "an https URL without a slash at the end (http only for this machine)",
    ),
    "MAX_FAILURES": _COUNT,
    "MAXIMUM_CONCURRENCY": _COUNT,
    "MAX_IMAGE_BYTES": _COUNT,
    "BACKFILL_OLD": ("true|false", lambda text: text == "true", "true or false"),
    "BACKFILL_DAYS": ("[0-9]{1,4}", int, "a whole number of days up to 9999, 0 for never"),
    "DAILY_SPEND_LIMIT_USD": _DOLLARS,
    "MAX_EDIT_USD": _DOLLARS,
    "ALLOWED_MODELS": (
        _listed(MODEL),
        _items,
        "names of Venice models separated by commas, empty for all",
    ),
    # A leading slash or a star is a mistake: it would silently leave the folder trusted.
    "UNTRUSTED_PREFIXES": (
        _listed(r"(/|[^\s/*,][^*,\r\n]*)"),
        _prefixes,
        "folders of the bucket separated by commas, such as customers/, without a leading slash; "
        "/ for the whole bucket",
    ),
    "INPUT_PREFIX": (PREFIX, str, "a folder that ends in a slash, such as incoming/"),
    "OUTPUT_PREFIX": (PREFIX, str, "a folder that ends in a slash, such as edited/"),
    "KEEP_METADATA": ("true|false", lambda text: text == "true", "true or false"),
}


@dataclass(frozen=True)
class Settings:
    """The settings that template.yaml gives a function.

    `venice_api_key_parameter`: the name of an SSM SecureString, never the key itself.
    `retry_event_source_mapping`: the UUID of the mapping that the account watch pauses; empty in
    the other functions.
    `maximum_concurrency`: retry functions that may run at once, at most.
    `max_failures`: failed tries of a queued image before it becomes a dead letter.
    `max_image_bytes`: a larger object is refused before it is downloaded.
    `backfill_days`: days between two scheduled scans of the whole bucket; 0 is never.
    `backfill_old`: whether scheduled scans take images from before the stack; not in a bucket that
    it did not make.
    `daily_spend_limit_usd`: the most that calls may cost in a day of UTC; 0 is no limit.
    `max_edit_usd`: the most that one upload may cost, with all its variants; 0 is no limit.
    `allowed_models`: the only models that instructions may name; empty allows all.
    `untrusted_prefixes`: instructions below these are ignored; each ends in a slash, and "" is the
    whole bucket.
    `input_prefix`, `output_prefix`: folders of the two buckets outside of which nothing is read or
    written. All keys are relative to them.
    `keep_metadata`: send a photo's metadata (place, camera, names) to Venice with it.
    """

    input_bucket: str
    output_bucket: str
    retry_queue_url: str
    dead_letter_queue_url: str
    state_table: str
    venice_api_key_parameter: str
    venice_base_url: str = VENICE_BASE_URL
    default_mode: str = ""
    default_prompt: str = ""
    output_key_format: str = "{key}.png"
    retry_event_source_mapping: str = ""
    maximum_concurrency: int = 1000
    max_failures: int = 12
    max_image_bytes: int = 200_000_000
    backfill_days: int = 7
    backfill_old: bool = True
    daily_spend_limit_usd: float = 50.0
    max_edit_usd: float = 1.0
    allowed_models: tuple[str, ...] = ()
    untrusted_prefixes: tuple[str, ...] = ()
    input_prefix: str = ""
    output_prefix: str = ""
    keep_metadata: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings; an empty variable counts as not set.

        Raise one `SettingsError` that names every missing or wrong variable.
        """
        given = {name: env[name] for name in (*REQUIRED, *OPTIONAL, *FORMS) if env.get(name)}
        problems = [f"{name} is missing" for name in REQUIRED if name not in given]
        problems += [
            f"{name} must be {takes}, not {given[name]!r}"
            for name, (form, _, takes) in FORMS.items()
            if name in given and not re.fullmatch(form, given[name])
        ]
        if problems:
            raise SettingsError("; ".join(problems))
        values: dict[str, Any] = {
            name.lower(): FORMS[name][1](text) if name in FORMS else text
            for name, text in given.items()
        }
        settings = cls(**values)
        if settings.may_loop:
            raise SettingsError(
                f"The bucket {settings.input_bucket} is for images and for results, so each result "
                "would be an image again. INPUT_PREFIX and OUTPUT_PREFIX must be two folders of "
                "which neither contains the other, such as incoming/ and edited/."
            )
        return settings

    @property
    def may_loop(self) -> bool:
        """Whether a result may be stored where images are dropped."""
        ours = self.input_prefix, self.output_prefix
        return self.input_bucket == self.output_bucket and overlap(*ours)
