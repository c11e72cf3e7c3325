"""Untrusted text, made safe to show in a terminal, a log line or a report."""

import re
from itertools import pairwise

JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji are spelled with them
UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"

HIDDEN = "[key]"
FRAGMENT = 8  # consecutive characters of the key that must not be shown

# Venice's keys are VENICE-INFERENCE-KEY-… or VENICE_INFERENCE_KEY_…; older ones are 43 characters
# of base64 without a prefix; the mix of cases and digits distinguishes them from identifiers.
_PREFIX = r"VENICE[-_][A-Z]+[-_]KEY[-_]"
_LIKE_A_KEY = re.compile(
    r"\b(?i:bearer)\s+[^\s\"',;]+"
    rf"|\b{_PREFIX}[\w-]*"
    r"|(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*[0-9])[\w-]{32,}",
    re.ASCII,
)


def printable(text: str, limit: int | None = None) -> str:
    """Return `text` on one line, without control, C1, bidirectional or other invisible characters.

    White space of any kind becomes a space. Everything else that Unicode calls unprintable (escape
    sequences, U+202E and its like, lone surrogates) becomes U+FFFD. Return at most `limit`
    characters; if text was cut off, the last one is an ellipsis.
    """
    shown = "".join(_shown(char) for char in (text if limit is None else text[:limit]))
    return shown if limit is None or len(text) <= limit else shown[: limit - 1] + "…"


def _shown(char: str) -> str:
    if char.isprintable() or char in JOINERS:
        return char
    return " " if char.isspace() else UNPRINTABLE


def redact(text: str, key: str) -> str:
    """Return `text` without `key`, longer pieces of it, and anything that looks like a key."""
    return _without_pieces(_LIKE_A_KEY.sub(HIDDEN, text), re.sub(f"^{_PREFIX}", "", key))


def _without_pieces(text: str, key: str) -> str:
    size = min(FRAGMENT, len(key))
    pieces = {key[start : start + size] for start in range(len(key) - size + 1)} if size else set()
    secret = [False] * len(text)
    for start in range(len(text) - size + 1):
        if text[start : start + size] in pieces:
            secret[start : start + size] = [True] * size
    edges = [0, *(at for at in range(1, len(text)) if secret[at] != secret[at - 1]), len(text)]
    return "".join(
        HIDDEN if secret[start] else text[start:end]
        for start, end in pairwise(edges)
        if end > start
    )
