"""The rehearsal of `docs/rehearsal.md`: its commands, in their order, with the output shown there.

A `…` in an output stands for what varies: within a line for anything, as a line of its own for any
lines. What no command can do, such as Venice's failing, the page says in a comment, see `HAPPENS`.
"""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from image_drop_cli import app
from image_drop_cli.deployment import Deployment
from image_drop_cli.manifest import manifest
from image_drop_local.emulator.stack import STACK_NAME, Stack
from image_drop_local.simulator import Simulator
from tests.docs.pages import page
from tests.support.system import MAX_WAIT, System
from tests.support.waiting import until

STEP = re.compile(r"^<!-- (?P<happens>.+?) -->$|^```console\n(?P<shown>.*?)^```$", re.M | re.S)
PHOTOS = {"shop": 300, "cups": 12, "late": 3}  # as the page says
HAPPENS: dict[str, Callable[[System], object]] = {
    "Venice is down": lambda system: system.venice.faults.add(503),
    "Venice works again": lambda system: system.venice.faults.clear(),
    "the queue is empty": lambda system: until(lambda: not system.waiting(), 3 * MAX_WAIT),
}


@pytest.fixture(scope="module")
def stack(venice: Simulator) -> Iterator[Stack]:
    parameters = {"MaxFailures": "1"}
    with Stack(venice_url=venice.url, parameters=parameters, concurrency=4) as stack:
        yield stack


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The photos, each a picture of its own."""
    number = 0
    for name, count in PHOTOS.items():
        (tmp_path / name).mkdir()
        for each in range(count):
            number += 1
            colour = (number % 256, number // 256, 128)
            Image.new("RGB", (256, 256), colour).save(tmp_path / name / f"{each:03}.png")
    return tmp_path


def test_rehearsal(
    stack: Stack, venice: Simulator, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.endpoint_url)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(folders)
    system = System(stack, venice)
    for step in STEP.finditer(page("docs/rehearsal.md").text):
        if happens := step["happens"]:
            HAPPENS[happens](system)
            continue
        for command, output in commands(step["shown"]):
            told = carried_out(shlex.split(command, comments=True), monkeypatch)
            assert re.fullmatch(pattern(output), told, re.S), f"$ {command}\n{told}"

    found = manifest(Deployment.find(STACK_NAME, endpoint_url=stack.endpoint_url))
    book = [round(call.charged_usd * 1e6) for call in venice.calls]
    assert round(found.usd * 1e6) == sum(book)
    assert found.unconfirmed_usd == 0


def commands(shown: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a block, and the output shown below it."""
    for part in re.split(r"^\$ ", shown, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def carried_out(words: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Carry a command out in this process; what it printed, without idle space."""
    match words:
        case ["mv", old, new]:
            shutil.move(old, new)
        case ["cd", folder]:
            Path(folder).mkdir(exist_ok=True)
            monkeypatch.chdir(folder)
        case ["image-drop", *arguments]:
            told = CliRunner().invoke(app, arguments).output
            return "".join(f"{line.rstrip()}\n" for line in told.splitlines() if line.strip())
        case _:
            raise AssertionError(f"{words[0]} is no command of the rehearsal")
    return ""


def pattern(output: str) -> str:
    """Return the pattern of an output: `…` is anything."""
    lines = [line for line in output.splitlines() if line.strip()]
    return "".join(
        r"(?:[^\n]*\n)*?" if line == "…" else re.escape(line).replace("…", "[^\n]*?") + "\n"
        for line in lines
    )
