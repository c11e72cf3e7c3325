"""No text of a stranger steers a terminal, and the API key shows nowhere, not even in pieces."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_drop.untrusted_text import printable, redact

BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"

KEY = "VENICE_INFERENCE_KEY_0aB1-cD2eF3_gH4iJ5kL6mN7oP8qR9sT0uV1w"
OTHER = "xY9-wV8uT7sR6_qP5oN4mL3kJ2iH1gF0eD9cB8aZ7yX6w"


# --- printable -------------------------------------------------------------------------------


@pytest.mark.parametrize("char", [*BIDIRECTIONAL, "\x1b", "\x07", "\x9b", "\x7f", "\ud800"])
def test_character_that_steers_display_is_replaced(char: str) -> None:
    assert printable(f"a{char}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("char", ["\n", "\r", "\t", "\x85", "\u2028", "\u2029", "\u202f"])
def test_white_space_of_any_kind_is_space(char: str) -> None:
    assert printable(f"a{char}b") == "a b"


@pytest.mark.parametrize("text", ["Grüße 🌅", "写真.jpg", "می\u200cخواهم", "👨\u200d👩\u200d👧"])
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_text_that_is_too_long_ends_in_ellipsis() -> None:
    assert printable("x" * 10, 10) == "x" * 10
    assert printable("x" * 11, 10) == "x" * 9 + "…"


@given(st.text(), st.none() | st.integers(1, 20))
def test_nothing_but_printable_characters_is_left(text: str, limit: int | None) -> None:
    shown = printable(text, limit)

    assert limit is None or len(shown) <= limit
    assert all(
        unicodedata.category(char)[0] not in "CZ" or char in " \u200c\u200d" for char in shown
    )


# --- redact ----------------------------------------------------------------------------------


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
def test_key_is_hidden(text: str, shown: str) -> None:
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
def test_short_key_is_hidden_and_empty_key_hides_nothing(key: str) -> None:
    assert redact(f"<{key}>", key) == (f"<{'[key]' if key else ''}>")


@given(st.text(max_size=60), st.integers(0, 60), st.text("abcXYZ019-_", min_size=1, max_size=60))
def test_key_shows_nowhere(text: str, place: int, key: str) -> None:
    shown = redact(text[:place] + key + text[place:], key)

    assert key not in shown.replace("[key]", " ")
