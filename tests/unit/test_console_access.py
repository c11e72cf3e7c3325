"""Who may use the console: only the browser with the token, and no other page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from image_drop_cli.console.access import Access
from image_drop_cli.console.application import application
from image_drop_cli.console.server import workspace_for
from image_drop_cli.console.workspace import Workspace, shown_plan
from image_drop_cli.upload.plan import Plan
from tests.support.quiet_stack import QuietStack, quiet_stack

PORT = 4580
OWN = f"http://127.0.0.1:{PORT}"
FOREIGN = [
    {"Origin": "https://attacker.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": f"https://127.0.0.1:{PORT}"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Host": f"attacker.example:{PORT}"},  # DNS rebinding
    {"Host": "127.0.0.1"},
]
PAID = ["retry", "rewrite", "redrive", "backfill", "accept", "plan", "pause", "resume", "limit"]


@pytest.fixture
def stack(
    aws: None, boto_client: Any, input_bucket: str, output_bucket: str, table: str
) -> QuietStack:
    return quiet_stack(boto_client)


@pytest.fixture
def workspace(stack: QuietStack, tmp_path: Path) -> Iterator[Workspace]:
    with workspace_for(stack.deployment, tmp_path) as workspace:
        yield workspace


@pytest.fixture
def access() -> Access:
    return Access("a-token", PORT)


@pytest.fixture
def stranger(workspace: Workspace, access: Access) -> TestClient:
    return TestClient(application(workspace, access), OWN, follow_redirects=False)


@pytest.fixture
def friend(stranger: TestClient, access: Access) -> TestClient:
    assert stranger.get(access.address.removeprefix(OWN)).status_code == 200
    return stranger


def test_address_gives_strict_cookie_that_scripts_cannot_read(
    stranger: TestClient, access: Access
) -> None:
    answer = stranger.get(access.address.removeprefix(OWN))
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert "a-token" not in answer.text
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("query", ["", "?token=", "?token=another"])
def test_nothing_is_told_without_token(stranger: TestClient, query: str) -> None:
    for path in ("/", "/look", "/api/tiles", "/api/events", "/static/main.js"):
        answer = stranger.get(path + query)
        assert answer.status_code == 401
        assert "whole address" in answer.text


def test_wrong_cookie_opens_nothing(stranger: TestClient) -> None:
    for cookie in (f"image-drop-{PORT}=wrong", "image-drop-1=a-token", "\x00;;=", "é"):
        answer = stranger.get("/", headers=[(b"Cookie", cookie.encode("latin-1"))])
        assert answer.status_code == 401


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_foreign_page_reads_nothing(friend: TestClient, headers: dict[str, str]) -> None:
    for path in ("/", "/api/tiles", "/api/picture?file=x"):
        assert friend.get(path, headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [*FOREIGN, {}], ids=str)
def test_foreign_page_changes_nothing(friend: TestClient, headers: dict[str, str]) -> None:
    """Neither does a request that does not say where it comes from."""
    for path in PAID:
        answer = friend.post(f"/api/{path}", headers=headers, content=b"{}")
        assert answer.status_code == 403


def test_nothing_that_costs_is_done_on_get(friend: TestClient) -> None:
    for path in PAID:
        assert friend.get(f"/api/{path}").status_code == 405


def test_every_answer_has_strict_headers(friend: TestClient) -> None:
    for path in ("/", "/api/tiles", "/static/base.css", "/nothing"):
        headers = friend.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_page_has_no_script_or_style_of_its_own(friend: TestClient) -> None:
    page = friend.get("/").text
    assert page.count("<script") == page.count('<script type="module" src="/static/') == 1
    assert "<style" not in page
    assert " style=" not in page
    assert re.findall(r"\son\w+=", page) == []


def test_dropped_file_stays_in_its_folder(friend: TestClient, tmp_path: Path) -> None:
    own = {"Origin": OWN}
    drop = friend.post("/api/drops", headers=own, content=b"{}").json()["drop"]
    for name in ("../x.png", "/etc/x.png", "a/../../x.png", "", "a//b.png", "a/./b.png", "x\0.png"):
        place = {"drop": drop, "name": name}
        answer = friend.put("/api/files", params=place, headers=own, content=b"bytes")
        assert answer.status_code == 400
    assert list(tmp_path.rglob("x.png")) == []


def test_offer_is_carried_out_once(
    friend: TestClient, stack: QuietStack, workspace: Workspace
) -> None:
    own = {"Origin": OWN}
    stack.s3.put_object(Bucket=stack.deployment.input_bucket, Key="a.png", Body=b"-")
    offer = friend.post("/api/backfill", headers=own, json={"prefix": ""}).json()
    assert workspace.deployment.services.scans.current() is None  # only said so far

    first, second = (
        friend.post("/api/accept", headers=own, json={"offer": offer["offer"]}) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (200, 409)
    scan = workspace.deployment.services.scans.current()
    assert scan
    assert scan.running


def test_hostile_keys_are_answered_without_html(friend: TestClient) -> None:
    keys = ("<script>alert(1)</script>", "../../etc/passwd", "\u202egpj.x", "'; --", "a" * 3000)
    for path in ("picture", "thumbnail", "explain", "report"):
        for key in keys:
            answer = friend.get(f"/api/{path}", params={"file": key})
            assert answer.headers["content-type"] == "application/json", answer.text
            assert answer.status_code in (200, 404)


def test_broken_requests_are_answered_with_sentence(friend: TestClient) -> None:
    for content in (b"[", b"null", b'{"images": 5}', b"\xff"):
        answer = friend.post("/api/retry", headers={"Origin": OWN}, content=content)
        assert answer.status_code == 400
        assert answer.json()["problem"].startswith("The request cannot be read")
    assert friend.get("/api/tiles?show=nonsense").status_code == 400
    assert friend.get("/api/tiles?first=x").status_code == 400


def test_price_on_page_counts_enlargements() -> None:
    plan = Plan(2, 0, 2, 4.0, (), None, None, None, "", (), enlargements=2, enlarging_usd=1.5)
    shown = shown_plan(plan)
    assert (shown["at_most"], shown["ask"]) == (5.5, True)
