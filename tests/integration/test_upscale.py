"""The mode upscale: what is sent, what it costs, and what is refused before the call."""

from typing import Literal

import pytest
import requests
from PIL import Image

from image_drop_local.simulator import Simulator
from tests.support.pictures import photo, save
from tests.support.simulator_requests import KEY, PART, opened
from tests.support.stage import Stage

UPSCALE = {"mode": "upscale"}


def test_price_is_that_of_scale_that_came_back(stage: Stage) -> None:
    four: dict[str, object] = {**UPSCALE, "upscale": {"scale": 4, "creativity": 0}}
    cases: list[tuple[tuple[int, int], dict[str, object], tuple[int, int], float]] = [
        ((320, 260), {**UPSCALE}, (640, 520), 0.02),
        ((320, 260), {**UPSCALE, "upscale": 2.5}, (800, 650), 0.08),
        ((320, 260), four, (1280, 1040), 0.08),
        ((2048, 2048), four, (4096, 4096), 0.02),  # Venice lowers the scale
    ]
    spent = 0.0
    for number, (size, wanted, result, usd) in enumerate(cases):
        key = f"{number}.jpg"
        assert stage.drop(key, photo(size=size), sidecar=wanted) == "edited"
        assert stage.result(f"{key}.png").size == result
        assert stage.venice.calls[-1].charged_usd == usd
        day, spent = stage.services.billing.day(stage.clock.now()), round(spent + usd, 6)
        assert day.usd == spent
    assert day.calls_by_model == {"upscaler": 4}
    assert stage.metadata("0.jpg.png")["model"] == "upscaler"


def test_tag_is_enough(stage: Stage) -> None:
    tags = {"mode": "upscale", "upscale": "3"}
    assert stage.drop("a.jpg", photo(), tags=tags) == "edited"
    assert stage.result("a.jpg.png").size == (960, 780)


@pytest.mark.parametrize("kind", ["truncated", "html"])
def test_useless_answer_costs_what_was_asked_for(
    stage: Stage, kind: Literal["truncated", "html"]
) -> None:
    stage.venice.faults.add(kind, times=1)
    stage.drop("a.jpg", photo(), sidecar=UPSCALE | {"upscale": 4})
    assert stage.report("a.jpg")["code"] == "unusable_answer"
    day = stage.services.billing.day(stage.clock.now())
    assert (day.usd, day.unconfirmed_usd) == (0.08, 0.0)


def test_what_upscaler_refuses_is_said_before_call(stage: Stage) -> None:
    for size, code in ((2049, "too_large"), (90, "too_small")):
        key = f"{size}.png"
        stage.drop(key, save(Image.new("L", (size, size)), "PNG"), sidecar=UPSCALE)
        assert stage.report(key)["code"] == code
    stage.drop("a.jpg", photo(), sidecar=UPSCALE | {"upscale": 5})
    assert stage.report("a.jpg")["code"] == "invalid_value"
    assert stage.calls == 0


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
