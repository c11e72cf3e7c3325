"""The emulator's gate: an ASGI application in front of it that keeps web pages out.

The emulator trusts every client: its credentials are known, and it runs any function that it is
given. So `same_machine.refusal` checks every request and WebSocket before the emulator gets it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from image_drop_local.same_machine import refusal

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?", re.ASCII)
_BARE_HOST = re.compile(r"(?:127\.0\.0\.1|\[::1\]|localhost)(?::\d{1,5})?", re.ASCII)
_OBJECT = r"x-amz-(?:tagging|content-sha256|sdk-checksum-algorithm|meta-.+|checksum-.+)"
_HEADERS = re.compile(
    rf"host|expect|transfer-encoding|cache-control|content-(?:type|length|md5)|{_OBJECT}"
)
_PARAMETERS = re.compile(  # name=value; the credential names the AWS service
    r"x-amz-credential=[^/]*/\d*/[a-z0-9-]*/s3/aws4_request"
    r"|(?:x-amz-(?:algorithm|date|expires|signedheaders|signature|security-token)"
    rf"|awsaccesskeyid|signature|expires|x-id|content-(?:type|md5)|{_OBJECT})=.*",
    re.DOTALL,
)
# The emulator accepts application/x-www-form-urlencoded as a request to any service.
_FORM = re.compile(r"multipart/form-data; *boundary=[^,;]+")
_CONTENT = re.compile(
    r"|(?:image/[a-z0-9.+-]+|application/(?:json|octet-stream))(?:; *charset=[a-z0-9-]+)?"
)

type Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """Pages of one origin, which may upload objects to one bucket and do nothing else.

    Raises `ValueError` if `origin` is not in a browser's form: scheme, host and port if any.
    """

    origin: str
    bucket: str

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise ValueError(
                f"ALLOW_ORIGIN={self.origin} is not an origin such as http://localhost:3000"
            )

    def may(self, method: str, path: str, query: str, headers: Headers) -> bool:
        """Return whether a request is an upload of an object, or a browser's preflight for one.

        An upload is a form to `/<bucket>` (presigned POST) or an object to `/<bucket>/<key>`
        (presigned PUT), with no other parameters than those of a signature and of the object.
        """
        fields = dict(headers)
        if not _BARE_HOST.fullmatch(fields.get("host", "").lower()):
            return False
        _, bucket, key = f"{path}/".split("/", 2)
        if bucket != self.bucket:
            return False
        kind = fields.get("content-type", "")
        if method == "OPTIONS":
            method = fields.get("access-control-request-method", "")
        elif not (_FORM if method == "POST" else _CONTENT).fullmatch(kind.lower()):
            return False
        if method == "POST":
            return not key.strip("/") and not query
        parameters = parse_qsl(query, keep_blank_values=True)
        signed = all(_PARAMETERS.fullmatch(f"{n.lower()}={value}") for n, value in parameters)
        return method == "PUT" and bool(key.strip("/")) and signed

    def preflight(self, headers: Headers) -> Headers:
        """Return the headers of the answer to a browser's preflight request."""
        asked = dict(headers).get("access-control-request-headers", "").lower().split(",")
        granted = [name.strip() for name in asked if _HEADERS.fullmatch(name.strip())]
        return [
            *self.shared(),
            ("access-control-allow-methods", "POST, PUT"),
            ("access-control-allow-headers", ", ".join(granted)),
        ]

    def shared(self) -> Headers:
        """Return the headers with which a page may read an answer."""
        return [
            ("access-control-allow-origin", self.origin),
            ("access-control-expose-headers", "ETag"),
            ("vary", "Origin"),
        ]


class Gate:
    """An ASGI application that forwards requests of this machine's programs and refuses the rest.

    `page` is called for each request and returns the page that may upload, or None. The
    emulator's own CORS headers never reach a client. From a page's request, the emulator gets only
    the headers of an upload: others choose the AWS service (`X-Amz-Target`), sign, or copy foreign
    objects.
    """

    def __init__(self, app: Any, page: Callable[[], Page | None]) -> None:
        self._app, self._page = app, page

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = _text(scope["headers"])
        page = self._page()
        if page and not (scope["type"] == "http" and page.may(*_line(scope), headers)):
            page = None
        if reason := refusal(headers, page.origin if page else ""):
            await _refuse(scope, receive, send, reason)
        elif page and ("origin", page.origin) in headers:
            await self._upload(page, headers, scope, receive, send)
        else:
            await self._app(scope, receive, _sharing(send, []))

    async def _upload(
        self, page: Page, headers: Headers, scope: Any, receive: Any, send: Any
    ) -> None:
        if scope["method"] == "OPTIONS":
            await _answer(send, 204, page.preflight(headers), b"")
            return
        carried = [each for each in scope["headers"] if _HEADERS.fullmatch(_text([each])[0][0])]
        await self._app({**scope, "headers": carried}, receive, _sharing(send, page.shared()))


def _line(scope: Any) -> tuple[str, str, str]:
    return scope["method"], scope["path"], scope["query_string"].decode("latin-1")


def _text(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]


def _bytes(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _refuse(scope: Any, receive: Any, send: Any, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})  # before it is accepted: status 403
        return
    await _answer(send, 403, [("content-type", "text/plain")], f"{reason}\n".encode())


async def _answer(send: Any, status: int, headers: Headers, body: bytes) -> None:
    length = [] if status == 204 else [("content-length", str(len(body)))]
    start = {"type": "http.response.start", "status": status, "headers": _bytes(headers + length)}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _sharing(send: Any, shared: Headers) -> Any:
    """Return `send` with these CORS headers instead of the emulator's own."""

    async def with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = [
                (name, value)
                for name, value in message.get("headers", [])
                if not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": own + _bytes(shared)}
        await send(message)

    return with_headers
