"""The console in a real browser: how soon a result is seen, and how smoothly 100,000 are scrolled.

    python -m benchmarks.console

The embedded stack runs on this machine, and its Venice answers at once. A long task is what keeps
the browser from drawing for more than 50 ms (https://www.w3.org/TR/longtasks-1/). Writes the
section of `README.md`.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from benchmarks import machine, page
from image_drop_cli.console.server import ConsoleServer
from image_drop_cli.deployment import Deployment
from image_drop_cli.wording import counted
from image_drop_local.emulator.stack import STACK_NAME, Stack
from image_drop_local.simulator import Simulator
from tests.support.browser import launch_options
from tests.support.written_results import write_results

DROPS = 7
RESULTS = 100_000
SCREENS = 120  # scrolled by the wheel
JUMPS = 12  # to places that were not on the screen before
OBSERVE = """() => {
  window.tasks = [];
  new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((e) => e.duration)))
    .observe({ type: "longtask" });
}"""


@dataclass(frozen=True)
class Scrolling:
    """What scrolling meant for the browser.

    `tasks`: long ones, in milliseconds. `elements`: tiles in the document, at most.
    """

    tasks: tuple[float, ...]
    elements: int


def main() -> None:
    """Measure both, and write them down."""
    with opened() as (deployment, window):
        seconds = [first_tile(window, number) for number in range(DROPS)]
        write_results(deployment, "many/", RESULTS)
        found = scrolling(window)
    longest = f", the longest {max(found.tasks):.0f} ms" if found.tasks else ""
    tasks = counted(len(found.tasks), "task")
    page.put(
        "console",
        f"""## The console

One photo is dropped on the page, and sent as soon as its price is known. From the click on the
button, its result is in the gallery after **{statistics.median(seconds):.1f} s** (median of
{DROPS}; {min(seconds):.1f} to {max(seconds):.1f} s), with a Venice that answers at once.

With {RESULTS:,} results, {SCREENS} screens were scrolled by the wheel, then {JUMPS} times to
another part of the gallery. The browser had **{tasks} over 50 ms**{longest}.
At most {found.elements} tiles were in the document.

`python -m benchmarks.console`; {machine.described()}.""",
    )


@contextmanager
def opened() -> Iterator[tuple[Deployment, Page]]:
    """Yield the embedded stack and a window of its console."""
    with (
        Simulator(limit=1000, pictures="fast") as venice,
        Stack(venice_url=venice.url, concurrency=6) as stack,
        tempfile.TemporaryDirectory() as data,
    ):
        deployment = Deployment.find(STACK_NAME, endpoint_url=stack.endpoint_url)
        with (
            ConsoleServer(deployment, port=0, data=Path(data)) as console,
            sync_playwright() as started,
        ):
            options: Any = launch_options()
            browser = started.chromium.launch(**options)
            window = browser.new_page(viewport={"width": 1280, "height": 900})
            window.goto(console.address)
            window.locator("#fields .modes").wait_for()
            yield deployment, window
            browser.close()


def first_tile(window: Page, number: int) -> float:
    """Return the seconds from the click that sends a photo to its picture in the gallery."""
    window.locator("nav [data-go=drop]").click()
    name = f"drop-{number}.png"
    window.locator("#files").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": photo(number)}
    )
    send = window.locator("#send:not([disabled])")
    send.wait_for()
    began = time.monotonic()
    send.click()
    tile = window.locator("button.tile.results", has_text=name).locator("img")
    tile.wait_for()
    window.wait_for_function("image => image.naturalWidth > 0", arg=tile.element_handle())
    return time.monotonic() - began


def photo(number: int) -> bytes:
    """Return a photo that no other drop has."""
    target = io.BytesIO()
    Image.new("RGB", (1600, 1200), (20 + 30 * number, 90, 120)).save(target, "PNG")
    return target.getvalue()


def scrolling(window: Page) -> Scrolling:
    """Scroll through all results, and return what that meant."""
    window.locator("nav [data-go=look]").click()
    window.locator("#find").fill("many/")
    whole = f"#grid li[aria-setsize='{RESULTS}']"
    window.locator(whole).first.wait_for(timeout=600_000)
    window.evaluate(OBSERVE)
    window.mouse.move(600, 500)
    for _ in range(SCREENS):
        window.mouse.wheel(0, 800)
        window.wait_for_timeout(30)
    elements = 0
    for number in range(JUMPS):
        window.evaluate(
            "part => window.scrollTo(0, part * document.body.scrollHeight)",
            0.5 + (1 if number % 2 else -1) * (number + 1) / (2 * JUMPS + 2),
        )
        window.wait_for_timeout(1500)
        elements = max(elements, window.locator("#grid li").count())
    return Scrolling(tuple(window.evaluate("window.tasks")), elements)


if __name__ == "__main__":
    main()
