"""A request has a deadline for all of it, and it is known whether it may have been sent.

Against real sockets, since only those break the way that networks do.
"""

import ipaddress
import itertools
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from image_drop.errors import Charge, ImageDropError, NoAnswerError, VeniceUnavailableError
from image_drop.venice import exchange as module
from image_drop.venice.exchange import Reply, exchange

PROMPT = 0.3  # seconds that a call may take here
GRACE = 1.0  # seconds more until it has ended, on a busy machine
BODY = b"x" * 3_000_000  # more than both ends keep in their buffers
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"

Behaviour = Callable[[socket.socket], None]


class Listener:
    """Accepts connections on this machine and treats each as it is told to."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.received: list[bytes] = []
        self.closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                thread = threading.Thread(target=self._treat, args=[connection])
                self._threads.append(thread)
                thread.start()

    def _treat(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(10)
            self.behave(connection)


def read_request(connection: socket.socket) -> bytes:
    """The whole request, which has a `Content-Length`."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return head + body


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def post(port: int, scheme: str = "http", *, seconds: float = 5.0, data: bytes = BODY) -> Reply:
    return exchange("POST", f"{scheme}://127.0.0.1:{port}/image/edit", seconds, data=data)


def failure(*args: Any, **kwargs: Any) -> ImageDropError:
    with pytest.raises(ImageDropError) as caught:
        post(*args, **kwargs)
    return caught.value


# --- nothing was sent ------------------------------------------------------------------------


def hang_up(connection: socket.socket) -> None:
    connection.recv(1)


def talk_nonsense(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def reset_at_hello(connection: socket.socket) -> None:
    connection.recv(1)
    reset(connection)


@pytest.mark.parametrize("behave", [hang_up, talk_nonsense, reset_at_hello, reset])
def test_call_whose_tls_handshake_fails_is_not_charged(behave: Behaviour) -> None:
    with Listener(behave) as server:
        error = failure(server.port, "https")

    assert (type(error), error.charge) == (VeniceUnavailableError, Charge.NO)


def test_refused_connection_is_not_charged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    error = failure(port)

    assert (type(error), error.charge) == (VeniceUnavailableError, Charge.NO)
    assert error.detail == "No connection to Venice: NewConnectionError."


def test_server_that_accepts_nobody_is_not_charged() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as others:
        for _ in range(4):  # the kernel drops whoever comes after these
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        began = time.monotonic()
        error = failure(full.getsockname()[1], seconds=PROMPT)
        took = time.monotonic() - began

    assert took < PROMPT + GRACE
    assert (type(error), error.charge) == (VeniceUnavailableError, Charge.NO)


def test_name_that_nobody_knows_is_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(VeniceUnavailableError, match="NameResolutionError") as caught:
        exchange("POST", "https://venice.invalid/", 5)
    assert caught.value.charge is Charge.NO


def test_proxy_that_refuses_is_not_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with Listener(refuse) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(VeniceUnavailableError, match="ProxyError") as caught:
            exchange("POST", "https://venice.invalid/", 5)
    assert caught.value.charge is Charge.NO


def test_late_connection_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_up, found = socket.getaddrinfo, threading.Event()
    seen: list[bytes] = []
    heard = threading.Event()

    def slow_look_up(*args: Any, **kwargs: Any) -> Any:
        found.wait(10)
        return look_up(*args, **kwargs)

    def note(connection: socket.socket) -> None:
        seen.append(connection.recv(65_536))
        heard.set()

    monkeypatch.setattr(socket, "getaddrinfo", slow_look_up)
    with Listener(note) as server:
        error = failure(server.port, seconds=0.1)
        found.set()
        assert heard.wait(5)

    assert (type(error), error.charge) == (VeniceUnavailableError, Charge.NO)
    assert seen == [b""]


@pytest.mark.parametrize("seconds", [0, -1])
def test_call_without_time_is_not_made(seconds: float) -> None:
    with Listener(lambda connection: connection.sendall(OK + b"x" * 100)) as server:
        error = failure(server.port, seconds=seconds)

    assert (type(error), error.charge) == (VeniceUnavailableError, Charge.NO)


# --- something may have been sent --------------------------------------------------------------


def reset_unread(connection: socket.socket) -> None:
    connection.recv(1, socket.MSG_PEEK)  # something was sent
    reset(connection)


def reset_while_reading(connection: socket.socket) -> None:
    connection.recv(1000)
    reset(connection)


def after_request(behave: Behaviour) -> Behaviour:
    def treat(connection: socket.socket) -> None:
        read_request(connection)
        behave(connection)

    return treat


def saying(text: bytes, end: Behaviour) -> Behaviour:
    def say(connection: socket.socket) -> None:
        connection.sendall(text)
        end(connection)

    return after_request(say)


def close(connection: socket.socket) -> None:
    connection.close()


BREAKS: dict[str, Behaviour] = {
    "reset before reading": reset_unread,
    "reset while reading": reset_while_reading,
    "closed after the request": after_request(close),
    "reset after the request": after_request(reset),
    "reset in the status line": saying(b"HTTP/1.1 20", reset),
    "reset in the headers": saying(b"HTTP/1.1 200 OK\r\nContent-Le", reset),
    "reset in the body": saying(OK + b"x" * 50, reset),
    "closed in the body": saying(OK + b"x" * 50, close),
    "closed in a chunk": saying(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", close
    ),
    "chunks of no length": saying(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab", close
    ),
    "no HTTP": saying(b"SSH-2.0-OpenSSH\r\n", close),
    "two lengths": saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", close
    ),
    "a body that is not compressed as it says": saying(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", close
    ),
    "headers without end": saying(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000, close),
}


@pytest.mark.parametrize("behave", BREAKS.values(), ids=BREAKS)
def test_connection_that_breaks_may_have_been_charged(
    behave: Behaviour,
) -> None:
    with Listener(behave) as server:
        error = failure(server.port)

    assert (type(error), error.charge) == (NoAnswerError, Charge.MAYBE)


def test_early_answer_counts_although_request_was_not_all_read() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass

    with Listener(refuse) as server:
        reply = post(server.port)

    assert (reply.status, reply.body) == (413, b"no")


# --- the deadline ------------------------------------------------------------------------------


def trickling(text: bytes, *, endless: bytes = b"") -> Behaviour:
    """Send `text` and then a byte every 20 ms: no packet is ever late."""

    def trickle(connection: socket.socket) -> None:
        connection.sendall(text)
        for number in itertools.cycle(endless or b"x"):
            connection.sendall(bytes([number]))
            time.sleep(0.02)

    return after_request(trickle)


def read_slowly(connection: socket.socket) -> None:
    until = time.monotonic() + PROMPT + GRACE
    while time.monotonic() < until and connection.recv(100):
        time.sleep(0.02)


def silent(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW: dict[str, Behaviour] = {
    "silence": silent,
    "nothing is read": lambda connection: time.sleep(PROMPT + GRACE),
    "the request is read slowly": read_slowly,
    "status line": trickling(b"", endless=b"HTTP/1.1 200 OKKKKKKKKKKKKKKKK"),
    "headers": trickling(b"HTTP/1.1 200 OK\r\na: "),
    "interim answers": trickling(b"", endless=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": trickling(OK.replace(b"100", b"9999")),
    "body without a length": trickling(b"HTTP/1.1 200 OK\r\n\r\n"),
    "chunks": trickling(CHUNKED, endless=b"1\r\nx\r\n"),
    "length of a chunk": trickling(CHUNKED, endless=b"0"),
}


@pytest.mark.parametrize("behave", SLOW.values(), ids=SLOW)
def test_call_ends_in_time_whatever_server_does(behave: Behaviour) -> None:
    with Listener(behave) as server:
        began = time.monotonic()
        error = failure(server.port, seconds=PROMPT)
        took = time.monotonic() - began

    assert PROMPT <= took < PROMPT + GRACE
    assert (type(error), error.charge) == (NoAnswerError, Charge.MAYBE)


def test_error_is_told_by_its_status_however_slow_its_words() -> None:
    with Listener(trickling(b"HTTP/1.1 402 Payment Required\r\n\r\n{")) as server:
        began = time.monotonic()
        reply = post(server.port, seconds=PROMPT)
        took = time.monotonic() - began

    assert (reply.status, reply.body) == (402, b"")
    assert took < PROMPT + GRACE


def test_error_whose_words_break_off_is_told_by_its_status() -> None:
    text = b"HTTP/1.1 402 Payment Required\r\nContent-Length: 100\r\n\r\n{"
    with Listener(saying(text, reset)) as server:
        assert post(server.port).status == 402


def test_request_is_not_sent_on_after_its_time() -> None:
    received = []

    def count(connection: socket.socket) -> None:
        time.sleep(PROMPT * 2)
        with suppress(OSError):
            while data := connection.recv(65_536):
                received.append(len(data))

    with Listener(count) as server:
        assert type(failure(server.port, seconds=PROMPT, data=BODY * 10)) is NoAnswerError

    assert sum(received) < len(BODY * 10)


def test_whole_answer_is_reply() -> None:
    body = bytes(range(256)) * 1000
    head = b"HTTP/1.1 200 OK\r\nCF-RAY: ray\r\nContent-Length: %d\r\n\r\n" % len(body)
    with Listener(saying(head + body, close)) as server:
        reply = post(server.port)

    assert (reply.status, reply.headers["cf-ray"], reply.body) == (200, "ray", body)


def test_redirection_is_neither_followed_nor_read_to_its_end() -> None:
    def redirect(connection: socket.socket) -> None:
        head = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 999999999\r\n\r\n"
        connection.sendall(head)
        with suppress(OSError):
            while True:
                connection.sendall(b"x" * 65_536)

    with Listener(after_request(redirect)) as server:
        reply = post(server.port)

    assert reply.status == 302
    assert len(reply.body) <= module.MAX_ERROR_BYTES + module.PIECE


def test_answer_that_is_too_large_is_not_read_to_its_end() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"\0" * 1024 * 1024)

    with Listener(after_request(flood)) as server:
        reply = post(server.port)

    assert 0 < len(reply.body) - module.MAX_ANSWER_BYTES <= module.PIECE


# --- over TLS ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def over_tls(certificate: Path, behave: Behaviour) -> Behaviour:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def treat(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            behave(wrapped)

    return treat


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    return certificate


def test_answer_over_tls_is_reply(trusted: Path) -> None:
    with Listener(over_tls(trusted, saying(OK + b"x" * 100, close))) as server:
        assert post(server.port, "https").body == b"x" * 100


def test_certificate_that_is_not_trusted_is_not_charged(certificate: Path) -> None:
    with Listener(over_tls(certificate, silent)) as server:
        error = failure(server.port, "https")

    assert (type(error), error.charge) == (VeniceUnavailableError, Charge.NO)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["silence", "the request is read slowly", "headers", "chunks"])
def test_call_over_tls_ends_in_time(trusted: Path, name: str) -> None:
    with Listener(over_tls(trusted, SLOW[name])) as server:
        began = time.monotonic()
        error = failure(server.port, "https", seconds=PROMPT * 2)
        took = time.monotonic() - began

    assert took < PROMPT * 2 + GRACE
    assert (type(error), error.charge) == (NoAnswerError, Charge.MAYBE)


def test_handshake_without_end_ends_in_time_and_is_not_charged() -> None:
    with Listener(lambda connection: time.sleep(PROMPT + GRACE)) as server:
        began = time.monotonic()
        error = failure(server.port, "https", seconds=PROMPT)
        took = time.monotonic() - began

    assert took < PROMPT + GRACE
    assert (type(error), error.charge) == (VeniceUnavailableError, Charge.NO)


@pytest.fixture(autouse=True)
def _no_thread_stays_behind() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 5
    while any(thread.name == "venice" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a request goes on after its call has ended"
        time.sleep(0.01)
