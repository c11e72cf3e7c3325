"""Programs on this machine are heard; pages in a browser are not."""

import pytest
import requests

from image_drop_local.same_machine import refusal
from image_drop_local.simulator import Simulator

ORIGIN = "http://localhost:3000"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:4566",
        "localhost:4566",
        "LocalHost",
        "[::1]:4566",
        "bucket.localhost:4566",
        "bucket.s3.localhost",
        "my-bucket.s3.us-east-1.localhost:4566",
    ],
)
def test_program_that_names_this_machine_is_heard(host: str) -> None:
    assert refusal([("Host", host), ("User-Agent", "Boto3")]) is None


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example:4566",  # DNS rebinding
        "127.0.0.1.attacker.example",
        "localhost.attacker.example",
        "attacker.example#localhost",
        "notlocalhost",
        "192.168.0.7:4566",
        "127.0.0.1, attacker.example",
        "",
    ],
)
def test_another_name_of_this_machine_is_refused(host: str) -> None:
    assert "Host" in (refusal([("host", host)]) or "")


def test_request_without_one_host_is_refused() -> None:
    assert refusal([]) is not None
    assert refusal([("host", "localhost"), ("host", "localhost")]) is not None


@pytest.mark.parametrize("origin", ["https://attacker.example", "null", ORIGIN, ""])
def test_page_is_refused_whatever_its_origin(origin: str) -> None:
    assert "Origin" in (refusal([("host", "localhost"), ("origin", origin)]) or "")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", ""])
def test_request_that_page_caused_is_refused(site: str) -> None:
    assert "Sec-Fetch-Site" in (
        refusal([("host", "localhost"), ("Sec-Fetch-Site", site)], ORIGIN) or ""
    )


def test_address_that_person_typed_is_answered() -> None:
    assert refusal([("host", "localhost"), ("sec-fetch-site", "none")]) is None


def test_allowed_origin_is_heard_and_no_other() -> None:
    host = ("host", "localhost:4566")
    page = [host, ("origin", ORIGIN), ("sec-fetch-site", "same-site")]
    assert refusal(page, ORIGIN) is None
    for other in ("http://localhost:30000", "http://localhost", "https://localhost:3000", "null"):
        assert refusal([host, ("origin", other)], ORIGIN) is not None
    assert refusal([*page, ("origin", "null")], ORIGIN) is not None
    assert refusal([("host", "attacker.example"), ("origin", ORIGIN)], ORIGIN) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "attacker.example"},
    ],
)
def test_simulated_venice_does_not_answer_pages(headers: dict[str, str]) -> None:
    with Simulator() as venice:
        for path in ("/models", "/image/edit"):
            answer = requests.request(
                "GET" if path == "/models" else "POST", venice.url + path, headers=headers
            )
            assert answer.status_code == 403
            assert "Access-Control-Allow-Origin" not in answer.headers
        assert venice.calls == []
        assert requests.get(f"{venice.url}/models").status_code != 403
