"""The machine on which the figures were measured, and the commit."""

import os
import platform
import re
import subprocess
from pathlib import Path


def described() -> str:
    """Return Python, processor, cores and the project's commit in one line."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    processor = model[1] if model else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"CPython {platform.python_version()}, {processor}, {cores} cores, commit {_commit()}"


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    measured = (":/", ":!/benchmarks/README.md", ":!/benchmarks/results")  # what a run writes
    return f"{commit} and changes" if _git("status", "--porcelain", "--", *measured) else commit


def _git(*arguments: str) -> str:
    git = ("git", "-C", str(Path(__file__).parent), *arguments)
    return subprocess.run(git, capture_output=True, text=True).stdout.strip()
