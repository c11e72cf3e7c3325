"""One HTTP request: with a deadline for all of it, and whether it may have been sent.

Both decide about money. A read timeout is not a deadline, because it starts again with every
packet. And requests raises the same `ConnectionError` for a refused connection and for one that
broke after the request had arrived. So a separate thread makes the request while the caller waits,
and the connection reports when it is established, TLS included. Until then no byte of the request
has been sent. From then on, nobody can know how much has arrived.
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
PIECE = 65_536  # bytes of an answer read at a time, in memory in addition to what was read
MAX_ERROR_BYTES = 65_536  # of an error's body; explanations are far shorter


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; of a body beyond `MAX_ANSWER_BYTES` (200) or `MAX_ERROR_BYTES`, a part."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in any case
    body: bytes = field(default=b"", repr=False)


def exchange(method: str, url: str, seconds: float, **request: Any) -> Reply:
    """Make one request that ends within `seconds`, without redirects or retries.

    `request`: further arguments of `requests.request`. Raise `VeniceUnavailableError` when nothing
    was sent, `NoAnswerError` when something may have been sent but no whole answer came. An error
    answer counts as whole as soon as its status is there.
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
    """The state of one request, shared by the thread that makes it and the one that waits."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.refusal: Reply | None = None  # an error answer without its body, once it is there
        self._lock = Lock()
        self._connection: socket.socket | None = None
        self._given_up = False

    def connected(self, connection: socket.socket) -> None:
        """Note that the request is about to be sent. Raise `TimeoutError` when it is too late."""
        with self._lock:
            if self._given_up:
                raise TimeoutError
            self._connection = connection
        connection.settimeout(self.seconds)  # replaces the timeout for connecting

    def give_up(self) -> Reply:
        """End the request, so that nothing more is sent, and return or raise what is known."""
        with self._lock:
            self._given_up = True
        if self._connection is None:
            raise VeniceUnavailableError(f"No connection to Venice within {self.seconds:g} s.")
        # On a copy of the descriptor, below TLS: after its own shutdown, a TLS socket would let
        # the other thread continue without encryption.
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as bare:
            bare.shutdown(socket.SHUT_RDWR)
        if self.refusal:
            return self.refusal
        raise NoAnswerError(f"Venice did not answer completely within {self.seconds:g} s.")

    def meaning_of(self, error: BaseException) -> BaseException:
        """Return what a failed request means: once connected, it may have arrived."""
        if isinstance(error, ImageDropError) or not isinstance(error, Exception):
            return error
        if self._connection:
            meaning: Exception = NoAnswerError("The connection broke before Venice had answered.")
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
    except BaseException as error:  # whatever it is, the waiting thread needs it
        return error


def _read(response: requests.Response, attempt: _Attempt) -> Reply:
    reply = Reply(response.status_code, response.headers)
    if reply.status == 200:
        return replace(reply, body=_body(response, MAX_ANSWER_BYTES))
    attempt.refusal = reply
    with suppress(OSError, HTTPError):  # the status is enough
        return replace(reply, body=_body(response, MAX_ERROR_BYTES))
    return reply


def _body(response: requests.Response, most: int) -> bytes:
    body = BytesIO()  # returns its buffer; a bytearray would have to be copied
    for chunk in response.iter_content(PIECE):
        body.write(chunk)
        if body.tell() > most:
            break
    return body.getvalue()


class _Session(requests.Session):
    @override
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow no redirect: a POST would become a GET, and its body has no limit there."""


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
    """Return the class of the error below requests, for example `NameResolutionError`."""
    cause = error.args[0] if error.args else error
    return type(getattr(cause, "reason", None) or cause).__name__
