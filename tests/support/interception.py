"""An HTTP proxy before the emulator, through which something happens at a chosen request."""

import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, override
from urllib.parse import unquote, urlsplit


class Interceptor:
    """Passes all on to `endpoint_url` as it is, signatures too, and acts where `when` says so."""

    def __init__(self, endpoint_url: str) -> None:
        self.address = urlsplit(endpoint_url).netloc
        self._waiting: list[tuple[str, str, Callable[[], None]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def when(self, moment: str, path: str, action: Callable[[], None], times: int = 1) -> None:
        """Act at the next request for `path` (`/bucket/key`, not encoded), and never answer it.

        `moment`: `before GET` to let the request go nowhere, `after PUT` to keep its answer back.
        """
        self._waiting += [(moment, path, action)] * times

    def act(self, moment: str, path: str) -> bool:
        """Whether it was the moment that something waited for."""
        for waiting in self._waiting:
            if waiting[:2] == (moment, path):
                self._waiting.remove(waiting)
                waiting[2]()
                return True
        return False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(interceptor: Interceptor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        @override
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

        def _pass_on(self) -> None:
            path = unquote(self.path)
            if interceptor.act(f"before {self.command}", path):
                self.close_connection = True
                return
            status, headers, body = self._answer()
            if interceptor.act(f"after {self.command}", path):
                self.close_connection = True
                return
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(body)

        def _answer(self) -> tuple[int, list[tuple[str, str]], bytes]:
            upstream = HTTPConnection(interceptor.address)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    upstream.putheader(name, value)
            upstream.endheaders(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            answer = upstream.getresponse()
            body = answer.read()
            upstream.close()
            return answer.status, answer.getheaders(), body

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815

    return Handler
