"""What the figures were measured on."""

import os
import platform
import re
from pathlib import Path


def described() -> str:
    """Python, processor and cores, in a line."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    processor = model[1] if model else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"CPython {platform.python_version()}, {processor}, {cores} cores"
