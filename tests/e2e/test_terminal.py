"""Whatever strangers call their images, the terminal shows it and does not obey it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from image_drop_cli import app
from image_drop_local.emulator.stack import Stack

# Red, clear the screen, a title, back to the beginning of the line, and an ending that reads as
# another one. No new line: in the emulator's policies, `*` stands for anything but that.
KEY = "a\x1b[31m\x9b2J\x1b]0;title\x07\rimage-drop: all done\u202egpj.exe"
SHOWN = "a\\u001b[31m\\u009b2J\\u001b]0;title\\u0007\\u000dimage-drop: all done\\u202egpj.exe"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def photo(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A broken photo with a hostile name, which is sent, and a dead letter about it."""
    path = tmp_path_factory.mktemp("photos") / KEY
    path.write_bytes(b"\xff\xd8\xff no photo")
    path.with_name(f"{KEY}.json").write_text(json.dumps({"prompt": KEY}))
    letter = json.dumps({"bucket": stack.outputs["InputBucketName"], "key": KEY})
    stack.client("sqs").send_message(
        QueueUrl=stack.outputs["DeadLetterQueueUrl"], MessageBody=letter
    )
    return path


@pytest.fixture
def run(stack: Stack, photo: Path, tmp_path: Path) -> Callable[..., str]:
    """Run a command; what it prints on both streams."""

    def run(*arguments: str) -> str:
        environment = {"AWS_ENDPOINT_URL": stack.endpoint_url, "COLUMNS": "250"}
        filled = {"PHOTO": str(photo), "OUT": str(tmp_path / "out")}
        result = CliRunner().invoke(
            app, [filled.get(each, each) for each in arguments], env=environment
        )
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.stdout + result.stderr

    return run


@pytest.mark.parametrize(
    "command",
    [
        ("put", "PHOTO", "--out", "OUT"),
        ("put", "PHOTO", "--out", "OUT", "--json"),
        ("explain", KEY),
        ("explain", KEY, "--json"),
        ("explain", KEY, "--logs"),
        ("explain", f"_layers/{KEY}", "--json"),
        ("dead", "list"),
        ("dead", "list", "--json"),
        ("dead", "show", KEY),
        ("dead", "show", KEY, "--json"),
        ("dead", "show", f"no {KEY}"),
        ("retry", f"no {KEY}"),
        ("status",),
        ("status", "--json"),
        ("retry", KEY),
        ("dead", "redrive", KEY),
        ("backfill", "start", KEY),
        ("backfill", "status"),
    ],
    ids=lambda command: " ".join(command).replace(KEY, "KEY") if command else "",
)
def test_hostile_key_is_shown_and_not_obeyed(
    run: Callable[..., str], command: tuple[str, ...]
) -> None:
    printed = run(*command)

    assert OBEYED.search(printed) is None
    if command not in (("status",), ("status", "--json"), ("retry", KEY)):  # they name no key
        assert SHOWN in printed.replace("\\r", "\\u000d")  # as JSON has it
