"""A window of the console in a real browser, as a person uses it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Locator, Page, expect

from tests.support.system import MAX_WAIT

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
MISSING_PICTURE = "Failed to load resource: the server responded with a status of 404"
PATIENCE = 1000 * MAX_WAIT  # ms


class ConsolePage:
    """One window. `troubles`: what the browser complained about, such as a refused script."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        self.address = address
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.goto(address)
        expect(page.locator("#fields .modes")).to_be_visible()
        expect(page.locator("#state .words")).not_to_have_text("Connecting…")

    @classmethod
    @contextmanager
    def opened(cls, browser: Browser, address: str, **context: Any) -> Iterator[Self]:
        """A window with cookies of its own."""
        new = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | context)
        try:
            yield cls(new.new_page(), address)
        finally:
            new.close()

    def find(self, selector: str, **options: Any) -> Locator:
        return self.page.locator(selector, **options)

    def go(self, view: str) -> None:
        self.find(f"nav [data-go={view}]").click()
        expect(self.find(f"#view-{view}")).to_be_visible()

    def drop(self, *files: Path | FilePayload) -> None:
        """Choose files on the first view, and wait until their price is known."""
        self.go("drop")
        chosen: Any = list(files)
        self.find("#files").set_input_files(chosen)
        expect(self.find("#send")).to_be_enabled(timeout=PATIENCE)

    def drop_on_page(self, names: list[str], data: bytes) -> None:
        """Let go of files over the page, as from a folder of the desktop."""
        self.page.evaluate(
            """([names, bytes]) => {
              const transfer = new DataTransfer();
              for (const name of names)
                transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
              const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
              document.body.dispatchEvent(new DragEvent("drop", options));
            }""",
            [names, list(data)],
        )

    def tile(self, name: str) -> Locator:
        """The tile of an image, by the beginning of its label, which is its key."""
        return self.page.get_by_role("button", name=name, exact=False).and_(
            self.find("button.tile")
        )

    def open(self, name: str) -> None:
        self.tile(name).click()
        expect(self.find("#viewer")).to_be_visible()

    def close(self) -> None:
        self.page.keyboard.press("Escape")
        expect(self.find("#viewer")).to_be_hidden()

    def violations(self) -> list[str]:
        """What axe finds, as `rule: element`."""
        self.page.evaluate(AXE)
        found: dict[str, Any] = self.page.evaluate(
            "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES
        )
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def asked(self, path: str, **options: Any) -> Any:
        """What the page itself gets for a request."""
        code = "([path, options]) => fetch(path, options).then((answer) => answer.json())"
        return self.page.evaluate(code, [path, options])

    def until(self, probe: Callable[[], bool], timeout: float = 15.0) -> None:
        """Wait until `probe` is true, while the page goes on."""
        for _ in range(int(timeout * 20)):
            if probe():
                return
            self.page.wait_for_timeout(50)
        raise AssertionError("it did not become true")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(MISSING_PICTURE):
            self.troubles.append(json.dumps([message.type, message.text]))
