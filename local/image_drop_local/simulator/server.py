"""The HTTP edge of the simulator: sockets, threads, and answers that are cut short."""

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, override

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from image_drop_local.same_machine import refusal
from image_drop_local.simulator import control
from image_drop_local.simulator.answers import Answer
from image_drop_local.simulator.api import PREFIX, Api
from image_drop_local.simulator.calls import Call
from image_drop_local.simulator.faults import Faults
from image_drop_local.simulator.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOST = "127.0.0.1"
BACKLOG = 1024  # connections that may wait to be accepted when a thousand functions call at once
ABOUT = b"This is Image Drop's simulation of the Venice API. Nothing here reaches Venice.\n"


class Simulator:
    """A simulated Venice on 127.0.0.1, served by threads of this process while the context is open.

    `port` 0 takes a free one; raises `OSError` if the port is taken. `clock` gives seconds since
    1970. Other keywords are fields of `Settings`; raises `msgspec.ValidationError` for a bad one.

        with Simulator(limit=5, window=2.0) as venice:
            venice.faults.add(503, endpoint="edit", times=1)
            requests.post(f"{venice.url}/image/edit", ...)
            assert [call.status for call in venice.calls] == [503]
    """

    def __init__(
        self, port: int = 0, *, clock: Callable[[], float] = time.time, **settings: Any
    ) -> None:
        self._closing = Event()
        self._api = Api(Settings().changed(settings), clock, self._closing.wait)
        listener = socket.create_server((HOST, port), backlog=BACKLOG)
        try:
            self._server = make_server(
                HOST,
                port,
                self._application,
                threaded=True,
                request_handler=_QuietHandler,
                fd=listener.fileno(),
            )
        finally:
            listener.close()  # the server has its own copy of the socket
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        """Base URL of the API, as `VENICE_BASE_URL` wants it."""
        return f"http://{HOST}:{self._server.port}{PREFIX}"

    @property
    def calls(self) -> list[Call]:
        """What was asked so far, in the order in which it was answered."""
        return self._api.calls.snapshot()

    @property
    def charges(self) -> list[Call]:
        """The book of charges: also calls whose answer was lost, and those forgotten in `calls`."""
        return self._api.calls.charges()

    def wait_until_idle(self, seconds: float = 10.0) -> None:
        """Wait until no call is in progress; its client may have gone. Raise `TimeoutError`."""
        if not self._api.calls.wait_until_idle(seconds):
            raise TimeoutError(f"A call is still worked on after {seconds:g} s")

    @property
    def faults(self) -> Faults:
        return self._api.faults

    @property
    def settings(self) -> Settings:
        return self._api.settings

    @property
    def lock_outs(self) -> int:
        """How often a key was locked out."""
        return self._api.lock_out.begun

    def change(self, **settings: Any) -> None:
        """Change some settings from the next request on."""
        self._api.settings = self._api.settings.changed(settings)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _application(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        connection: socket.socket = environ["werkzeug.socket"]
        with Request(environ) as http:  # closes the uploaded files
            answer = self._answer(http)
        if answer.delivery == "held":
            self._hold(connection, answer.hold)
        if answer.delivery == "reset":
            _reset(connection)
        if answer.delivery in ("held", "none"):
            _drop(connection)
        response = Response(answer.body, answer.status, content_type=answer.content_type)
        response.headers.update(answer.headers)
        if answer.delivery == "slow_head":
            for byte in self._slowly(_head(response), connection, answer.hold):
                connection.sendall(byte)
            _drop(connection)
        body = response(environ, start_response)
        if answer.delivery == "slow_body":
            return self._slowly(answer.body, connection, answer.hold)
        return _half(answer.body, connection) if answer.delivery == "half" else body

    def _answer(self, http: Request) -> Answer:
        if reason := refusal(http.headers.items()):
            body = f"{reason}\n".encode()
            return Answer(status=403, body=body, content_type="text/plain; charset=utf-8")
        if http.path.startswith(control.PREFIX):
            return control.answer(http, self._api)
        if http.path == "/":
            return Answer(body=ABOUT, content_type="text/plain; charset=utf-8")
        return self._api.answer(http)

    def _slowly(self, data: bytes, connection: socket.socket, seconds: float) -> Iterator[bytes]:
        """Yield a byte every `seconds`, until the client has gone or the simulator closes."""
        for place in range(len(data)):
            yield data[place : place + 1]
            if self._closing.wait(seconds) or _has_gone(connection):
                _drop(connection)

    def _hold(self, connection: socket.socket, seconds: float) -> None:
        """Wait until the time is over, the client has gone, or the simulator closes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._closing.wait(0.05):
            if _has_gone(connection):
                return


class _QuietHandler(WSGIRequestHandler):
    @override
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write no access log, because the calls are recorded."""


def _has_gone(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _half(body: bytes, connection: socket.socket) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    _drop(connection)


def _head(response: Response) -> bytes:
    lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {text}" for name, text in response.headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _reset(connection: socket.socket) -> None:
    """Close the connection with a reset; discard what was not read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # `close` would wait for the server's own file on it
    raise ConnectionResetError("reset on purpose")


def _drop(connection: socket.socket) -> None:
    """Close the connection; the server treats the error as a client that has gone."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError("dropped on purpose")
