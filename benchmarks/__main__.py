"""`make bench`: every benchmark, one after the other."""

import subprocess
import sys
from pathlib import Path

from benchmarks import machine, page

PROJECT = Path(__file__).parent.parent

described = ("git", "-C", PROJECT, "describe", "--always", "--dirty", "--exclude=*")
commit = subprocess.run(described, capture_output=True, text=True).stdout.strip()

for name in ("cold_start", "overhead", "burst", "limits", "sharing", "million", "console"):
    print(f"\n--- benchmarks.{name}", flush=True)
    # In processes of their own: one may not leave the next a full memory.
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)

page.put("commit", f"Measured at commit {commit or 'unknown'}; {machine.described()}.")
