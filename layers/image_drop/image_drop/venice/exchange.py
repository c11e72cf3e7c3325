"""One HTTP request: a deadline for the whole of it, and whether it may have been sent.

Both decide about money. A read timeout is no deadline: it starts again with every packet. And
requests raises the same `ConnectionError` for a refused connection and for one that broke after
the request had arrived. So a thread of its own makes the request and the caller waits for it, and
the connection itself reports when it is established (TLS included): until then no byte of the
request has left, from then on nobody can tell how much has arrived.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, override

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from image_drop.errors import ImageDropError, NoAnswerError, VeniceUnavailableError

CONNECT_TIMEOUT = 10.0  # seconds, for each address of the host
MAX_ANSWER_BYTES = 50 * 1024 * 1024
PIECE = 65_536  # bytes that an answer is read by: each is in memory besides what has been read
MAX_ERROR_BYTES = 65_536  # of an error's body; what explains anything is far shorter


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; of a body beyond `MAX_ANSWER_BYTES` (200) or `MAX_ERROR_BYTES`, a part."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # looked up in any case
    body: bytes = field(default=b"", repr=False)


def exchange(method: str, url: str, seconds: float, **request: Any) -> Reply:
    """Make one request, without redirects and repetitions, that ends within `seconds`.

    `request`: what `requests.request` takes besides. Raises `VeniceUnavailableError` where nothing
    was sent, and `NoAnswerError` where something may have been and no whole answer came. An answer
    that is an error counts as whole as soon as its status is there.
    """
    if seconds <= 0:
        raise VeniceUnavailableError("No time was left to call Venice.")
    attempt = _Attempt(seconds)
    ended: SimpleQueue[Reply | BaseException] = SimpleQueue()
    Thread(
        target=lambda: ended.put(_outcome(attempt, method, url, request)),
        name="venice",
        daemon=True,
    ).start()
    try:
        outcome = ended.get(timeout=seconds)
    except Empty:
        return attempt.give_up()
    if isinstance(outcome, Reply):
        return outcome
    raise attempt.meaning_of(outcome)


class _Attempt:
    """What two threads know of one request: the one that makes it and the one that waits."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.refusal: Reply | None = None  # an error without its words, as soon as it is there
        self._lock = Lock()
        self._connection: socket.socket | None = None
        self._given_up = False

    def connected(self, connection: socket.socket) -> None:
        """Note that the request is about to be sent. Raises `TimeoutError` where it is too late."""
        with self._lock:
            if self._given_up:
                raise TimeoutError
            self._connection = connection
        connection.settimeout(self.seconds)  # until now it was the one for connecting

    def give_up(self) -> Reply:
        """End the request, wherever it is: from now on nothing is sent any more."""
        with self._lock:
            self._given_up = True
        if self._connection is None:
            raise VeniceUnavailableError(f"No connection to Venice within {self.seconds:g} s.")
        # On a copy, beneath TLS: shut down by its own method, a TLS socket would let the other
        # thread go on in the clear.
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as bare:
            bare.shutdown(socket.SHUT_RDWR)
        if self.refusal:
            return self.refusal
        raise NoAnswerError(f"No whole answer from Venice within {self.seconds:g} s.")

    def meaning_of(self, error: BaseException) -> BaseException:
        """What a failed request means: after the connection, that it may have arrived."""
        if isinstance(error, ImageDropError) or not isinstance(error, Exception):
            return error
        if self._connection:
            meaning: Exception = NoAnswerError("The connection broke before Venice's whole answer.")
        elif isinstance(error, (OSError, HTTPError)):
            meaning = VeniceUnavailableError(f"No connection to Venice: {_reason(error)}.")
        else:
            return error
        meaning.__cause__ = error
        return meaning


def _outcome(attempt: _Attempt, method: str, url: str, request: Mapping[str, Any]) -> Any:
    try:
        with _Session() as session:
            for scheme in ("https://", "http://"):
                session.mount(scheme, _Adapter(attempt))
            with session.request(
                method,
                url,
                timeout=(min(CONNECT_TIMEOUT, attempt.seconds), attempt.seconds),
                stream=True,
                **request,
            ) as response:
                return _read(response, attempt)
    except BaseException as error:  # for the thread that waits, whatever it is
        return error


def _read(response: requests.Response, attempt: _Attempt) -> Reply:
    reply = Reply(response.status_code, response.headers)
    if reply.status == 200:
        return replace(reply, body=_body(response, MAX_ANSWER_BYTES))
    attempt.refusal = reply
    with suppress(OSError, HTTPError):  # the status says enough
        return replace(reply, body=_body(response, MAX_ERROR_BYTES))
    return reply


def _body(response: requests.Response, most: int) -> bytes:
    body = BytesIO()  # hands its buffer out; a bytearray would be copied
    for chunk in response.iter_content(PIECE):
        body.write(chunk)
        if body.tell() > most:
            break
    return body.getvalue()


class _Session(requests.Session):
    @override
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow none: a POST would become a GET, and the body be read without a limit."""


class _Adapter(HTTPAdapter):
    """The connections of one attempt."""

    def __init__(self, attempt: _Attempt) -> None:
        self._attempt = attempt
        super().__init__()

    @override
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _reporting(pool.ConnectionCls, self._attempt)
        return pool


def _reporting(kind: Any, attempt: _Attempt) -> type[HTTPConnection]:
    class Reporting(kind):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            attempt.connected(self.sock)

    return Reporting


def _reason(error: Exception) -> str:
    """The class of what went wrong below requests, for example `NameResolutionError`."""
    cause = error.args[0] if error.args else error
    return type(getattr(cause, "reason", None) or cause).__name__
