"""`image-drop put` a few images first, and as they come into a hot folder."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from image_drop_cli import app
from image_drop_local.demo.photo_cases import photographs
from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator
from tests.support.waiting import until


def test_sample_is_shown_and_not_paid_again(
    stack: Stack, venice: Simulator, tmp_path: Path
) -> None:
    shop, out = tmp_path / "shop", tmp_path / "out"
    shop.mkdir()
    for number in range(4):
        with Image.open(photographs() / "coffee.png") as photo:
            photo.resize((320, 240 + number)).save(shop / f"{number}.png")
    command = ["put", str(shop), "--out", str(out), "--mode", "background-remove"]
    environment = {"AWS_ENDPOINT_URL": stack.endpoint_url}

    def run(*more: str, answer: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*command, *more], answer, environment)
        return result.exit_code, result.output

    stopped = run("--sample", "2", answer="n\n")
    assert "4 images: 4 calls, $0.12 (bria-bg-remover)." in stopped[1]
    assert "Go on with all of them, for about $0.12 in total? [y/N]: n" in stopped[1]
    assert (stopped[0], sum(call.paid for call in venice.calls)) == (1, 2)
    with Image.open(out / "contact-sheet.png") as sheet:
        assert sheet.width > 800

    whole = run("--sample", "2", answer="y\n")
    assert (whole[0], "2 sent, 2 already uploaded, 4 results." in whole[1]) == (0, True)
    assert sum(call.paid for call in venice.calls) == 4


def test_hot_folder_takes_what_comes_and_repeats_nothing(
    stack: Stack, venice: Simulator, tmp_path: Path
) -> None:
    hot, out = tmp_path / "hot", tmp_path / "out"
    hot.mkdir()
    (hot / ".image-drop.json").write_text('{"mode": "background-remove"}')
    shutil.copy(photographs() / "coffee.png", hot / "first.png")
    paid = sum(call.paid for call in venice.calls)
    command = [sys.executable, "-m", "image_drop_cli", "put", str(hot), "--watch"]

    def watching(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, "--out", str(out), *more],
            env={**os.environ, "AWS_ENDPOINT_URL": stack.endpoint_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with watching() as process:
        until((out / "hot" / "first.png.png").exists)
        process.send_signal(signal.SIGINT)
        assert "Waiting for new images." in process.communicate(timeout=30)[0]
        assert process.returncode == 130
    with watching("--move-done", str(hot / "done")) as process:
        until((hot / "done" / "first.png").exists)
        shutil.copy(photographs() / "rocket.jpg", hot / "second.jpg")
        until((hot / "done" / "second.jpg").exists)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert sorted(path.name for path in (out / "hot").iterdir()) == [
        "first.png.png",
        "second.jpg.png",
    ]
    assert [path.name for path in hot.iterdir() if path.is_file()] == [".image-drop.json"]
    assert sum(call.paid for call in venice.calls) == paid + 2


def test_options_that_do_not_fit_together_are_told(stack: Stack, tmp_path: Path) -> None:
    photo = shutil.copy(photographs() / "coffee.png", tmp_path / "a.png")
    for options in (
        [str(photo), "--watch"],
        [str(tmp_path), "--move-done", "done"],
        [str(tmp_path), "--sample", "2", "--no-wait"],
    ):
        environment = {"AWS_ENDPOINT_URL": stack.endpoint_url}
        assert CliRunner().invoke(app, ["put", *options], env=environment).exit_code == 2
