"""`make bench`: every benchmark, one after the other."""

import subprocess
import sys

from benchmarks import machine, page

for name in ("cold_start", "overhead", "burst", "limits", "sharing", "million", "console"):
    print(f"\n--- benchmarks.{name}", flush=True)
    # In processes of their own: one may not leave the next a full memory.
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)

page.put("commit", f"Measured with {machine.described()}, unless a section says otherwise.")
