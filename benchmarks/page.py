"""`README.md` of this folder: each benchmark writes the text between its own two marks."""

import re
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parent / "README.md"


def put(section: str, text: str, page: Path = PAGE) -> None:
    """Replace the text between `<!-- section: begin -->` and its end, or append both marks."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    block = f"{begin}\n{text.strip()}\n{end}"
    before = page.read_text() if page.exists() else "# Benchmarks\n"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(before):
        after = pattern.sub(lambda _: block, before)
    else:
        after = f"{before.rstrip()}\n\n{block}\n"
    page.write_text(after)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is of words, the others of figures."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
