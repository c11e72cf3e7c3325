"""A server in the place of Venice, which answers what a test tells it to."""

import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from PIL import Image


def picture(kind: str = "PNG", colour: str = "red") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (256, 256), colour).save(buffer, kind)
    return buffer.getvalue()


PNG = picture()


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

    def never(self, _: socket.socket) -> None:
        """A reply that does not come while the test runs."""
        self.closing.wait(10)

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
    return lambda connection: connection.sendall(http(status, content, None, **headers))


def close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
