"""The API key does not show, whole or in pieces, in what is told of Venice's answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_drop.untrusted_text import redact

KEY = "VENICE_INFERENCE_KEY_0aB1-cD2eF3_gH4iJ5kL6mN7oP8qR9sT0uV1w"
OTHER = "xY9-wV8uT7sR6_qP5oN4mL3kJ2iH1gF0eD9cB8aZ7yX6w"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (KEY, "[key]"),
        (f"Invalid key {KEY}.", "Invalid key [key]."),
        (f"{KEY} and {KEY}", "[key] and [key]"),
        (f"the key {KEY[:30]}... is bad", "the key [key]... is bad"),
        (f"ends in {KEY[-10:]}", "ends in [key]"),
        (f"Bearer {OTHER} is bad", "[key] is bad"),
        ("bearer abc", "[key]"),
        (f"not {OTHER}", "not [key]"),
        ("VENICE-INFERENCE-KEY-abc", "[key]"),
        ("VENICE_ADMIN_KEY_abc, please", "[key], please"),
    ],
)
def test_a_key_is_hidden(text: str, shown: str) -> None:
    assert redact(text, KEY) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Invalid request parameters; prompt: String must contain at most 1500 character(s)",
        "grok-imagine-image-2-0-edit does not support CONTENT_POLICY_VIOLATION",
        "request 5f8c9d1e-7a2b-4c3d-9e8f-0a1b2c3d4e5f failed",
        "8f2a9c1d7e6b5a40-FRA",
    ],
)
def test_other_words_stay_as_they_are(text: str) -> None:
    assert redact(text, KEY) == text


@pytest.mark.parametrize("key", ["", "k", "short"])
def test_a_short_key_is_hidden_and_none_hides_nothing(key: str) -> None:
    assert redact(f"<{key}>", key) == (f"<{'[key]' if key else ''}>")


@given(st.text(max_size=60), st.integers(0, 60), st.text("abcXYZ019-_", min_size=1, max_size=60))
def test_the_key_shows_nowhere(text: str, place: int, key: str) -> None:
    shown = redact(text[:place] + key + text[place:], key)

    assert key not in shown.replace("[key]", " ")
