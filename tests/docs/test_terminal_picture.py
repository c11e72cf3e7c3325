"""The picture of the demo's terminal."""

import xml.etree.ElementTree as ET
from pathlib import Path

from rich.table import Table

from image_drop_local.demo import terminal_picture


def test_picture_shows_what_terminal_showed(tmp_path: Path) -> None:
    console = terminal_picture.recording_console()
    table = Table("photo", "result")
    table.add_row("a & b.jpg", "[red]refused[/]")
    console.print(table)
    picture = tmp_path / "terminal.svg"

    terminal_picture.save(console, picture, "make demo")

    root = ET.parse(picture).getroot()
    shown = "".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ")
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    for text in ("make demo", "photo", "a & b.jpg", "refused"):
        assert text in shown
    assert "https:" not in picture.read_text("utf-8")


def test_recording_console_shows_no_states_of_progress_bar() -> None:
    assert not terminal_picture.recording_console().is_interactive
