"""The console in a real browser, against the embedded stack."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, expect

from image_drop.errors import RetriesExhaustedError
from image_drop.storage.output_bucket import REPORT_TYPE, encoded, report_key, report_on
from image_drop_cli.console.server import ConsoleServer
from image_drop_cli.deployment import Deployment
from image_drop_local.demo.photo_cases import photographs
from image_drop_local.emulator.stack import STACK_NAME, Stack
from image_drop_local.simulator import Simulator
from tests.support.browser import launch_options
from tests.support.console_page import PATIENCE, ConsolePage
from tests.support.waiting import until
from tests.support.written_results import write_results

SCREENS = Path(__file__).parent / "screens"  # for a person to look at; not committed
WIDTHS = {"phone": (360, 740), "laptop": (1280, 800), "wall": (2560, 1440)}
HOSTILE = "<img src=x onerror=alert(1)> \u202egpj.\"'&.png"
ONCE = "fails once"


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    return launch_options()


@pytest.fixture(scope="module")
def deployment(stack: Stack) -> Deployment:
    return Deployment.find(STACK_NAME, endpoint_url=stack.endpoint_url)


@pytest.fixture(scope="module", autouse=True)
def retried(deployment: Deployment, venice: Simulator, colours: "Colours") -> str:
    """A photo whose first call meets a 503; it is retried while the other tests run."""
    venice.faults.add(503, prompt=ONCE, times=1)
    key = "busy/retried.png"
    deployment.client("s3").put_object(
        Bucket=deployment.input_bucket,
        Key=key,
        Body=colours.photo(),
        Metadata={"mode": "edit", "prompt": ONCE},
    )
    return key


@pytest.fixture(scope="module")
def console(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ConsoleServer]:
    with ConsoleServer(deployment, port=0, data=tmp_path_factory.mktemp("data")) as console:
        yield console


@pytest.fixture
def window(browser: Browser, console: ConsoleServer) -> Iterator[ConsolePage]:
    with ConsolePage.opened(browser, console.address) as window:
        yield window
        assert window.troubles == []


class Colours:
    """Photos that are all different, so that none is served from another's answer."""

    def __init__(self) -> None:
        self.made = 0

    def photo(self) -> bytes:
        self.made += 1
        colour = (40 + self.made * 37 % 200, 40 + self.made * 91 % 200, 40 + self.made * 53 % 200)
        target = io.BytesIO()
        Image.new("RGB", (320, 280), colour).save(target, "PNG")
        return target.getvalue()

    def file(self, name: str) -> FilePayload:
        return {"name": name, "mimeType": "image/png", "buffer": self.photo()}


@pytest.fixture(scope="module")
def colours() -> Colours:
    return Colours()


def put(deployment: Deployment, key: str, body: bytes, **metadata: str) -> None:
    deployment.client("s3").put_object(
        Bucket=deployment.input_bucket, Key=key, Body=body, Metadata=metadata
    )


def result_of(deployment: Deployment, key: str) -> Any:
    return deployment.services.output_bucket.find_output(f"{key}.png")


def stored(deployment: Deployment, *keys: str) -> None:
    """Wait for the results of images."""
    until(lambda: all(result_of(deployment, key) for key in keys))


def loaded(window: ConsolePage, picture: Locator) -> None:
    """Wait until a picture is shown."""
    window.until(lambda: bool(picture.evaluate("each => each.naturalWidth > 0")))


def done(window: ConsolePage, name: str) -> None:
    expect(window.tile(name)).to_have_class(re.compile(r"\bresults\b"), timeout=PATIENCE)


def test_three_dropped_photos_become_three_results(
    window: ConsolePage, deployment: Deployment, venice: Simulator
) -> None:
    names = ("coffee.png", "rocket.jpg", "chelsea.png")
    before = len(venice.charges)

    window.drop(*(photographs() / name for name in names))
    assert window.find("#send").inner_text() == "Cut out 3 photos · $0.09"
    assert len(venice.charges) == before  # the price is known before anything is sent
    window.find("#send").click()

    for name in names:
        done(window, name)
        loaded(window, window.tile(name).locator("img"))
    assert len(venice.charges) == before + 3
    expect(window.find("[data-banner]")).to_contain_text("3 of 3 photos done.")


def test_unreadable_photo_is_cured_by_another_file(
    window: ConsolePage, deployment: Deployment, colours: Colours
) -> None:
    put(deployment, "cure/.image-drop.json", b'{"mode": "background-remove"}')
    put(deployment, "cure/cut-off.png", (photographs() / "coffee.png").read_bytes()[:5000])
    window.go("decide")
    group = window.find(".group", has_text="The image is damaged")
    expect(group).to_contain_text("The PNG is cut off after 5,000 bytes", timeout=PATIENCE)

    group.locator("input[type=file]").set_input_files(colours.file("other name.png"))
    agree = window.page.get_by_role("button", name="Use it · $0.03")
    agree.click()

    expect(group).to_be_hidden(timeout=PATIENCE)
    until(lambda: result_of(deployment, "cure/cut-off.png"))


def test_photos_without_instructions_get_folder_file(
    window: ConsolePage, deployment: Deployment, colours: Colours
) -> None:
    for number in range(2):
        put(deployment, f"untold/{number}.png", colours.photo())
    window.go("decide")
    group = window.find(".group", has_text="2 photos: No instructions found")
    group.get_by_role("button", name="Say what to do").click(timeout=PATIENCE)
    ask = window.find("#ask")
    expect(ask.get_by_label("Every photo in untold/, later ones too")).to_be_checked()
    ask.get_by_role("button", name="Cut out 2 photos · $0.06").click()

    stored(deployment, "untold/0.png", "untold/1.png")
    place = deployment.input_place("untold/.image-drop.json")
    written = deployment.client("s3").get_object(Bucket=place.bucket, Key=place.key)
    assert b'"background-remove"' in written["Body"].read()
    expect(group).to_be_hidden()


def test_keyboard_alone_looks_keeps_and_rejects(
    window: ConsolePage, deployment: Deployment, colours: Colours
) -> None:
    for number in range(3):
        put(deployment, f"keys/{number}.png", colours.photo(), mode="background-remove")
    window.go("look")
    window.find("#find").fill("keys/")
    window.find("#order").select_option("name")
    for number in range(3):
        done(window, f"keys/{number}.png")
    press = window.page.keyboard.press

    window.tile("keys/0.png").focus()
    press("ArrowRight")
    expect(window.tile("keys/1.png")).to_be_focused()
    press("k")
    expect(window.tile("keys/1.png")).to_contain_text("kept")
    press("Enter")
    stage = window.find("#stage")
    press("Space")
    expect(stage).to_have_class(re.compile("before"))
    press("Space")
    expect(stage).to_have_class(re.compile("after"))
    press("ArrowRight")
    expect(window.find("#viewer-name")).to_contain_text("2.png")
    press("r")
    expect(window.find("#note")).to_be_focused()
    window.page.keyboard.type("the edge is ragged")
    press("Enter")
    press("Escape")

    expect(window.tile("keys/2.png")).to_contain_text("rejected")
    window.find("[data-show=kept]").click()
    expect(window.find("button.tile")).to_have_count(1)
    window.find("[data-show=all]").click()
    window.open("keys/2.png")
    expect(window.find("#viewer-badges")).to_contain_text("the edge is ragged")


def test_slider_shows_before_left_and_after_right(window: ConsolePage) -> None:
    window.go("look")
    window.find("#find").fill("coffee")
    window.open("coffee.png")
    after = window.find("#stage img.after")
    loaded(window, after)
    for value in ("20", "80"):
        window.find("#slider").fill(value)
        clip = after.evaluate("each => getComputedStyle(each).clipPath")
        assert f"{value}%" in clip
    for back in ("white", "black", "chequer"):
        window.find(f"[data-back={back}]").click()
        expect(window.find("#stage")).to_have_class(re.compile(back))
    window.find("[data-zoom='1']").click()
    sizes = after.evaluate("each => [each.clientWidth * devicePixelRatio, each.naturalWidth]")
    assert abs(sizes[0] - sizes[1]) <= 1  # pixel for pixel


def test_another_prompt_has_its_price_on_button(
    window: ConsolePage, deployment: Deployment, colours: Colours, venice: Simulator
) -> None:
    put(deployment, "again/cup.png", colours.photo(), mode="edit", prompt="a red cup")
    window.go("look")
    window.find("#find").fill("again/")
    done(window, "again/cup.png")
    first = result_of(deployment, "again/cup.png").edit_id
    window.open("again/cup.png")
    window.page.keyboard.press("r")
    expect(window.find("#again-prompt")).to_have_value("a red cup")
    expect(window.page.get_by_role("button", name="Make it again · $0.04")).to_be_enabled()
    window.find("#again-prompt").fill("a blue cup")
    window.page.get_by_role("button", name="Make it like this · $0.04").click()

    until(lambda: result_of(deployment, "again/cup.png").edit_id != first)
    expect(window.find("#viewer-badges")).to_contain_text("cost $0.08", timeout=PATIENCE)


def test_three_are_tried_before_others(
    window: ConsolePage, colours: Colours, venice: Simulator
) -> None:
    before = len(venice.charges)
    window.drop(*(colours.file(f"try-{number}.png") for number in range(5)))
    window.find("#try-three").click()
    banner = window.find("[data-banner]", has_text="Are they good?")
    expect(banner).to_contain_text("3 of 3 photos done.", timeout=PATIENCE)
    assert len(venice.charges) == before + 3

    banner.get_by_role("button", name="Yes, go on with all 5").click()
    expect(window.find("#send")).to_have_text("Cut out all 5 photos · $0.06")
    window.find("#send").click()
    expect(window.find("[data-banner]", has_text="5 of 5 photos done.")).to_be_visible(
        timeout=PATIENCE
    )
    assert len(venice.charges) == before + 5


def test_dropped_and_pasted_pictures_wait_for_their_price(
    window: ConsolePage, colours: Colours
) -> None:
    window.drop_on_page(["one.png", "one.png"], colours.photo())
    expect(window.find("#previews li")).to_have_count(2)
    expect(window.find("#send")).to_be_enabled()
    window.find("#previews").get_by_role("button", name="Leave out one (2).png").click()
    expect(window.find("#send")).to_have_text("Cut out 1 photo · $0.03")
    window.page.evaluate(
        """bytes => {
          const clipboardData = new DataTransfer();
          const parts = [new Uint8Array(bytes)];
          clipboardData.items.add(new File(parts, "image.png", {type: "image/png"}));
          document.dispatchEvent(new ClipboardEvent("paste", {clipboardData}));
        }""",
        list(colours.photo()),
    )
    expect(window.find("#previews")).to_contain_text("pasted-1.png")


def test_form_warns_of_what_model_does_not_take(window: ConsolePage, colours: Colours) -> None:
    window.drop(colours.file("form.png"))
    window.find(".mode-edit").click()
    expect(window.find("#plan")).to_contain_text("Say how the photos should look.")
    window.find("[data-field=prompt] textarea").fill("x" * 1501)
    expect(window.find("[data-field=prompt] .help")).to_have_text("1,501 of 1,500 characters.")
    expect(window.find("#plan")).to_contain_text("1 photo cannot be edited like this")
    window.find("[data-field=model] select").select_option("nano-banana-2-edit")
    expect(window.find("[data-field=model] .help")).to_contain_text("$0.10 a photo")
    expect(window.find("#send")).to_have_text("Change 1 photo · $0.10")
    window.find("summary", has_text="Frame and file format").click()
    window.find("[data-field=preset] select").select_option("amazon")
    drawn = window.find(".preview img")
    window.until(lambda: drawn.evaluate("each => each.naturalWidth") == 2000)


def test_pause_holds_photos_until_resume(
    window: ConsolePage, deployment: Deployment, colours: Colours
) -> None:
    window.go("decide")
    window.find("#processing").get_by_role("button", name="Pause").click()
    expect(window.find("[data-banner=paused]")).to_be_visible()
    put(deployment, "paused/held.png", colours.photo(), mode="background-remove")
    window.go("look")
    window.find("#find").fill("paused/")
    expect(window.tile("paused/held.png")).to_contain_text("on its way", timeout=PATIENCE)
    window.page.get_by_role("button", name="See why").click()
    expect(window.find("#processing")).to_contain_text("Processing is paused.")

    window.find("#processing").get_by_role("button", name="Resume").click()
    expect(window.find("[data-banner=paused]")).to_be_hidden()
    put(deployment, "paused/next.png", colours.photo(), mode="background-remove")
    until(lambda: result_of(deployment, "paused/next.png"))


def test_dead_letters_are_redriven_after_their_price(
    window: ConsolePage, deployment: Deployment, colours: Colours
) -> None:
    key = "dead/photo.png"
    write_dead_letter(deployment, key)
    put(deployment, key, colours.photo())
    window.go("decide")
    window.find("#redrive").click(timeout=PATIENCE)
    place = deployment.input_place(f"{key}.json")
    assert place.key
    window.find("#ask").get_by_role("button", name="Do nothing").click()
    assert result_of(deployment, key) is None
    put(deployment, f"{key}.json", b'{"mode": "background-remove"}')
    window.find("#redrive").click()
    window.find("#ask").get_by_role("button", name=re.compile("^Retry them")).click()
    until(lambda: result_of(deployment, key))
    expect(window.find("#redrive")).to_be_hidden(timeout=PATIENCE)


def write_dead_letter(deployment: Deployment, key: str) -> None:
    services, bucket = deployment.services, deployment.input_bucket
    error = RetriesExhaustedError("The last of 13 tries failed: Venice is not available.")
    report = report_on(error, key=key, variant=None, mode=None, attempts=13, now=0.0)
    services.output_bucket.store_output(
        report_key(key, None), encoded(report), REPORT_TYPE, {"code": report.code}, None
    )
    deployment.client("sqs").send_message(
        QueueUrl=deployment.outputs["DeadLetterQueueUrl"],
        MessageBody=f'{{"bucket": "{bucket}", "key": "{key}", "retry": "again"}}',
    )


def test_two_thousand_results_are_scrolled(window: ConsolePage, deployment: Deployment) -> None:
    write_results(deployment, "many/", 2000)
    window.go("look")
    window.find("#find").fill("many/")
    window.find("#order").select_option("name")
    label = window.find("#grid li").first
    expect(label).to_have_attribute("aria-setsize", "2000", timeout=PATIENCE)
    assert window.find("#grid li").count() < 120

    window.tile("many/000000.png").focus()
    window.page.keyboard.press("End")

    expect(window.tile("many/001999.png")).to_be_focused()
    last = window.tile("many/001999.png").locator("img")
    expect(last).to_be_visible()
    loaded(window, last)
    assert window.find("#grid li").count() < 120


def test_two_windows_see_same_decision(
    window: ConsolePage, browser: Browser, console: ConsoleServer
) -> None:
    with ConsolePage.opened(browser, console.address) as other:
        for each in (window, other):
            each.go("look")
            each.find("#find").fill("coffee")
            expect(each.tile("coffee.png")).to_be_visible()
        window.tile("coffee.png").focus()
        window.page.keyboard.press("k")
        expect(other.tile("coffee.png")).to_contain_text("kept")
        other.tile("coffee.png").focus()
        other.page.keyboard.press("k")
        expect(window.tile("coffee.png")).not_to_contain_text("kept")
        assert other.troubles == []


def test_page_goes_on_when_console_is_back(
    browser: Browser, deployment: Deployment, colours: Colours, tmp_path: Path
) -> None:
    with ConsoleServer(deployment, port=0, data=tmp_path) as first:
        port = int(first.address.rpartition(":")[2].partition("/")[0])
        opened = ConsolePage.opened(browser, first.address)
        window = opened.__enter__()
        window.go("look")
    try:
        expect(window.find("[data-banner=gone]")).to_be_visible(timeout=PATIENCE)
        put(deployment, "gone/meanwhile.png", colours.photo(), mode="background-remove")
        with ConsoleServer(deployment, port=port, data=tmp_path) as second:
            assert second.address == first.address
            expect(window.find("[data-banner=gone]")).to_be_hidden(timeout=PATIENCE)
            done(window, "gone/meanwhile.png")
    finally:
        opened.__exit__(None, None, None)


def test_command_prints_address_and_ends_with_ctrl_c(stack: Stack) -> None:
    command = [sys.executable, "-m", "image_drop_cli", "console", "--port", "0", "--no-browser"]
    environment = {**os.environ, "AWS_ENDPOINT_URL": stack.endpoint_url}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = process.stdout.readline()
        assert said.startswith("The console is at http://127.0.0.1:")
        address = said.split()[-1]
        assert requests.get(address.partition("?")[0]).status_code == 401
        assert requests.get(address).status_code == 200
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert "Stopped." in rest
    assert process.returncode == 0


def test_hostile_key_is_only_text(
    window: ConsolePage, deployment: Deployment, colours: Colours
) -> None:
    put(deployment, f"hostile/{HOSTILE}", colours.photo(), prompt="<script>alert(1)</script>")
    put(deployment, f"hostile/{HOSTILE}.txt", b"<svg onload=alert(1)>", mode="background-remove")
    window.page.on("dialog", lambda dialog: window.troubles.append(dialog.message))
    window.go("look")
    window.find("#find").fill("hostile/")
    expect(window.find("button.tile.results")).to_have_count(1, timeout=PATIENCE)
    expect(window.find("button.tile.needs-you")).to_have_count(1)

    tile = window.find("button.tile.results")
    expect(tile).to_contain_text("onerror=alert(1)> \\u202egpj")  # turned around by nothing
    tile.click()
    window.find("#life-button").click()
    expect(window.find("#life")).to_contain_text("<script>alert(1)</script>")
    window.close()
    window.go("decide")
    group = window.find(".group", has_text="The file is not an image")
    expect(group).to_contain_text("onerror=alert(1)>")
    assert window.find("main img[src=x], main script, main svg[onload]").count() == 0


def test_page_of_other_origin_reaches_nothing(
    window: ConsolePage, browser: Browser, console: ConsoleServer, stack: Stack
) -> None:
    own = console.address.partition("/?")[0]
    code = """async (url) => {
      const answers = [];
      for (const options of [{}, {mode: "no-cors", method: "POST", body: "{}"}])
        answers.push(await fetch(url, {credentials: "include", ...options})
          .then((answer) => answer.type, (error) => "refused"));
      return answers;
    }"""
    page = window.page.context.new_page()  # with the cookie: this machine is one site to browsers
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status))
    with html_page() as other:
        page.goto(other)
        answers = page.evaluate(code, f"{own}/api/pause")
        page.set_content(f'<iframe src="{own}/"></iframe>')
    assert answers[0] == "refused"
    assert {403} == set(statuses[1:])
    page.close()
    expect(window.find("[data-banner=paused]")).to_be_hidden()


@contextmanager
def html_page() -> Iterator[str]:
    """Another page of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class's name
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>other</title>")

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_results_are_taken_home_with_their_list(
    window: ConsolePage, deployment: Deployment
) -> None:
    window.go("look")
    window.find("#find").fill("keys/")
    window.find("[data-show=kept]").click()
    expect(window.find("button.tile")).to_have_count(1)
    with window.page.expect_download() as coming:
        window.find("#take").click()
    with zipfile.ZipFile(coming.value.path()) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"keys/1.png.png", "manifest.csv"}
        with Image.open(io.BytesIO(archive.read("keys/1.png.png"))) as picture:
            assert picture.format == "PNG"
        rows = list(csv.DictReader(archive.read("manifest.csv").decode("utf-8-sig").splitlines()))
    assert [(row["file"], row["outcome"]) for row in rows] == [("keys/1.png", "result")]


def test_photo_that_met_503_is_retried_and_says_so(window: ConsolePage, retried: str) -> None:
    window.go("look")
    window.find("#find").fill(retried)
    expect(window.tile(retried)).to_have_class(re.compile("results"), timeout=PATIENCE)
    window.open(retried)
    window.find("#life-button").click()
    expect(window.find("#life")).to_contain_text("Venice is not available")
    expect(window.find("#life")).to_contain_text("paid $0.04")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(
    browser: Browser, console: ConsoleServer, colours: Colours, scheme: Any
) -> None:
    with ConsolePage.opened(
        browser, console.address, color_scheme=scheme, reduced_motion="reduce"
    ) as window:
        window.drop(colours.file("axe.png"))
        for part in ("Frame and file format", "Several results of each photo", "More"):
            window.find("summary", has_text=part).first.click()
        window.page.get_by_role("button", name="Add a variant").click()
        assert window.violations() == []
        window.go("look")
        expect(window.find("button.tile").first).to_be_visible()
        assert window.violations() == []
        window.find("#find").fill("coffee")
        window.open("coffee.png")
        window.page.keyboard.press("r")
        expect(window.find("#note")).to_be_focused()
        assert window.violations() == []
        window.close()
        window.go("decide")
        expect(window.find("#groups .group").first).to_be_visible()
        assert window.violations() == []


@pytest.mark.parametrize("width", WIDTHS)
def test_views_fit_into_width(
    browser: Browser, console: ConsoleServer, colours: Colours, width: str
) -> None:
    SCREENS.mkdir(exist_ok=True)
    across, down = WIDTHS[width]
    with ConsolePage.opened(
        browser, console.address, viewport={"width": across, "height": down}
    ) as window:
        window.drop(*(photographs() / name for name in ("coffee.png", "rocket.jpg", "chelsea.png")))
        shoot(window, f"drop-{width}")
        window.go("look")
        expect(window.find("button.tile img").first).to_be_visible()
        window.page.wait_for_timeout(300)
        shoot(window, f"look-{width}")
        window.find("#find").fill("coffee")
        window.open("coffee.png")
        after = window.find("#stage img.after")
        loaded(window, after)
        shoot(window, f"viewer-{width}")
        window.close()
        window.go("decide")
        expect(window.find("#charts figure").first).to_be_visible()
        shoot(window, f"decide-{width}")


def shoot(window: ConsolePage, name: str) -> None:
    """Take a picture of a view, which does not scroll sideways."""
    window.page.screenshot(path=SCREENS / f"{name}.png")
    assert window.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
