"""Text of strangers is shown on a terminal and does nothing to it."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

import image_drop_cli
from image_drop_cli.connection import Screen, fail, say, say_json
from image_drop_cli.upload.estimate import Progress
from image_drop_cli.wording import printable, time_left

# Red, clear the screen, a title, a line of its own, and an ending that reads as another one.
HOSTILE = "a\x1b[31m\x9b2J\x1b]0;title\x07\r\nimage-drop: all done\u2028\u202egpj.exe"
SHOWN = (
    "a\\u001b[31m\\u009b2J\\u001b]0;title\\u0007\\u000d\\u000aimage-drop: all done"
    "\\u2028\\u202egpj.exe"
)
OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def test_key_is_shown_with_what_is_in_it() -> None:
    assert printable(HOSTILE) == SHOWN


@pytest.mark.parametrize("text", ["größe 鞋 100%.jpg", "👩‍🎨.png", "مرحبا.jpg", "a b\\c"])
def test_ordinary_text_of_any_script_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text())
def test_nothing_of_text_is_obeyed_and_nothing_gets_lost(text: str) -> None:
    assert OBEYED.search(printable(text)) is None
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


def test_plain_output_and_failures_are_printable(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE, "second")
    with pytest.raises(BaseException, match="1"):
        fail(HOSTILE, code=1)  # type: ignore[arg-type]
    assert capsys.readouterr() == (f"{SHOWN}\nsecond\n", f"image-drop: {SHOWN}\n")


@pytest.mark.parametrize("indent", [0, 2])
def test_json_is_printable_and_means_same(capsys: pytest.CaptureFixture[str], indent: int) -> None:
    say_json({"key": HOSTILE, "path": Path("a.jpg")}, indent=indent)
    printed = capsys.readouterr().out
    assert OBEYED.search(printed.replace("\n", "")) is None
    assert json.loads(printed) == {"key": HOSTILE, "path": "a.jpg"}


def test_table_is_as_wide_as_what_it_shows() -> None:
    out = StringIO()
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    Screen(file=out, width=200).print(table)
    lines = out.getvalue().split("\n")
    assert sum(SHOWN in line for line in lines) == 4
    assert len({len(line) for line in lines if line}) == 1
    assert OBEYED.search("".join(lines)) is None


def test_why_processing_is_paused_is_told_in_one_sentence() -> None:
    assert SHOWN in time_left(Progress(paused=HOSTILE))


def test_commands_print_by_what_makes_text_printable() -> None:
    for module in Path(image_drop_cli.__file__).parent.rglob("*.py"):
        code = module.read_text()
        if module.name != "connection.py":
            assert not re.search(r"typer\.(s?echo)|(?<![\w.])print\(|\bConsole\(", code), module
