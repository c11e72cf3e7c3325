"""The client of Venice, over real HTTP against a server that answers what a test tells it to."""

import base64
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from copy import replace
from pathlib import Path
from typing import Any

import pytest

from image_drop.errors import (
    AccountError,
    Charge,
    ContentRefusedError,
    ImageDropError,
    LayerError,
    LockedOutError,
    MediaNotFoundError,
    NoAnswerError,
    NoSlotError,
    RateLimitedError,
    RefusedError,
    UnusableAnswerError,
    VeniceUnavailableError,
)
from image_drop.imaging.photos import Photo
from image_drop.instructions.schema import Instructions, Mode, Upscale
from image_drop.quota import Quota
from image_drop.venice.client import Account, Venice, longest_call, parameters
from image_drop_local.simulator import Simulator
from tests.support.clock import FakeClock
from tests.support.venice_server import (
    PNG,
    Reply,
    Server,
    answer,
    close,
    http,
    picture,
    reset,
)

NOW = 1_800_000_000.0
KEY = "venice-secret"
REMOVE = Instructions(mode=Mode.BACKGROUND_REMOVE)
PINK = Instructions(mode=Mode.EDIT, prompt="make the sky pink")
MULTI = Instructions(mode=Mode.MULTI_EDIT, prompt="put them together")
PHOTO = Photo(PNG, "image/png", 256, 256)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Venice:
    return made(server.url)


def made(url: str) -> Venice:
    return Venice(url, lambda: KEY, FakeClock(NOW).now)


def failure(
    client: Venice, instructions: Instructions = PINK, *, seconds: float = 5.0
) -> ImageDropError:
    with pytest.raises(ImageDropError) as caught:
        client.edit(instructions, [PHOTO], seconds=seconds)
    return caught.value


# --- what is sent ----------------------------------------------------------------------------

CHOICES: dict[str, tuple[Any, ...]] = {
    "model": (None, "gpt-image-2-edit"),
    "aspect_ratio": (None, "16:9"),
    "resolution": (None, "2K"),
    "quality": (None, "high"),
    "safe_mode": (None, False),
    "enhance_prompt": (None, True),
}
COMBINATIONS = [
    Instructions(mode=mode, prompt="make the sky pink", **dict(zip(CHOICES, values, strict=True)))
    for mode in Mode
    for values in itertools.product(*CHOICES.values())
]
PROMPTED = {"prompt", "aspect_ratio", "resolution", "safe_mode", "enhance_prompt"}
DOCUMENTED = {
    Mode.EDIT: PROMPTED | {"model", "output_format"},
    Mode.MULTI_EDIT: PROMPTED | {"modelId", "output_format", "quality"},
    Mode.BACKGROUND_REMOVE: set(),
    Mode.UPSCALE: {"scale", "creativity"},
}


def test_all_instructions_become_documented_fields_only() -> None:
    for wanted in COMBINATIONS:
        mode = wanted.mode or Mode.EDIT
        expected = {
            key: value
            for key, value in wanted.as_dict().items()
            if key in DOCUMENTED[mode] - {"model"}
        }
        if mode is Mode.UPSCALE:
            expected["scale"] = 2.0
        if wanted.model and "prompt" in DOCUMENTED[mode]:
            expected["model" if mode is Mode.EDIT else "modelId"] = wanted.model
        if wanted.resolution and "prompt" in DOCUMENTED[mode]:
            expected["output_format"] = "png"

        assert parameters(wanted) == expected
        assert set(expected) <= DOCUMENTED[mode]


@pytest.mark.parametrize("documents", ["spec", "skill"])
def test_all_instructions_are_accepted_by_both_document_versions(documents: str) -> None:
    # A resolution and a quality need a model that lists them; no other combination is impossible.
    possible = [w for w in COMBINATIONS if w.model or not (w.resolution or w.quality)]
    with Simulator(documents=documents, pictures="fast", limit=10_000) as simulator:
        client = made(simulator.url)
        for wanted in possible:
            layers = [PHOTO] if wanted.mode is Mode.MULTI_EDIT else []
            result = client.edit(wanted, [PHOTO, *layers], seconds=5)
            assert result.media_type == "image/png"  # also at 2K, where JPEG is the default
        assert {call.status for call in simulator.calls} == {200}


@pytest.mark.parametrize(
    ("wanted", "path", "fields"),
    [
        (PINK, "/image/edit", {"prompt": "make the sky pink"}),
        (REMOVE, "/image/background-remove", {}),
        (Instructions(mode=Mode.UPSCALE), "/image/upscale", {"scale": "2"}),
        (
            Instructions(mode=Mode.UPSCALE, upscale=Upscale(scale=3.5, creativity=0.02)),
            "/image/upscale",
            {"scale": "3.5", "creativity": "0.02"},
        ),
        (
            Instructions(
                mode=Mode.EDIT,
                prompt="Grüße 🌅",
                model="flux-2-max-edit",
                aspect_ratio="16:9",
                quality="high",
                safe_mode=False,
                enhance_prompt=True,
                resolution="2K",
            ),
            "/image/edit",
            {
                "prompt": "Grüße 🌅",
                "model": "flux-2-max-edit",
                "aspect_ratio": "16:9",
                "safe_mode": "false",
                "enhance_prompt": "true",
                "resolution": "2K",
                "output_format": "png",
            },
        ),
    ],
)
def test_image_is_sent_as_file_with_its_type(
    server: Server, client: Venice, wanted: Instructions, path: str, fields: dict[str, str]
) -> None:
    photo = Photo(picture("JPEG"), "image/jpeg", 256, 256)

    client.edit(wanted, [photo], seconds=5)

    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/api/v1" + path)
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    sent = dict(seen.fields())
    assert sent.pop("image")[1:] == ("image/jpeg", photo.data)
    assert sent == fields


def test_layers_follow_image_as_repeated_files(server: Server, client: Venice) -> None:
    wanted = Instructions(mode=Mode.MULTI_EDIT, prompt="x", model="m", quality="low")
    layers = [Photo(picture("PNG", colour), "image/png", 256, 256) for colour in ("blue", "green")]

    client.edit(wanted, [PHOTO, *layers], seconds=5)

    sent = server.seen[0].fields()
    texts = {name: value for name, value in sent if isinstance(value, str)}
    assert texts == {"prompt": "x", "modelId": "m", "quality": "low"}
    assert [(name, value[2]) for name, value in sent if name == "images"] == [
        ("images", photo.data) for photo in [PHOTO, *layers]
    ]


def test_layer_that_is_url_makes_request_json(server: Server, client: Venice) -> None:
    wanted = Instructions(mode=Mode.MULTI_EDIT, prompt="x", model="m", safe_mode=False)

    client.edit(wanted, [PHOTO, "https://example.com/logo.png"], seconds=5)

    seen = server.seen[0]
    assert seen.headers["Content-Type"] == "application/json"
    body = json.loads(seen.body)
    encoded, url = body.pop("images")
    assert body == {"prompt": "x", "modelId": "m", "safe_mode": False}
    assert url == "https://example.com/logo.png"
    assert base64.b64decode(encoded, validate=True) == PNG


def test_more_than_ten_files_are_refused_before_call(server: Server, client: Venice) -> None:
    client.edit(MULTI, [PHOTO] * 10, seconds=5)
    with pytest.raises(LayerError, match=r"at most 10 images .* This edit has 11"):
        client.edit(MULTI, [PHOTO] * 11, seconds=5)

    assert len(server.seen) == 1


def test_new_key_is_used_from_next_call_on(server: Server) -> None:
    keys = iter(["old", "new"])
    client = Venice(server.url, lambda: next(keys), lambda: NOW)
    client.edit(REMOVE, [PHOTO], seconds=5)
    client.edit(REMOVE, [PHOTO], seconds=5)

    assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer old", "Bearer new"]


def test_call_does_not_begin_late_because_of_its_key(server: Server) -> None:
    clock = FakeClock()

    def slow_key() -> str:
        clock.sleep(18)
        return KEY

    client = Venice(server.url, slow_key, clock.now)
    with pytest.raises(NoSlotError):
        client.edit(REMOVE, [PHOTO], seconds=5, not_after=clock.now() + 0.5)

    assert server.seen == []


def test_no_connection_is_kept_for_next_call(server: Server, client: Venice) -> None:
    # A frozen function thaws with a connection that is long dead; a call that is sent there has
    # no answer, and would count as one that may have been charged.
    client.edit(REMOVE, [PHOTO], seconds=5)

    assert server.seen[0].headers["Connection"] == "close"


def test_key_does_not_show_where_client_is_printed(client: Venice) -> None:
    assert KEY not in repr(client)
    assert "lambda" not in repr(client)


# --- good answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_type_of_answer_is_told_by_its_bytes(server: Server, client: Venice, kind: str) -> None:
    server.reply = answer(200, picture(kind), Content_Type="application/octet-stream")

    result = client.edit(PINK, [PHOTO], seconds=5)

    assert (result.data, result.media_type) == (picture(kind), f"image/{kind.lower()}")


def test_what_venice_says_beside_picture_is_read(server: Server, client: Venice) -> None:
    server.reply = answer(
        200,
        PNG,
        x_venice_model_id="firered-image-edit",
        CF_RAY="8f2a-FRA",
        x_ratelimit_limit_requests="50",
        x_venice_model_deprecation_warning="goes away on 2027-01-01",
        x_venice_is_content_violation="false",
        x_venice_is_blurred="true",
    )

    result = client.edit(PINK, [PHOTO], seconds=5)

    assert (result.model, result.request_id) == ("firered-image-edit", "8f2a-FRA")
    assert (result.quota, result.blurred) == (Quota(limit=50), True)
    assert result.deprecation == "goes away on 2027-01-01"


def test_answer_without_headers_is_one_too(client: Venice) -> None:
    result = client.edit(PINK, [PHOTO], seconds=5)

    assert (result.model, result.request_id, result.quota) == (None, None, Quota())
    assert (result.deprecation, result.blurred) == (None, False)


# --- answers that are none --------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "x_venice_is_content_violation",
        "x_venice_is_adult_model_content_violation",
        "x_venice_contains_minor",
    ],
)
@pytest.mark.parametrize("text", ["true", "True", " TRUE "])
def test_picture_that_is_marked_as_violation_is_not_used(
    server: Server, client: Venice, header: str, text: str
) -> None:
    server.reply = answer(200, PNG, **{header: text, "CF_RAY": "ray"})

    error = failure(client)

    assert type(error) is ContentRefusedError
    assert (error.status, error.request_id) == (200, "ray")
    assert error.charge is Charge.MAYBE  # no document says whether such a picture is free


@pytest.mark.parametrize(
    "body",
    [b"", b"string", b'{"images": ["iVBORw0KGgo="]}', b"<html>", b"GIF89a", b"II*\0", PNG[1:]],
)
def test_answer_that_is_no_picture_is_refused(server: Server, client: Venice, body: bytes) -> None:
    server.reply = answer(200, body, Content_Type="image/png", CF_RAY="ray")

    error = failure(client)

    assert type(error) is UnusableAnswerError
    assert error.detail == f"Venice answered {len(body):,} bytes of 'image/png'."
    assert (error.request_id, error.charge) == ("ray", Charge.YES)


def test_answer_of_more_than_50_mib_is_not_read_to_its_end(server: Server, client: Venice) -> None:
    sent = []

    def endless(connection: socket.socket) -> None:
        connection.sendall(http(200, PNG, length=10**12))
        for number in range(1000):
            connection.sendall(b"\0" * 1024 * 1024)
            sent.append(number)

    server.reply = endless

    error = failure(client)

    assert type(error) is UnusableAnswerError
    assert "52,428,800 bytes" in error.detail
    assert (error.status, error.charge) == (200, Charge.YES)
    assert len(sent) < 100


# --- no answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", [close, reset])
@pytest.mark.parametrize("first", [b"", http(200, PNG[:-100], length=len(PNG))])
def test_call_with_broken_connection_is_not_repeated(
    server: Server, client: Venice, drop: Reply, first: bytes
) -> None:
    def broken(connection: socket.socket) -> None:
        connection.sendall(first)
        drop(connection)

    server.reply = broken
    error = failure(client)

    assert (type(error), error.charge) == (NoAnswerError, Charge.MAYBE)
    assert len(server.seen) == 1  # nothing below the pipeline sends a paid call twice


def test_call_ends_within_its_time_and_that_of_client(server: Server) -> None:
    server.reply = server.never
    began = time.monotonic()

    assert type(failure(made(server.url), seconds=0.2)) is NoAnswerError
    hasty = replace(made(server.url), max_seconds=0.2)
    assert type(failure(hasty, seconds=120)) is NoAnswerError

    assert time.monotonic() - began < 3


def test_free_page_that_does_not_answer_costs_nothing(server: Server) -> None:
    server.reply = server.never
    client = replace(made(server.url), max_seconds=0.2)

    for ask in (client.account, lambda: client.models("inpaint")):
        with pytest.raises(NoAnswerError) as caught:
            ask()
        assert caught.value.charge is Charge.NO


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirection_is_not_followed(server: Server, client: Venice, status: int) -> None:
    server.reply = answer(status, Location=f"{server.url}/elsewhere")

    assert type(failure(client)) is RefusedError
    assert len(server.seen) == 1


def test_netrc_file_does_not_replace_key(
    server: Server, client: Venice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    client.edit(REMOVE, [PHOTO], seconds=5)

    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        (REMOVE, 120),
        (PINK, 120),
        (replace(PINK, enhance_prompt=True), 150),
        (replace(PINK, model="gpt-image-2-edit"), 210),
        (replace(PINK, model="gpt-image-2-edit", quality="low"), 210),  # edit has no quality
        (replace(MULTI, model="gpt-image-2-edit", quality="low"), 120),
        (replace(MULTI, quality="high"), 210),
        (replace(MULTI, model="nano-banana-pro-edit", resolution="4K"), 210),
        (replace(MULTI, model="nano-banana-pro-edit", resolution="2K"), 120),
        (replace(PINK, model="gpt-image-2-edit", resolution="4K", enhance_prompt=True), 240),
    ],
)
def test_slow_model_and_prompt_that_is_rewritten_get_more_time(
    wanted: Instructions, seconds: float
) -> None:
    assert longest_call(wanted) == seconds


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "mode", "expected"),
    [
        (422, {"error": "no"}, Mode.EDIT, ContentRefusedError),
        (422, {"error": "no"}, Mode.BACKGROUND_REMOVE, RefusedError),
        (404, {"error": "no"}, Mode.EDIT, MediaNotFoundError),
        (429, {"error": "Too many failed attempts (> 20) in ..."}, Mode.EDIT, LockedOutError),
        (503, {"error": "at capacity"}, Mode.EDIT, VeniceUnavailableError),
        (524, b"<html>A timeout occurred</html>", Mode.EDIT, NoAnswerError),
    ],
)
def test_error_is_told_by_its_status_and_endpoint(
    server: Server,
    client: Venice,
    status: int,
    body: Any,
    mode: Mode,
    expected: type[ImageDropError],
) -> None:
    server.reply = answer(status, body, CF_RAY="ray")

    error = failure(client, replace(PINK, mode=mode))

    assert (type(error), error.status, error.request_id) == (expected, status, "ray")


def test_error_that_arrives_in_pieces_is_read_to_its_end(server: Server, client: Venice) -> None:
    def pieces(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 429 Slow\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b'{"error": "Too many fai', b'led attempts"}'):
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            server.closing.wait(0.05)
        connection.sendall(b"0\r\n\r\n")

    server.reply = pieces

    assert type(failure(client)) is LockedOutError


@pytest.mark.parametrize("status", [401, 402, 400, 429, 500, 504])
def test_no_error_shows_key_that_venice_echoes(server: Server, client: Venice, status: int) -> None:
    server.reply = answer(
        status, {"error": f"The key {KEY} (Bearer {KEY}) is bad"}, CF_RAY=f"ray-{KEY}"
    )

    error = failure(client)

    assert KEY not in f"{error.detail} {error.request_id}"
    assert error.detail.startswith(f"Venice answered {status}: The key [key]")


def test_no_answer_shows_key_in_what_is_kept_of_its_headers(server: Server, client: Venice) -> None:
    server.reply = answer(200, PNG, x_venice_model_id=KEY, CF_RAY=f"a\x1b{KEY}")

    result = client.edit(PINK, [PHOTO], seconds=5)

    assert (result.model, result.request_id) == ("[key]", "a�[key]")


# --- the account and the catalogue -------------------------------------------------------------


def rate_limits(**data: Any) -> dict[str, Any]:
    return {"data": data}


def test_account_is_read_as_documented(server: Server, client: Venice) -> None:
    server.reply = answer(
        200,
        rate_limits(
            accessPermitted=True,
            apiTier={"id": "paid", "isCharged": True},
            balances={"USD": 12.5, "DIEM": 1},
            keyExpiration=None,
            rateLimits=[
                {
                    "apiModelId": "firered-image-edit",
                    "rateLimits": [{"amount": 20, "type": "RPM"}, {"amount": 9000, "type": "RPD"}],
                },
                {"apiModelId": "qwen-image-2-edit", "rateLimits": [{"amount": 50, "type": "RPM"}]},
                {"apiModelId": "boundless", "rateLimits": [{"amount": 1e308, "type": "RPM"}]},
                {"rateLimits": [{"amount": 1, "type": "RPM"}]},
            ],
        ),
    )

    assert client.account() == Account(
        access_permitted=True,
        balance=13.5,
        limits={"firered-image-edit": 20, "qwen-image-2-edit": 50},
    )
    assert (server.seen[0].method, server.seen[0].path) == ("GET", "/api/v1/api_keys/rate_limits")


@pytest.mark.parametrize("documents", ["spec", "skill"])
def test_account_of_simulator_is_read(documents: str) -> None:
    with Simulator(documents=documents, limit=33, balance_usd=5.0) as simulator:
        account = made(simulator.url).account()

    assert (account.access_permitted, account.balance) == (True, 5.0)
    assert account.limits["firered-image-edit"] == 33


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"",
        [],
        None,
        {},
        {"data": None},
        {"data": []},
        {"data": {"balances": {"USD": "much"}}},
        {"data": {"balances": [1]}},
        {"data": {"balances": {"USD": 10**400}}},
        {"data": {"rateLimits": 3}},
        {"data": {"rateLimits": [{"apiModelId": "m", "rateLimits": [{"type": "RPM"}]}]}},
        b"[" * 60_000,
    ],
)
def test_account_that_cannot_be_understood_is_no_verdict(
    server: Server, client: Venice, body: Any
) -> None:
    server.reply = answer(200, body)

    with pytest.raises(VeniceUnavailableError):
        client.account()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, AccountError),
        (403, AccountError),
        (429, RateLimitedError),
        (500, VeniceUnavailableError),
        (400, VeniceUnavailableError),
        (404, VeniceUnavailableError),
        (302, VeniceUnavailableError),
    ],
)
def test_account_that_is_refused_says_why(
    server: Server, client: Venice, status: int, expected: type[ImageDropError]
) -> None:
    server.reply = answer(status, {"error": "in words"})

    with pytest.raises(expected):
        client.account()


def test_catalogue_is_asked_by_kind(server: Server, client: Venice) -> None:
    server.reply = answer(200, {"object": "list", "data": []})

    assert client.models("inpaint") == {"object": "list", "data": []}
    assert server.seen[0].path == "/api/v1/models?type=inpaint"
