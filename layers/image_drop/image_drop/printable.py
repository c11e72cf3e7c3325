"""Text of strangers, made safe to show in a terminal, a log line or a report."""

JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji are spelled with them
UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, limit: int | None = None) -> str:
    """Return `text` on one line, without control, C1, bidirectional or other invisible characters.

    White space of any kind becomes a space; everything else that Unicode calls unprintable (escape
    sequences, U+202E and its like, lone surrogates) becomes U+FFFD. At most `limit` characters,
    the last of them an ellipsis where something was cut off.
    """
    shown = "".join(_shown(char) for char in (text if limit is None else text[:limit]))
    return shown if limit is None or len(text) <= limit else shown[: limit - 1] + "…"


def _shown(char: str) -> str:
    if char.isprintable() or char in JOINERS:
        return char
    return " " if char.isspace() else UNPRINTABLE
