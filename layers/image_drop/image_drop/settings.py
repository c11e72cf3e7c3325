"""The environment of a function, read once and in one place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from image_drop.errors import SettingsError

VENICE_BASE_URL = "https://api.venice.ai/api/v1"
# As in template.yaml. The key and the photos go there, so plain http stays on this machine.
BASE_URL = (
    r"(https://[A-Za-z0-9._-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?"
    r"(/[!-~]*[!-.0-~])?"
)
_COUNT = ("0*[1-9][0-9]*", int, "a positive whole number")
NUMBERS: Mapping[str, tuple[str, Callable[[str], float], str]] = {
    "MAX_RECEIVE_COUNT": _COUNT,
    "MAX_IMAGE_BYTES": _COUNT,
    "BACKFILL_DAYS": ("[0-9]{1,4}", int, "a whole number of days up to 9999, 0 for never"),
    "DAILY_SPEND_LIMIT_USD": (
        r"[0-9]{1,9}(\.[0-9]{1,6})?",
        float,
        "a number of US dollars such as 12.50, 0 for no limit",
    ),
}


@dataclass(frozen=True)
class Settings:
    """What template.yaml tells a function.

    `venice_api_key_parameter` is the name of an SSM SecureString, never the key itself.
    `retry_event_source_mapping`: the UUID that the account watch pauses; only it has one.
    `max_image_bytes`: a larger object is refused before it is downloaded.
    `max_receive_count`: the redrive policy's number of tries.
    `backfill_days`: how often the whole bucket is looked through; 0 is never.
    `daily_spend_limit_usd`: what calls may cost in a day of UTC; 0 is without a limit.
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
    max_receive_count: int = 12
    max_image_bytes: int = 200_000_000
    backfill_days: int = 7
    daily_spend_limit_usd: float = 0.0

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings; `SettingsError` names every variable that is missing or wrong."""
        required = (
            "INPUT_BUCKET",
            "OUTPUT_BUCKET",
            "RETRY_QUEUE_URL",
            "DEAD_LETTER_QUEUE_URL",
            "STATE_TABLE",
            "VENICE_API_KEY_PARAMETER",
        )
        optional = (
            "VENICE_BASE_URL",
            "DEFAULT_MODE",
            "DEFAULT_PROMPT",
            "OUTPUT_KEY_FORMAT",
            "RETRY_EVENT_SOURCE_MAPPING",
        )
        problems = [f"{name} is missing" for name in required if not env.get(name)]
        problems += [
            f"{name} must be {takes}, not {env[name]!r}"
            for name, (form, _, takes) in NUMBERS.items()
            if env.get(name) and not re.fullmatch(form, env[name])
        ]
        problems += _base_url_problem(env.get("VENICE_BASE_URL") or VENICE_BASE_URL)
        if problems:
            raise SettingsError("; ".join(problems))
        given: dict[str, Any] = {
            name.lower(): env[name] for name in required + optional if env.get(name)
        }
        given |= {
            name.lower(): number(env[name])
            for name, (_, number, _) in NUMBERS.items()
            if env.get(name)
        }
        return cls(**given)


def _base_url_problem(url: str) -> list[str]:
    if re.fullmatch(BASE_URL, url):
        return []
    return [
        "VENICE_BASE_URL must be an https URL without a slash at its end (http for this machine "
        f"only), not {url!r}"
    ]
