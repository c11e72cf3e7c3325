"""The mode upscale: what is sent, what it costs, and what is refused before the call."""

import pytest
import requests
from PIL import Image

from image_drop_local.simulator import Simulator
from tests.support.pictures import photo, save
from tests.support.simulator_requests import KEY, PART, opened
from tests.support.stage import Stage

UPSCALE = {"mode": "upscale"}


@pytest.mark.parametrize(
    ("size", "wanted", "result", "usd"),
    [
        ((320, 260), UPSCALE, (640, 520), 0.02),
        ((320, 260), UPSCALE | {"upscale": 2.5}, (800, 650), 0.08),
        ((320, 260), UPSCALE | {"upscale": {"scale": 4, "creativity": 0}}, (1280, 1040), 0.08),
        ((2048, 2048), UPSCALE | {"upscale": 4}, (4096, 4096), 0.02),  # Venice lowers the scale
    ],
)
def test_price_is_that_of_scale_that_came_back(
    stage: Stage,
    size: tuple[int, int],
    wanted: dict[str, object],
    result: tuple[int, int],
    usd: float,
) -> None:
    assert stage.drop("a.jpg", photo(size=size), sidecar=wanted) == "edited"

    assert stage.result("a.jpg.png").size == result
    day = stage.services.billing.day(stage.clock.now())
    assert day.usd == stage.venice.calls[-1].charged_usd == usd
    assert day.calls_by_model == {"upscaler": 1}
    assert stage.metadata("a.jpg.png")["model"] == "upscaler"


def test_tag_is_enough(stage: Stage) -> None:
    tags = {"mode": "upscale", "upscale": "3"}
    assert stage.drop("a.jpg", photo(), tags=tags) == "edited"
    assert stage.result("a.jpg.png").size == (960, 780)


@pytest.mark.parametrize(("size", "code"), [((2049, 2049), "too_large"), ((90, 90), "too_small")])
def test_size_that_upscaler_refuses_is_not_sent(
    stage: Stage, size: tuple[int, int], code: str
) -> None:
    stage.drop("a.png", save(Image.new("L", size), "PNG"), sidecar=UPSCALE)
    assert stage.report("a.png")["code"] == code
    assert stage.calls == 0


def test_scale_beyond_limits_is_said_before_call(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=UPSCALE | {"upscale": 5})
    assert stage.report("a.jpg")["code"] == "invalid_value"


def test_simulator_draws_larger_picture() -> None:
    with Simulator() as venice:
        answer = requests.post(
            f"{venice.url}/image/upscale",
            headers=KEY,
            files=[PART],
            data={"scale": "3"},
            timeout=10,
        )
    assert opened(answer).size == (900, 780)
