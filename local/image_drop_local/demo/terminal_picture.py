"""A picture of what a terminal showed, as SVG: `make demo SVG=docs/demo-terminal.svg`."""

from pathlib import Path

from rich.console import Console

WIDTH = 120  # columns, so that no name in the demo's table is folded

# Rich's own form, without the fonts that it fetches from another host: a page that shows the
# picture fetches nothing, and each text is set to its width in whatever font there is.
FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
text {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.{unique_id}-matrix {{ font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def recording_console() -> Console:
    """Return a console that remembers what it shows, without a progress bar's many states."""
    return Console(highlight=False, width=WIDTH, record=True, force_interactive=False)


def save(console: Console, path: Path, title: str) -> None:
    """Write what a recording console has shown. Raises `OSError`."""
    picture = console.export_svg(title=title, code_format=FORMAT, unique_id="demo")
    path.write_text(picture, encoding="utf-8")
