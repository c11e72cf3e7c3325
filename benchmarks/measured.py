"""What a process costs: CPU seconds, user and system together, and its highest resident memory.

    python -m benchmarks.measured MODULE:FUNCTION [ARGUMENT…]   one call, above the imports
    python -m benchmarks.measured --whole COMMAND…              a whole process, from outside

Prints one line of JSON. Linux only, for its `/proc`. CPU time, unlike time on the clock, hardly
depends on what else the machine is doing. This module imports the standard library only: Linux
counts the memory of a process that starts another as the other's, so it has to be the smaller one.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def call(target: str, *arguments: str) -> dict[str, float]:
    """Import the module, let its `set_up` run if it has one, then call its function and measure it.

    `cpu` includes finished children. `peak` is bytes above what was resident before the call;
    `children_peak` is that of the largest child. What the function answers is added.
    """
    name, _, function = target.partition(":")
    module = import_module(name)
    work = getattr(module, function)
    getattr(module, "set_up", _nothing)(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark becomes what is resident
    resident, cpu, began = _memory("VmRSS"), _cpu(), time.monotonic()
    answer = work(*arguments) or {}
    return {
        **answer,
        "cpu": _cpu() - cpu,
        "wall": time.monotonic() - began,
        "peak": _memory("VmHWM") - resident,
        "whole_peak": _memory("VmHWM"),
        "children_peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
    }


def whole(*command: str) -> dict[str, float]:
    """Run a command and measure it as the kernel does. Raise `RuntimeError` when it fails."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    return {
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - began,
        "peak": usage.ru_maxrss * 1024,
    }


def run(
    *arguments: str,
    environment: Mapping[str, str],
    one_core: bool = False,
    python: str = sys.executable,
    project: Path = PROJECT,
) -> dict[str, float]:
    """Run this module with these arguments in a separate process; return the figures it prints.

    `python` and `project`: of another version, whose module of this name runs then.

    Raise `CalledProcessError` when it fails.
    """
    process = subprocess.run(
        [python, "-m", "benchmarks.measured", *arguments],
        cwd=project,
        env=dict(environment),
        stdout=subprocess.PIPE,
        check=True,
        preexec_fn=_stay_on_one_core if one_core else None,
    )
    figures: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return figures


def _nothing(*_: str) -> None:
    pass


def _stay_on_one_core() -> None:
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


def _cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _memory(name: str) -> int:
    """Return a figure of `/proc/self/status` in bytes; the file has units of 1,024."""
    [kilobytes] = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


if __name__ == "__main__":
    if sys.argv[1] == "--whole":
        print(json.dumps(whole(*sys.argv[2:])))
    else:
        print(json.dumps(call(*sys.argv[1:])))
