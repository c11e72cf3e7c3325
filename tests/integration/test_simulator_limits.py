"""The simulated Venice's limits and lock-outs, over real HTTP."""

import time

import requests

from image_drop_local.simulator import Simulator
from tests.support.simulator_requests import KEY, LAYER, MINUTE, PLAIN, Clock, edit, remove


def test_call_beyond_limit_is_refused_until_window_ends() -> None:
    clock = Clock(MINUTE + 10)
    with Simulator(limit=2, clock=clock) as venice:
        assert [edit(venice).status_code for _ in range(3)] == [200, 200, 429]
        clock.now = MINUTE + 59.9
        refused = edit(venice)
        assert refused.status_code == 429
        assert refused.headers["x-ratelimit-limit-requests"] == "2"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.headers["x-ratelimit-reset-requests"] == str((MINUTE + 60) * 1000)
        assert refused.headers["x-ratelimit-type"] == "RPM"
        assert "Retry-After" not in refused.headers
        clock.now = MINUTE + 60
        assert edit(venice).headers["x-ratelimit-remaining-requests"] == "1"
        assert [call.refused for call in venice.calls] == [
            None,
            None,
            "rate_limit",
            "rate_limit",
            None,
        ]
        assert sum(call.paid for call in venice.calls) == 3


def test_sliding_window_refuses_what_fixed_one_lets_through() -> None:
    for kind, expected in (("fixed", 200), ("sliding", 429)):
        clock = Clock(MINUTE + 58)
        with Simulator(limit=2, window_kind=kind, clock=clock) as venice:
            assert [edit(venice).status_code for _ in range(2)] == [200, 200]
            clock.now = MINUTE + 61
            assert edit(venice).status_code == expected
            clock.now = MINUTE + 58 + 60.5
            assert edit(venice).status_code == 200


def test_reset_in_seconds_and_retry_after_are_switches() -> None:
    clock = Clock(MINUTE + 12)
    with Simulator(limit=1, reset_unit="seconds", retry_after=True, clock=clock) as venice:
        edit(venice)
        refused = edit(venice)
        assert refused.headers["x-ratelimit-reset-requests"] == str(MINUTE + 60)
        assert refused.headers["Retry-After"] == "48"


def test_each_model_has_its_own_limit() -> None:
    with Simulator(limit=1, clock=Clock(MINUTE)) as venice:
        assert edit(venice).status_code == 200
        assert edit(venice).status_code == 429
        assert edit(venice, model="qwen-image-2-edit").status_code == 200
        assert remove(venice).status_code == 200


def test_short_window_frees_limit_in_real_time() -> None:
    with Simulator(limit=1, window=0.3, window_kind="sliding") as venice:
        assert edit(venice).status_code == 200
        assert edit(venice).status_code == 429
        time.sleep(0.35)
        assert edit(venice).status_code == 200


def test_over_twenty_failures_lock_key_out_for_thirty_seconds() -> None:
    clock = Clock(MINUTE)
    with Simulator(clock=clock, pictures="fast") as venice:
        assert {edit(venice, prompt="").status_code for _ in range(21)} == {400}
        refused = edit(venice)
        assert refused.status_code == 429
        assert refused.json()["error"] == (
            "Too many failed attempts (> 20) resulting in a non-success status code. "
            "Please wait 30s and try again."
        )
        assert edit(venice, key="another").status_code == 200
        clock.now = MINUTE + 29.9
        assert edit(venice).status_code == 429
        clock.now = MINUTE + 30
        assert edit(venice).status_code == 200
        assert venice.lock_outs == 1
        assert [call.refused for call in venice.calls].count("lock_out") == 2


def test_twenty_failures_or_slower_ones_lock_nobody_out() -> None:
    clock = Clock(MINUTE)
    with Simulator(clock=clock, pictures="fast") as venice:
        for _ in range(40):
            edit(venice, prompt="")
            clock.now += 1.5  # 20 in 30 s
        assert edit(venice).status_code == 200
        assert venice.lock_outs == 0


def test_refused_calls_lock_key_out_only_if_switched_on() -> None:
    for counts in (False, True):
        with Simulator(
            limit=1, lockout_counts_429=counts, clock=Clock(MINUTE), pictures="fast"
        ) as venice:
            for _ in range(23):
                edit(venice)
            assert venice.lock_outs == counts
            assert edit(venice, key="another").json()["error"] == "Rate limit exceeded"


def test_server_errors_lock_nobody_out() -> None:
    with Simulator(limit=100, pictures="fast") as venice:
        venice.faults.add(503, times=25)
        assert {edit(venice).status_code for _ in range(25)} == {503}
        assert edit(venice).status_code == 200


def test_newer_documents_do_not_count_failures_before_budget() -> None:
    for documents, lock_outs in (("spec", 1), ("skill", 0)):
        with Simulator(documents=documents, lockout_failures=3) as venice:
            for _ in range(4):
                requests.post(f"{venice.url}/image/edit", timeout=10, **PLAIN)
            assert venice.lock_outs == lock_outs


def test_newer_documents_show_error_budget() -> None:
    with Simulator(documents="skill", clock=Clock(MINUTE)) as venice:
        assert edit(venice).headers["x-ratelimit-remaining"] == "20"
        spoilt = edit(venice, prompt="")
        assert spoilt.headers["x-ratelimit-remaining"] == "19"
        assert spoilt.headers["x-ratelimit-resets"] == str((MINUTE + 30) * 1000)
        venice.change(documents="spec")
        assert "x-ratelimit-remaining" not in edit(venice).headers


def test_unknown_form_part_is_refused_only_by_stricter_documents() -> None:
    for documents, status in (("spec", 400), ("skill", 200)):
        with Simulator(documents=documents) as venice:
            answer = requests.post(
                f"{venice.url}/image/multi-edit",
                headers=KEY,
                data={"prompt": "red", "model": "firered-image-edit"},
                files=[LAYER],
                timeout=10,
            )
            assert answer.status_code == status
