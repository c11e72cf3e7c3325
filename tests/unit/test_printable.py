"""No text of a stranger steers a terminal or hides what it says."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_drop.untrusted_text import printable

BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


@pytest.mark.parametrize("char", [*BIDIRECTIONAL, "\x1b", "\x07", "\x9b", "\x7f", "\ud800"])
def test_a_character_that_steers_the_display_is_replaced(char: str) -> None:
    assert printable(f"a{char}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("char", ["\n", "\r", "\t", "\x85", "\u2028", "\u2029", "\u202f"])
def test_white_space_of_any_kind_is_a_space(char: str) -> None:
    assert printable(f"a{char}b") == "a b"


@pytest.mark.parametrize("text", ["Grüße 🌅", "写真.jpg", "می\u200cخواهم", "👨\u200d👩\u200d👧"])
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_a_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert printable("x" * 10, 10) == "x" * 10
    assert printable("x" * 11, 10) == "x" * 9 + "…"


@given(st.text(), st.none() | st.integers(1, 20))
def test_nothing_but_printable_characters_is_left(text: str, limit: int | None) -> None:
    shown = printable(text, limit)

    assert limit is None or len(shown) <= limit
    assert all(
        unicodedata.category(char)[0] not in "CZ" or char in " \u200c\u200d" for char in shown
    )
