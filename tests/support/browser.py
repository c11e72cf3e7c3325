"""The Chromium in which the console is tested: that of the machine, or one that is installed.

    python -m tests.support.browser

looks for one, else installs one, else fails with a sentence. `make test` does that.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# No start page, no updates, and nothing that a browser tells its maker.
QUIET = ("--disable-background-networking", "--disable-component-update", "--no-first-run")
USER_NAMESPACES = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
MISSING = (
    "There is no Chromium for the tests of the console, and none could be installed. Install "
    "Chromium or Google Chrome, then run the command again."
)


def found() -> Path | None:
    """A Chromium of this machine, or the one that Playwright has installed."""
    return next((path for path in _places() if _works(path)), None)


def launch_options() -> dict[str, object]:
    """What Playwright needs to start it. Raises `RuntimeError` if there is none."""
    path = found()
    if path is None:
        raise RuntimeError(MISSING)
    return {"executable_path": path, "args": list(QUIET), "chromium_sandbox": _has_sandbox()}


def installed() -> Path | None:
    """A Chromium that was installed just now: Playwright's own, else that of the system."""
    for command in _ways():
        sys.stdout.write(f"{' '.join(command)}\n")
        sys.stdout.flush()
        if subprocess.run(command).returncode == 0 and (path := found()):
            return path
    return None


def _places() -> Iterator[Path]:
    for name in NAMES:
        if path := shutil.which(name):
            yield Path(path)
    yield from map(Path, PLACES)
    with sync_playwright() as playwright:
        yield Path(playwright.chromium.executable_path)


def _works(path: Path) -> bool:
    """Whether it is there and starts: Ubuntu's package is a script that asks for a snap."""
    if not path.exists():
        return False
    if sys.platform == "win32":
        return True  # there, `--version` opens a window
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def _has_sandbox() -> bool:
    """Whether Chromium can confine itself: not for root, nor where the kernel forbids it."""
    if sys.platform != "linux":
        return True
    forbidden = USER_NAMESPACES.exists() and USER_NAMESPACES.read_text().strip() == "1"
    return os.geteuid() != 0 and not forbidden


def _ways() -> Iterator[list[str]]:
    yield [sys.executable, "-m", "playwright", "install", "chromium"]
    if sys.platform == "darwin" and shutil.which("brew"):
        yield ["brew", "install", "--cask", "chromium"]
    if sys.platform != "linux":
        return
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if root and not shutil.which("sudo"):
        return
    for manager, command in (
        # A new machine may not know yet which packages there are.
        ("apt-get", ["sh", "-c", "apt-get update && apt-get install -y chromium"]),
        ("dnf", ["dnf", "install", "-y", "chromium"]),
        ("apk", ["apk", "add", "chromium"]),
        ("pacman", ["pacman", "-S", "--noconfirm", "chromium"]),
    ):
        if shutil.which(manager):
            yield [*root, *command]


if __name__ == "__main__":
    if found() is None and installed() is None:
        sys.exit(MISSING)
