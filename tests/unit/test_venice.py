"""The client of Venice, over real HTTP against a server that answers what a test tells it to."""

import base64
import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_drop import venice
from image_drop.errors import (
    AccountError,
    ContentRefusedError,
    ImageDropError,
    LockedOutError,
    ModelNotFoundError,
    NoAnswerError,
    RateLimitedError,
    RefusedError,
    UnusableAnswerError,
    VeniceUnavailableError,
)
from image_drop.images import Photo
from image_drop.instructions import Instructions, Mode
from image_drop.venice import Account, Venice, parameters
from local.simulator import Simulator
from tests.clock import FakeClock

NOW = 1_800_000_000.0
KEY = "venice-secret"
REMOVE = Instructions(mode=Mode.BACKGROUND_REMOVE)
PINK = Instructions(mode=Mode.EDIT, prompt="make the sky pink")


def picture(kind: str = "PNG", colour: str = "red") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (256, 256), colour).save(buffer, kind)
    return buffer.getvalue()


PNG = picture()
PHOTO = Photo(PNG, "image/png", 256, 256)


# --- a server that answers what it is told to --------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    headers: Message
    body: bytes

    def fields(self) -> list[tuple[str, Any]]:
        """The fields of a multipart body in order; a file as (name, type, bytes)."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + self.body).get_payload()
        assert isinstance(parts, list)
        return [(_name(part), _content(part)) for part in parts if isinstance(part, Message)]


def _name(part: Message) -> Any:
    return part.get_param("name", header="Content-Disposition")


def _content(part: Message) -> Any:
    data = part.get_payload(decode=True)
    assert isinstance(data, bytes)
    if part.get_filename() is None:
        return data.decode()
    return part.get_filename(), part.get_content_type(), data


Reply = Callable[[socket.socket], None]


class Server(ThreadingHTTPServer):
    """Notes each request and gives each the same reply."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply: Reply = answer(200, PNG)
        self.seen: list[Seen] = []
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(Seen(self.command, self.path, self.headers, body))
        with suppress(OSError):  # the client may go away in the middle
            self.server.reply(self.connection)
        self.close_connection = True

    do_GET = do_POST  # noqa: N815  # the name is http.server's

    def log_message(self, *args: Any) -> None:
        """Nothing."""


def http(status: int, body: bytes, length: int | None = None, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Words"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    lines += [f"Content-Length: {len(body) if length is None else length}"]
    lines += ["Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


def answer(status: int, body: bytes | Any = b"", **headers: str) -> Reply:
    """Answer in one piece. A body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda connection: connection.sendall(http(status, content, **headers))


def close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


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
def client(server: Server) -> Iterator[Venice]:
    yield from _client(server.url)


def _client(url: str, read_timeout: float = 5.0) -> Iterator[Venice]:
    clock = FakeClock(NOW)
    with requests.Session() as session:
        yield Venice(url, lambda: KEY, clock.now, session, read_timeout)


def failure(client: Venice, instructions: Instructions = PINK) -> ImageDropError:
    with pytest.raises(ImageDropError) as caught:
        client.edit(instructions, [PHOTO])
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
}


def test_every_combination_of_instructions_becomes_documented_fields_and_no_others() -> None:
    for wanted in COMBINATIONS:
        mode = wanted.mode or Mode.EDIT
        expected = {
            key: value
            for key, value in wanted.as_dict().items()
            if key in DOCUMENTED[mode] - {"model"}
        }
        if wanted.model and mode is not Mode.BACKGROUND_REMOVE:
            expected["model" if mode is Mode.EDIT else "modelId"] = wanted.model
        if wanted.resolution and mode is not Mode.BACKGROUND_REMOVE:
            expected["output_format"] = "png"

        assert parameters(wanted) == expected
        assert set(expected) <= DOCUMENTED[mode]


@pytest.mark.parametrize("documents", ["spec", "skill"])
def test_every_combination_is_accepted_under_both_versions_of_the_documents(documents: str) -> None:
    # A resolution and a quality need a model that lists them; no other combination is impossible.
    possible = [w for w in COMBINATIONS if w.model or not (w.resolution or w.quality)]
    with Simulator(documents=documents, pictures="fast", limit=10_000) as simulator:
        for client in _client(simulator.url):
            for wanted in possible:
                layers = [PHOTO] if wanted.mode is Mode.MULTI_EDIT else []
                result = client.edit(wanted, [PHOTO, *layers])
                assert result.media_type == "image/png"  # also at 2K, where JPEG is the default
        assert {call.status for call in simulator.calls} == {200}


@pytest.mark.parametrize(
    ("wanted", "path", "fields"),
    [
        (PINK, "/image/edit", {"prompt": "make the sky pink"}),
        (REMOVE, "/image/background-remove", {}),
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
def test_an_image_is_sent_as_a_file_with_its_type(
    server: Server, client: Venice, wanted: Instructions, path: str, fields: dict[str, str]
) -> None:
    photo = Photo(picture("JPEG"), "image/jpeg", 256, 256)

    client.edit(wanted, [photo])

    (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/api/v1" + path)
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    sent = dict(seen.fields())
    assert sent.pop("image")[1:] == ("image/jpeg", photo.data)
    assert sent == fields


def test_layers_follow_the_image_as_repeated_files(server: Server, client: Venice) -> None:
    wanted = Instructions(mode=Mode.MULTI_EDIT, prompt="x", model="m", quality="low")
    layers = [Photo(picture("PNG", colour), "image/png", 256, 256) for colour in ("blue", "green")]

    client.edit(wanted, [PHOTO, *layers])

    sent = server.seen[0].fields()
    texts = {name: value for name, value in sent if isinstance(value, str)}
    assert texts == {"prompt": "x", "modelId": "m", "quality": "low"}
    assert [(name, value[2]) for name, value in sent if name == "images"] == [
        ("images", photo.data) for photo in [PHOTO, *layers]
    ]


def test_a_layer_that_is_a_url_makes_the_request_json(server: Server, client: Venice) -> None:
    wanted = Instructions(mode=Mode.MULTI_EDIT, prompt="x", model="m", safe_mode=False)

    client.edit(wanted, [PHOTO, "https://example.com/logo.png"])

    seen = server.seen[0]
    assert seen.headers["Content-Type"] == "application/json"
    body = json.loads(seen.body)
    encoded, url = body.pop("images")
    assert body == {"prompt": "x", "modelId": "m", "safe_mode": False}
    assert url == "https://example.com/logo.png"
    assert base64.b64decode(encoded, validate=True) == PNG


def test_a_new_key_is_used_from_the_next_call_on(server: Server) -> None:
    keys = iter(["old", "new"])
    with requests.Session() as session:
        client = Venice(server.url, lambda: next(keys), lambda: NOW, session)
        client.edit(REMOVE, [PHOTO])
        client.edit(REMOVE, [PHOTO])

    assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer old", "Bearer new"]


def test_no_connection_is_kept_for_the_next_call(server: Server, client: Venice) -> None:
    # A frozen function thaws with a connection that is long dead; a call that is sent there has
    # no answer, and would count as one that may have been charged.
    client.edit(REMOVE, [PHOTO])

    assert server.seen[0].headers["Connection"] == "close"


def test_the_key_does_not_show_where_a_client_is_printed(client: Venice) -> None:
    assert KEY not in repr(client)
    assert "lambda" not in repr(client)


# --- good answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_type_of_an_answer_is_told_by_its_bytes(
    server: Server, client: Venice, kind: str
) -> None:
    server.reply = answer(200, picture(kind), Content_Type="application/octet-stream")

    result = client.edit(PINK, [PHOTO])

    assert (result.data, result.media_type) == (picture(kind), f"image/{kind.lower()}")


def test_what_venice_says_beside_the_picture_is_read(server: Server, client: Venice) -> None:
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

    result = client.edit(PINK, [PHOTO])

    assert (result.model, result.request_id) == ("firered-image-edit", "8f2a-FRA")
    assert (result.rate_limit, result.blurred) == (50, True)
    assert result.deprecation == "goes away on 2027-01-01"


def test_an_answer_without_headers_is_one_too(client: Venice) -> None:
    result = client.edit(PINK, [PHOTO])

    assert (result.model, result.request_id, result.rate_limit) == (None, None, None)
    assert (result.deprecation, result.blurred) == (None, False)


@pytest.mark.parametrize(
    ("text", "limit"),
    [("20", 20), ("0", None), ("", None), ("-1", None), ("many", None), ("2.5", None), ("٢", None)],
)
def test_a_limit_is_a_positive_whole_number_or_not_known(text: str, limit: int | None) -> None:
    assert venice.rate_limit({"x-ratelimit-limit-requests": text}) == limit


@given(st.text(max_size=20) | st.integers().map(str) | st.just("9" * 5000))
def test_whatever_stands_in_the_limit_is_no_harm(text: str) -> None:
    limit = venice.rate_limit({"x-ratelimit-limit-requests": text})

    assert limit is None or 1 <= limit < 1_000_000


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
def test_a_picture_that_is_marked_as_a_violation_is_not_used(
    server: Server, client: Venice, header: str, text: str
) -> None:
    server.reply = answer(200, PNG, **{header: text, "CF_RAY": "ray"})

    error = failure(client)

    assert type(error) is ContentRefusedError
    assert (error.status, error.request_id) == (200, "ray")


@pytest.mark.parametrize(
    "body",
    [b"", b"string", b'{"images": ["iVBORw0KGgo="]}', b"<html>", b"GIF89a", b"II*\0", PNG[1:]],
)
def test_an_answer_that_is_no_picture_is_refused(
    server: Server, client: Venice, body: bytes
) -> None:
    server.reply = answer(200, body, Content_Type="image/png", CF_RAY="ray")

    error = failure(client)

    assert type(error) is UnusableAnswerError
    assert error.detail == f"Venice answered {len(body):,} bytes of 'image/png'."
    assert error.request_id == "ray"


def test_an_answer_of_more_than_50_mib_is_not_read_to_its_end(
    server: Server, client: Venice
) -> None:
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
    assert len(sent) < 100


# --- no answer ---------------------------------------------------------------------------------


def test_a_refused_connection_was_not_charged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    for client in _client(f"http://127.0.0.1:{port}"):
        assert type(failure(client)) is VeniceUnavailableError


@pytest.mark.parametrize("drop", [close, reset])
def test_a_connection_dropped_before_the_answer_is_tried_again(
    server: Server, client: Venice, drop: Reply
) -> None:
    server.reply = drop

    assert type(failure(client)) is VeniceUnavailableError
    assert len(server.seen) == 1  # nothing below the pipeline sends a paid call twice


@pytest.mark.parametrize("drop", [close, reset])
def test_a_connection_dropped_within_the_answer_may_have_been_charged(
    server: Server, client: Venice, drop: Reply
) -> None:
    def half(connection: socket.socket) -> None:
        connection.sendall(http(200, PNG[:-100], length=len(PNG)))
        drop(connection)

    server.reply = half

    assert type(failure(client)) is NoAnswerError
    assert len(server.seen) == 1


def _silence(server: Server, first: bytes) -> Reply:
    def reply(connection: socket.socket) -> None:
        connection.sendall(first)
        server.closing.wait(10)

    return reply


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", http(200, PNG[:50], length=9999)])
def test_a_server_that_falls_silent_may_have_charged(server: Server, first: bytes) -> None:
    server.reply = _silence(server, first)
    began = time.monotonic()

    for client in _client(server.url, read_timeout=0.2):
        assert type(failure(client)) is NoAnswerError

    assert time.monotonic() - began < 5
    assert len(server.seen) == 1


def test_a_prompt_that_is_rewritten_first_gets_more_time(server: Server) -> None:
    def late(connection: socket.socket) -> None:
        server.closing.wait(0.3)
        connection.sendall(http(200, PNG))

    server.reply = late
    enhanced = Instructions(mode=Mode.EDIT, prompt="x", enhance_prompt=True)

    for client in _client(server.url, read_timeout=0.1):
        assert type(failure(client)) is NoAnswerError
        assert client.edit(enhanced, [PHOTO]).data == PNG


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_is_not_followed(server: Server, client: Venice, status: int) -> None:
    server.reply = answer(status, Location=f"{server.url}/elsewhere")

    assert type(failure(client)) is RefusedError
    assert len(server.seen) == 1


# --- errors in words ---------------------------------------------------------------------------

WORDS: list[tuple[Any, str]] = [
    ({"error": "in words"}, "in words"),
    (
        {
            "error": "Invalid request parameters",
            "details": {"_errors": [], "prompt": {"_errors": ["String must not be empty"]}},
        },
        "Invalid request parameters; prompt: String must not be empty",
    ),
    (
        {"error": "Invalid", "details": {"_errors": ["Unrecognized key(s) in object: 'quality'"]}},
        "Invalid; Unrecognized key(s) in object: 'quality'",
    ),
    ({"error": "Invalid", "issues": [{"message": "Too small"}]}, "Invalid; Too small"),
    ({"error": "Invalid", "details": "the image is 100x100"}, "Invalid; the image is 100x100"),
    ({"error": {"message": "no such model", "type": "t", "code": "c"}}, "no such model"),
    ({"error": "in words", "request_id": "abc"}, "in words"),
    ({"code": "PAYLOAD_TOO_LARGE", "error": "too much"}, "too much"),
    ({"error": "no", "suggested_prompt": "a cat"}, "no; Venice suggests: a cat"),
    ({"customMessage": "Wait a little"}, "Wait a little"),
    ({"message": "in words"}, "in words"),
    ({"error": "same", "details": "same"}, "same"),
    ({"error": "two\nlines\x1b[31m"}, "two lines [31m"),
    ({"error": "x" * 2000}, "x" * 500),
]
SILENT: list[Any] = [
    {"x402Version": 1, "accepts": [], "authOptions": {}},
    {},
    [],
    "text",
    None,
    b"",
    b"<html><h1>502 Bad Gateway</h1></html>",
    b'{"error": "cut',
    b"\xff\xfe",
    b"[" * 60_000,
]


@pytest.mark.parametrize(("body", "words"), WORDS)
def test_every_shape_of_an_error_is_put_into_words(
    server: Server, client: Venice, body: Any, words: str
) -> None:
    server.reply = answer(400, body)

    assert failure(client).detail == f"Venice answered 400: {words}"


@pytest.mark.parametrize("body", SILENT)
def test_an_error_without_words_is_told_by_its_status(
    server: Server, client: Venice, body: Any
) -> None:
    server.reply = answer(503, body, Content_Type="text/html")

    assert failure(client).detail == "Venice answered 503."


def test_an_error_that_arrives_in_pieces_is_read_to_its_end(server: Server, client: Venice) -> None:
    def pieces(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 429 Slow\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b'{"error": "Too many fai', b'led attempts"}'):
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            server.closing.wait(0.05)
        connection.sendall(b"0\r\n\r\n")

    server.reply = pieces

    assert type(failure(client)) is LockedOutError


def test_an_error_whose_words_break_off_is_still_told_by_its_status(
    server: Server, client: Venice
) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(http(402, b'{"error": "Insuf', length=100))
        close(connection)

    server.reply = cut

    assert type(failure(client)) is AccountError


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "details", "_errors", "issues", "suggested_prompt"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(body=JSON, status=st.sampled_from([400, 401, 404, 422, 429, 500]))
def test_no_error_is_of_a_shape_that_breaks_the_client(body: Any, status: int) -> None:
    response = requests.Response()
    response.status_code = status
    response.raw = BytesIO(json.dumps(body).encode())

    error = venice.error_for(response, NOW)

    assert error.status == status
    assert error.detail.startswith(f"Venice answered {status}")
    assert error.detail.isprintable()


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (422, {"error": "no", "code": "CONTENT_POLICY_VIOLATION"}, {}, ContentRefusedError),
        (400, {"error": {"code": "CONTENT_POLICY_VIOLATION"}}, {}, ContentRefusedError),
        (422, {}, {"x_venice_is_content_violation": "true"}, ContentRefusedError),
        (422, {"error": "no", "code": "IMAGE_TOO_LARGE"}, {}, RefusedError),
        (404, {"error": "Specified model not found"}, {}, ModelNotFoundError),
        (410, {"error": "retired"}, {}, ModelNotFoundError),
        (429, {"error": "Too many failed attempts (> 20) resulting in ..."}, {}, LockedOutError),
        (429, {"error": {"message": "TOO MANY FAILED ATTEMPTS"}}, {}, LockedOutError),
        (429, {"error": "Rate limit exceeded"}, {}, RateLimitedError),
        (503, {"error": "Too many failed attempts"}, {}, VeniceUnavailableError),
    ],
)
def test_refusals_are_told_apart(
    server: Server,
    client: Venice,
    status: int,
    body: Any,
    headers: dict[str, str],
    expected: type[ImageDropError],
) -> None:
    server.reply = answer(status, body, **headers)

    assert type(failure(client)) is expected


# --- when to come back -------------------------------------------------------------------------

DATE = "Fri, 15 Jan 2027 08:00:30 GMT"  # NOW + 30 s


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7),
        ({"Retry_After": "0"}, 0),
        ({"Retry_After": DATE}, 30),
        ({"Retry_After": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
        ({"Retry_After": "86400"}, 120),
        ({"Retry_After": "9" * 400}, 120),
        ({"Retry_After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 120),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "1.5"}, None),
        ({"x_ratelimit_reset_requests": f"{NOW + 40:.0f}"}, 40),
        ({"x_ratelimit_reset_requests": f"{(NOW + 40) * 1000:.0f}"}, 40),
        ({"x_ratelimit_reset_requests": "40"}, 40),
        ({"x_ratelimit_reset_requests": "0.5"}, 0.5),
        ({"x_ratelimit_reset_requests": f"{NOW - 40:.0f}"}, 0),
        ({"x_ratelimit_reset_requests": f"{NOW + 9999:.0f}"}, 120),
        ({"x_ratelimit_reset_requests": f"{(NOW + 9999) * 1000:.0f}"}, 120),
        ({"x_ratelimit_reset_requests": "9999"}, 120),
        ({"x_ratelimit_reset_requests": "-1"}, None),
        ({"x_ratelimit_reset_requests": "nan"}, None),
        ({"x_ratelimit_reset_requests": "inf"}, None),
        ({"x_ratelimit_reset_requests": "soon"}, None),
        ({"Retry_After": "7", "x_ratelimit_reset_requests": "40"}, 7),
        ({"Retry_After": "soon", "x_ratelimit_reset_requests": "40"}, 40),
    ],
)
def test_venices_time_is_read_in_every_form_and_not_believed_beyond_two_minutes(
    server: Server, client: Venice, headers: dict[str, str], wait: float | None
) -> None:
    server.reply = answer(429, {"error": "Rate limit"}, **headers)

    error = failure(client)

    assert type(error) is RateLimitedError
    if wait is None:
        assert error.retry_at is None
    else:
        assert error.retry_at == pytest.approx(NOW + wait, abs=0.001)


@given(st.text(max_size=40) | st.floats().map(str) | st.integers().map(str))
def test_whatever_stands_for_a_time_is_none_or_within_two_minutes(text: str) -> None:
    response = requests.Response()
    response.status_code, response.raw = 503, BytesIO()
    response.headers["Retry-After"] = text

    for at in (venice.reset_at(text, NOW), venice.error_for(response, NOW).retry_at):
        assert at is None or NOW <= at <= NOW + 120


@pytest.mark.parametrize("year", [1, 1900, 1969, 9999])
@pytest.mark.parametrize("zone", ["GMT", "+2359", "-2359", "-0000", ""])
def test_a_date_at_the_ends_of_the_calendar_is_a_date(year: int, zone: str) -> None:
    response = requests.Response()
    response.status_code, response.raw = 503, BytesIO()
    response.headers["Retry-After"] = f"Mon, 01 Jan {year:04} 00:00:00 {zone}"

    at = venice.error_for(response, NOW).retry_at

    assert at is None or NOW <= at <= NOW + 120


def test_a_lock_out_lasts_half_a_minute_whatever_the_headers_say(
    server: Server, client: Venice
) -> None:
    server.reply = answer(429, {"error": "Too many failed attempts"}, Retry_After="1")

    at = failure(client).retry_at

    assert at is not None
    assert NOW + 30 < at < NOW + 40


def test_a_429_names_the_limit_and_a_503_its_time(server: Server, client: Venice) -> None:
    server.reply = answer(429, {}, x_ratelimit_limit_requests="50")
    limited = failure(client)
    server.reply = answer(503, {}, Retry_After="9")
    unavailable = failure(client)

    assert isinstance(limited, RateLimitedError)
    assert limited.limit == 50
    assert unavailable.retry_at == NOW + 9


# --- the account and the catalogue -------------------------------------------------------------


def rate_limits(**data: Any) -> dict[str, Any]:
    return {"data": data}


def test_the_account_is_read_as_documented(server: Server, client: Venice) -> None:
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
def test_the_account_of_the_simulator_is_read(documents: str) -> None:
    with Simulator(documents=documents, limit=33, balance_usd=5.0) as simulator:
        for client in _client(simulator.url):
            account = client.account()

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
        {"data": {"rateLimits": 3}},
        {"data": {"rateLimits": [{"apiModelId": "m", "rateLimits": [{"type": "RPM"}]}]}},
        b"[" * 60_000,
    ],
)
def test_an_account_that_cannot_be_understood_is_no_verdict(
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
    ],
)
def test_an_account_that_is_refused_says_why(
    server: Server, client: Venice, status: int, expected: type[ImageDropError]
) -> None:
    server.reply = answer(status, {"error": "in words"})

    with pytest.raises(expected):
        client.account()


def test_the_catalogue_is_asked_by_kind(server: Server, client: Venice) -> None:
    server.reply = answer(200, {"object": "list", "data": []})

    assert client.models("inpaint") == {"object": "list", "data": []}
    assert server.seen[0].path == "/api/v1/models?type=inpaint"
