"""The documents as data: their headings, links, code and tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]
LAYER = PROJECT / "layers" / "image_drop" / "image_drop"

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Page:
    """One Markdown file. `text` is all of it, `prose` is what is outside of its blocks of code."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.path.relative_to(PROJECT).as_posix()

    @property
    def prose(self) -> str:
        """The text without blocks of code."""
        return _FENCE.sub("", self.text)

    @property
    def anchors(self) -> frozenset[str]:
        """The anchors that GitHub gives its headings."""
        return frozenset(map(_anchor, _HEADING.findall(self.prose)))

    @property
    def links(self) -> list[str]:
        """The targets of its links and pictures."""
        return _LINK.findall(self.prose)

    @property
    def code(self) -> list[str]:
        """Its pieces of code within sentences."""
        return _CODE.findall(self.prose)

    def blocks(self, *languages: str) -> list[str]:
        """Its blocks of code in these languages, without their indentation."""
        return [
            re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)
            for indent, language, body in _FENCE.findall(self.text)
            if language in languages
        ]

    def section(self, heading: str) -> str:
        """The text below a heading, with all of its subsections."""
        found = re.search(rf"^(#+) {re.escape(heading)}\n", self.text, re.MULTILINE)
        assert found, f"{self.name} has no heading {heading!r}"
        end = re.search(rf"^#{{1,{len(found[1])}}} ", self.text[found.end() :], re.MULTILINE)
        return self.text[found.end() :][: end.start() if end else None]


def rows(text: str) -> list[list[str]]:
    """The cells of each row of its tables, without code marks around a whole cell."""
    found = (line.strip().strip("|").split("|") for line in text.splitlines() if line[:1] == "|")
    return [[cell.strip().strip("`") for cell in row] for row in found]


@cache
def page(name: str) -> Page:
    """The page at a path of the repository."""
    return Page(PROJECT / name, (PROJECT / name).read_text("utf-8"))


@cache
def pages() -> tuple[Page, ...]:
    """All documents of the project, but those of the benchmarks, which have tests of their own."""
    found = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    return tuple(page(path.relative_to(PROJECT).as_posix()) for path in sorted(found))


def shell_lines(text: str) -> Iterator[str]:
    """The commands of a shell script, one a line; a line that ends in a backslash goes on."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def shown_commands(program: str) -> list[str]:
    """The commands of a program that the documents show, in blocks and within sentences."""
    start = re.compile(rf"(?:uv run )?({re.escape(program)} .*)")
    return [
        found[1].split("  #")[0].strip()
        for each in pages()
        for line in [*each.code, *(s for b in each.blocks("sh") for s in shell_lines(b))]
        if (found := start.match(line))
    ]


def _anchor(heading: str) -> str:
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
