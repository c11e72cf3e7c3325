"""The wheel in an empty environment outside the checkout, as a person installs it."""

import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parents[2]
DEADLINE = 300  # seconds


def uv() -> str:
    """The uv that made this environment."""
    places = [os.environ.get("UV"), shutil.which("uv"), PROJECT / ".tools" / "bin" / "uv"]
    for place in places:
        if place and Path(place).is_file():
            return str(place)
    raise AssertionError("uv was not found: not in $UV, not on PATH, not in .tools/bin")


def run(*command: str | Path, cwd: Path = PROJECT) -> str:
    """What a command says; it has to succeed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    run(uv(), "build", "--quiet", "--wheel", "--out-dir", folder)
    [wheel] = folder.glob("*.whl")
    return wheel


def names(wheel: Path) -> list[str]:
    """The files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@dataclass(frozen=True)
class Installed:
    """An environment with nothing but the wheel and what it needs. Commands run in `folder`."""

    environment: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, wheel: Path, folder: Path, extra: str = "") -> "Installed":
        """Install a wheel with the packages that uv.lock pins, so that the cache has them."""
        environment, constraints = folder / "environment", folder / "constraints.txt"
        run(uv(), "venv", "--quiet", "--python", "3.13", environment)
        run(
            *(uv(), "export", "--quiet", "--frozen", "--all-extras", "--no-emit-project"),
            *("--no-hashes", "--output-file", constraints),
        )
        run(
            *(uv(), "pip", "install", "--quiet", "--python", environment),
            *("--constraint", constraints, f"{wheel}[{extra}]" if extra else wheel),
        )
        work = folder / "work"
        work.mkdir()
        return cls(environment, work)

    def run(
        self, *arguments: str | Path, stdin: str = "", **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run `image-drop`, with no checkout on its path."""
        environment = os.environ | {"UV": uv(), "PYTHONPATH": ""} | self.variables | variables
        return subprocess.run(
            [str(self.environment / "bin" / "image-drop"), *map(str, arguments)],
            cwd=self.folder,
            env=environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
        )
