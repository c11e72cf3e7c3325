"""The API key, taken out of text that may echo it."""

import re
from itertools import pairwise

HIDDEN = "[key]"
FRAGMENT = 8  # characters of the key that may not be shown in a row

# Venice's keys are VENICE-INFERENCE-KEY-… or VENICE_INFERENCE_KEY_…; older ones are 43 characters
# of base64 without a prefix, which are told from identifiers by their mixture.
_PREFIX = r"VENICE[-_][A-Z]+[-_]KEY[-_]"
_LIKE_A_KEY = re.compile(
    r"\b(?i:bearer)\s+[^\s\"',;]+"
    rf"|\b{_PREFIX}[\w-]*"
    r"|(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*[0-9])[\w-]{32,}",
    re.ASCII,
)


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
