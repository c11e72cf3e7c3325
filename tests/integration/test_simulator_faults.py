"""The simulated Venice's faults, over real HTTP and as the client of the layer sees them."""

import hashlib
import io
import threading
import time
from typing import Any

import msgspec
import pytest
import requests
from PIL import Image

from image_drop.errors import Charge, ImageDropError, NoAnswerError
from image_drop.imaging.photos import Photo
from image_drop.instructions.schema import Instructions, Mode
from image_drop.venice.client import Venice
from image_drop_local.simulator import Simulator
from image_drop_local.simulator.faults import Word
from tests.support.simulator_requests import KEY, MINUTE, Clock, edit, opened, picture, remove

DEFAULT = "firered-image-edit"
PINK = Instructions(mode=Mode.EDIT, prompt="make the sky pink")
PHOTO = Photo(picture(), "image/png", 300, 260)
LOST_ANSWERS: dict[str, dict[str, Any]] = {
    "timeout": {"answer": "timeout"},
    "drop_after": {"answer": "drop_after"},
    "reset_after": {"answer": "reset_after"},
    "drop_mid": {"answer": "drop_mid"},
    "slow_head": {"answer": "slow_head", "seconds": 0.05},
    "slow_body": {"answer": "slow_body", "seconds": 0.05},
    "slow": {"answer": "slow", "seconds": 3.0},
    "html": {"answer": "html"},
    "empty": {"answer": "empty"},
    "408": {"answer": 408},
    "504": {"answer": 504},
    "524": {"answer": 524},
    "422": {"answer": 422, "charged": True},
}


def client(venice: Simulator) -> Venice:
    return Venice(venice.url, lambda: "secret-key", time.time)


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 410, 413, 415, 422, 429, 500, 502, 503]
)
def test_status_fault_answers_once_and_is_not_charged(status: int) -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(status, times=1)
        failed = edit(venice)
        assert failed.status_code == status
        assert failed.headers["CF-RAY"]
        assert failed.content
        assert edit(venice).status_code == 200
        assert [(call.status, call.paid) for call in venice.calls] == [(status, False), (200, True)]


@pytest.mark.parametrize("status", [408, 504, 524])
def test_status_of_gateway_that_stopped_waiting_is_charged(status: int) -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(status, times=1)
        assert edit(venice).status_code == status
        venice.faults.add(status, times=1, charged=False)
        assert edit(venice).status_code == status
        assert [(call.status, call.paid) for call in venice.calls] == [
            (status, True),
            (status, False),
        ]


def test_content_refusal_after_late_moderation_is_charged() -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(422, times=1)
        refusal = edit(venice)
        assert (refusal.status_code, list(refusal.json())) == (422, ["error"])
        venice.faults.add(422, times=1, charged=True)
        assert edit(venice).status_code == 422
        assert [call.charged_usd for call in venice.calls] == [0.0, 0.04]


@pytest.mark.parametrize("status", [402, 403])
def test_one_model_can_be_refused_while_account_is_well(status: int) -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(status, model="nano-banana-2-edit")
        assert edit(venice, model="nano-banana-2-edit").status_code == status
        assert edit(venice).status_code == 200
        page = requests.get(f"{venice.url}/api_keys/rate_limits", headers=KEY, timeout=10)
        assert page.json()["data"]["accessPermitted"] is True


def test_error_can_echo_key() -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(401, echo_key=True)
        assert "Bearer secret-key" in edit(venice, key="secret-key").json()["error"]
        assert "secret-key" not in str(venice.calls)


def test_429_fault_carries_wait_that_is_asked_for() -> None:
    clock = Clock(MINUTE + 0.25)
    with Simulator(clock=clock) as venice:
        venice.faults.add(429, times=1, retry_after=7)
        assert edit(venice).headers["Retry-After"] == "7"
        venice.faults.add(429, times=1, reset_after=5, reset_unit="seconds")
        bare = edit(venice)
        assert "Retry-After" not in bare.headers
        assert bare.headers["x-ratelimit-reset-requests"] == str(MINUTE + 6)
        venice.faults.add("overloaded", times=1)
        overloaded = edit(venice)
        assert (overloaded.status_code, overloaded.headers["Retry-After"]) == (429, "30")


@pytest.mark.parametrize("word", ["html", "empty", "truncated"])
def test_200_that_is_no_picture_is_charged(word: Word) -> None:
    with Simulator() as venice:
        venice.faults.add(word)
        answer = edit(venice)
        assert answer.status_code == 200
        with pytest.raises(OSError):
            Image.open(io.BytesIO(answer.content)).load()
        assert [(call.fault, call.paid) for call in venice.calls] == [(word, True)]


def test_picture_faults_change_what_they_name() -> None:
    with Simulator() as venice:
        venice.faults.add("jpeg", times=1)
        jpeg = edit(venice, output_format="png")
        assert (jpeg.headers["Content-Type"], opened(jpeg).format) == ("image/jpeg", "JPEG")
        venice.faults.add("content_violation", times=1)
        assert edit(venice).headers["x-venice-is-content-violation"] == "true"
        venice.faults.add("blurred", times=1)
        assert edit(venice).headers["x-venice-is-blurred"] == "true"


@pytest.mark.parametrize(
    ("word", "status", "paid"),
    [
        ("reset", None, False),
        ("drop", None, False),
        ("drop_after", None, True),
        ("reset_after", None, True),
        ("drop_mid", 200, True),
    ],
)
def test_dropped_connection_is_charged_once_work_is_done(
    word: Word, status: int | None, paid: bool
) -> None:
    with Simulator() as venice:
        venice.faults.add(word, times=1)
        broken = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
        with pytest.raises(broken):
            edit(venice)
        assert [(call.status, call.paid) for call in venice.calls] == [(status, paid)]
        assert edit(venice).status_code == 200


def test_held_answer_outlasts_client_and_ends_with_simulator() -> None:
    with Simulator() as venice:
        venice.faults.add("timeout")
        with pytest.raises(requests.ReadTimeout):
            edit(venice, timeout=0.2)
        assert [(call.status, call.paid) for call in venice.calls] == [(None, True)]
        stuck = threading.Thread(target=lambda: _ignore_failure(venice))
        stuck.start()
        while len(venice.calls) < 2:
            time.sleep(0.01)
        closing = time.monotonic()
    stuck.join(timeout=5)
    assert not stuck.is_alive()
    assert time.monotonic() - closing < 2


@pytest.mark.parametrize(("word", "status"), [("slow_head", None), ("slow_body", 200)])
def test_trickling_answer_never_reaches_read_timeout(word: Word, status: int | None) -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(word, seconds=0.05)
        started = time.monotonic()
        with pytest.raises(NoAnswerError):
            client(venice).edit(PINK, [PHOTO], seconds=2)
        assert 2 <= time.monotonic() - started < 4
        assert [(call.status, call.paid) for call in venice.calls] == [(status, True)]


@pytest.mark.parametrize("fault", sorted(LOST_ANSWERS))
def test_book_of_charges_has_every_charged_call(fault: Word) -> None:
    """And a client that trusts its own errors never takes a charged call for a free one."""
    with Simulator(pictures="fast") as venice:
        venice.faults.add(**LOST_ANSWERS[fault], times=1)
        with pytest.raises(ImageDropError) as caught:
            client(venice).edit(PINK, [PHOTO], seconds=1.5)
        venice.wait_until_idle()
        requests.delete(f"{venice.url.removesuffix('/api/v1')}/_simulator/calls", timeout=10)
        edit(venice)

        charges = venice.charges
        told = requests.get(f"{venice.url.removesuffix('/api/v1')}/_simulator/charges", timeout=10)
    assert caught.value.charge is not Charge.NO
    assert [(call.model, call.charged_usd) for call in charges] == [(DEFAULT, 0.04)] * 2
    assert charges[0].key_sha256 == hashlib.sha256(b"secret-key").hexdigest()
    assert len(told.json()) == 2


def _ignore_failure(venice: Simulator) -> None:
    with pytest.raises(requests.ConnectionError):
        edit(venice)


def test_slow_answer_is_late_and_right() -> None:
    with Simulator() as venice:
        venice.faults.add("slow", seconds=0.3, times=1)
        started = time.monotonic()
        assert opened(edit(venice)).format == "PNG"
        assert time.monotonic() - started >= 0.3


def test_fault_strikes_only_calls_it_names() -> None:
    with Simulator(pictures="fast") as venice:
        venice.faults.add(503, endpoint="background-remove")
        venice.faults.add(500, model="qwen-image-2-edit")
        venice.faults.add(504, prompt="dragon", times=2)
        assert edit(venice).status_code == 200
        assert remove(venice).status_code == 503
        assert edit(venice, model="qwen-image-2-edit").status_code == 500
        assert [edit(venice, prompt="a dragon!").status_code for _ in range(3)] == [504, 504, 200]
        venice.faults.clear()
        assert remove(venice).status_code == 200


def test_pages_fail_only_by_name() -> None:
    with Simulator() as venice:
        venice.faults.add(500)
        assert requests.get(f"{venice.url}/models", timeout=10).status_code == 200
        venice.faults.add(503, endpoint="rate_limits", times=1)
        page = f"{venice.url}/api_keys/rate_limits"
        assert requests.get(page, headers=KEY, timeout=10).status_code == 503
        assert requests.get(page, headers=KEY, timeout=10).status_code == 200


def test_unknown_fault_or_setting_is_named() -> None:
    with Simulator() as venice:
        with pytest.raises(msgspec.ValidationError, match="explode"):
            venice.faults.add("explode")  # type: ignore[arg-type]
        with pytest.raises(msgspec.ValidationError, match="endpont"):
            venice.faults.add(503, endpont="edit")
        with pytest.raises(msgspec.ValidationError, match="before the model"):
            venice.faults.add("reset", model="firered-image-edit")
        with pytest.raises(msgspec.ValidationError, match="limt"):
            venice.change(limt=3)
        with pytest.raises(msgspec.ValidationError, match="limit"):
            venice.change(limit=0)


def test_another_process_sets_it_up_over_http() -> None:
    with Simulator() as venice:
        control = venice.url.removesuffix("/api/v1") + "/_simulator"
        changed = requests.patch(f"{control}/settings", json={"limit": 3}, timeout=10)
        assert changed.json()["limit"] == venice.settings.limit == 3
        requests.post(f"{control}/faults", json={"answer": 503, "times": 1}, timeout=10)
        assert [edit(venice).status_code for _ in range(2)] == [503, 200]
        told = requests.get(f"{control}/calls", timeout=10).json()
        assert [call["status"] for call in told["calls"]] == [503, 200]
        assert (told["spent_usd"], told["lock_outs"]) == (0.04, 0)
        assert "a red sky" not in str(told)
        requests.delete(f"{control}/calls", timeout=10)
        assert venice.calls == []
        requests.post(f"{control}/faults", json={"answer": "empty"}, timeout=10)
        requests.delete(f"{control}/faults", timeout=10)
        assert requests.get(f"{control}/faults", timeout=10).json() == []
        for path, body in (("settings", {"limt": 3}), ("faults", {"answer": "x"}), ("faults", {})):
            send = requests.patch if path == "settings" else requests.post
            assert send(f"{control}/{path}", json=body, timeout=10).status_code == 400
        assert requests.get(f"{control}/nothing", timeout=10).status_code == 404
