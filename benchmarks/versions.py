"""Versions of Image Drop that are measured beside each other: this one and the first."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parent.parent
FIRST = "7d3c9dfa696d148a29a5915629c5b2d1402ae0cc"


@dataclass(frozen=True)
class Version:
    """A checkout with its environment. `emulator`: the module that runs the embedded stack."""

    folder: Path
    python: Path
    emulator: str


THIS = Version(PROJECT, Path(sys.executable), "image_drop_local.emulator")


def first(folder: Path) -> Version:
    """Unpack the first version into this folder and install what its lock names.

    Raise `CalledProcessError` without git, the network, or the history of this repository.
    """
    archive = subprocess.run(
        ["git", "-C", PROJECT, "archive", FIRST], stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    environment = {name: text for name, text in os.environ.items() if name != "VIRTUAL_ENV"}
    uv = os.environ.get("UV", "uv")
    if "/" in uv:
        uv = str((PROJECT / uv).resolve())
    sync = [uv, "sync", "--frozen", "--quiet"]
    subprocess.run(sync, cwd=folder, env=environment, check=True)
    return Version(folder, folder / ".venv/bin/python", "local.serve")
