"""`make bench`: every benchmark, one after the other."""

import subprocess
import sys

for name in ("cold_start", "overhead", "burst"):
    print(f"\n--- benchmarks.{name}", flush=True)
    # In processes of their own: one may not leave the next a full memory.
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
