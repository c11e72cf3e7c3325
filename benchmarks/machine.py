"""The machine on which the figures were measured."""

import os
import platform
import re
from pathlib import Path


def described() -> str:
    """Return Python, processor and cores in one line."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    processor = model[1] if model else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"CPython {platform.python_version()}, {processor}, {cores} cores"
