"""The environment of a function, read once and in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from image_drop.errors import SettingsError

VENICE_BASE_URL = "https://api.venice.ai/api/v1"


@dataclass(frozen=True)
class Settings:
    """What template.yaml tells a function.

    `venice_api_key_parameter` is the name of an SSM SecureString, never the key itself.
    `retry_event_source_mapping`: the UUID that the account watch pauses; only it has one.
    `max_image_bytes`: a larger object is refused before it is downloaded.
    `max_receive_count`: the redrive policy's number of tries.
    """

    input_bucket: str
    output_bucket: str
    retry_queue_url: str
    state_table: str
    venice_api_key_parameter: str
    venice_base_url: str = VENICE_BASE_URL
    default_mode: str = ""
    default_prompt: str = ""
    output_key_format: str = "{key}.png"
    retry_event_source_mapping: str = ""
    max_receive_count: int = 12
    max_image_bytes: int = 200_000_000

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings; `SettingsError` names every variable that is missing or wrong."""
        required = (
            "INPUT_BUCKET",
            "OUTPUT_BUCKET",
            "RETRY_QUEUE_URL",
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
        numbers = ("MAX_RECEIVE_COUNT", "MAX_IMAGE_BYTES")

        problems = [f"{name} is missing" for name in required if not env.get(name)]
        problems += [
            f"{name} must be a positive whole number, not {env[name]!r}"
            for name in numbers
            if env.get(name)
            and not (env[name].isascii() and env[name].isdigit() and int(env[name]))
        ]
        if problems:
            raise SettingsError("; ".join(problems))
        given: dict[str, Any] = {
            name.lower(): env[name] for name in required + optional if env.get(name)
        }
        given |= {name.lower(): int(env[name]) for name in numbers if env.get(name)}
        return cls(**given)
