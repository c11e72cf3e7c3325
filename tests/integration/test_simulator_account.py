"""The simulated Venice's account, prices and headers, and the command that starts it."""

import signal
import subprocess
import sys
from typing import Any

import pytest
import requests

from image_drop_local.simulator import Simulator
from tests.support.simulator_requests import IMAGE, KEY, edit, edit_body, multi_body, remove

SIMULATOR = (sys.executable, "-m", "image_drop_local.simulator", "--port", "0")


@pytest.mark.parametrize(
    ("account", "status", "permitted"),
    [
        ("no_balance", 402, False),
        ("spend_limit", 402, True),
        ("forbidden", 403, False),
        ("bad_key", 401, None),
    ],
)
def test_account_trouble_refuses_every_call_until_it_is_over(
    account: str, status: int, permitted: bool | None
) -> None:
    with Simulator(account=account) as venice:
        assert edit(venice).status_code == status
        assert remove(venice).status_code == status
        page = requests.get(f"{venice.url}/api_keys/rate_limits", headers=KEY, timeout=10)
        if permitted is None:
            assert page.status_code == 401
        else:
            assert page.json()["data"]["accessPermitted"] is permitted
        venice.change(account="ok")
        assert edit(venice).status_code == 200
        assert [call.paid for call in venice.calls] == [False, False, False, True]


def test_account_page_tells_limits_and_balance() -> None:
    with Simulator(limit=7, balance_usd=10) as venice:
        edit(venice)
        page = requests.get(f"{venice.url}/api_keys/rate_limits", headers=KEY, timeout=10)
        data = page.json()["data"]
        assert data["balances"]["USD"] == 9.96
        limits = {row["apiModelId"]: row["rateLimits"] for row in data["rateLimits"]}
        assert limits["firered-image-edit"] == [{"amount": 7, "type": "RPM"}]
        anonymous = requests.get(f"{venice.url}/api_keys/rate_limits", timeout=10)
        assert anonymous.status_code == 402


def test_balance_falls_by_price_until_it_is_used_up() -> None:
    with Simulator(balance_usd=0.1) as venice:
        answers = [edit(venice), remove(venice), edit(venice), remove(venice), remove(venice)]
        assert [answer.status_code for answer in answers] == [200, 200, 402, 200, 402]
        balances = [answer.headers.get("x-venice-balance-usd") for answer in answers]
        assert balances == ["0.100000", "0.060000", "0.030000", "0.030000", None]


@pytest.mark.parametrize(
    ("endpoint", "body", "usd"),
    [
        ("edit", edit_body(), 0.04),
        ("edit", edit_body(enhance_prompt=True), 0.08),
        ("edit", edit_body(model="gpt-image-2-edit", resolution="4K"), 0.84),
        ("edit", edit_body(model="grok-imagine-edit"), 0.0323),
        (
            "multi-edit",
            multi_body(
                modelId="gpt-image-2-edit", quality="low", resolution="2K", images=[IMAGE, IMAGE]
            ),
            0.0392,
        ),
        ("multi-edit", multi_body(modelId="seedream-v5-pro-edit", images=[IMAGE] * 3), 0.0669),
        ("background-remove", {"json": {"image": IMAGE}}, 0.03),
    ],
)
def test_price_is_that_of_catalogue(endpoint: str, body: dict[str, Any], usd: float) -> None:
    with Simulator(pictures="fast") as venice:
        requests.post(f"{venice.url}/image/{endpoint}", headers=KEY, timeout=10, **body)
        assert [call.charged_usd for call in venice.calls] == [pytest.approx(usd)]


def test_headers_are_those_of_endpoint() -> None:
    with Simulator() as venice:
        edited, removed = edit(venice), remove(venice)
        multi = requests.post(
            f"{venice.url}/image/multi-edit", headers=KEY, timeout=10, **multi_body()
        )
    assert edited.headers["x-venice-model-id"] == "firered-image-edit"
    assert edited.headers["x-venice-model-name"] == "FireRed Edit"
    assert edited.headers["x-venice-is-content-violation"] == "false"
    assert multi.headers["x-venice-is-content-violation"] == "false"
    assert "x-venice-model-id" not in multi.headers
    assert "x-venice-is-content-violation" not in removed.headers
    rays = {answer.headers["CF-RAY"] for answer in (edited, removed, multi)}
    assert len(rays) == 3
    assert edited.headers["x-venice-version"] == "simulation"


def test_deprecated_model_says_so() -> None:
    with Simulator(deprecated={"qwen-image-2-edit": "2026-12-01"}) as venice:
        headers = edit(venice, model="qwen-image-2-edit").headers
        assert headers["x-venice-model-deprecation-date"] == "2026-12-01"
        assert headers["x-venice-deprecated-replacement"] == "firered-image-edit"
        assert "x-venice-deprecated" not in edit(venice).headers


def test_catalogue_lists_edit_models_with_limits_and_prices() -> None:
    with Simulator() as venice:
        page = requests.get(f"{venice.url}/models", params={"type": "inpaint"}, timeout=10).json()
        models = {model["id"]: model["model_spec"] for model in page["data"]}
        images = requests.get(f"{venice.url}/models", params={"type": "image"}, timeout=10).json()
        everything = requests.get(f"{venice.url}/models", timeout=10).json()
        unknown = requests.get(f"{venice.url}/models", params={"type": "bogus"}, timeout=10)
    assert (page["object"], page["type"], len(models)) == ("list", "inpaint", 27)
    assert models["firered-image-edit"]["constraints"] == {
        "aspectRatios": ["auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:3", "4:5"],
        "promptCharacterLimit": 1500,
        "combineImages": True,
        "singleImageAspectRatio": True,
    }
    gpt = models["gpt-image-2-edit"]
    assert gpt["constraints"]["maxInputImages"] == 6
    assert gpt["constraints"]["qualities"] == ["low", "medium", "high"]
    assert gpt["pricing"]["inpaint"] == {"usd": 0.34, "diem": 0.34}
    assert gpt["pricing"]["quality"]["4K"]["medium"] == {"usd": 0.22, "diem": 0.22}
    assert gpt["pricing"]["inputImages"]["additional"]["usd"] == 0.0092
    assert models["luma-uni-1-edit"]["constraints"]["combineImages"] is False
    assert [model["id"] for model in images["data"]] == ["bria-bg-remover"]
    assert len(everything["data"]) == 28
    assert unknown.status_code == 400


# The command


def test_command_prints_its_url_and_says_that_it_is_simulation() -> None:
    command = [
        sys.executable,
        "-m",
        "image_drop_local.simulator",
        "--port",
        "0",
        "--set",
        "limit=5",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, _, rest = process.stdout.readline().partition(" ")
        try:
            settings = url.removesuffix("/api/v1") + "/_simulator/settings"
            assert requests.get(settings, timeout=10).json()["limit"] == 5
            assert "simulation" in rest
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_command_names_bad_setting() -> None:
    command = [*SIMULATOR, "--set", "limt=5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "limt" in done.stderr


def test_taken_port_is_error() -> None:
    with Simulator() as venice:
        port = int(venice.url.split(":")[2].split("/")[0])
        with pytest.raises(OSError):
            Simulator(port)
