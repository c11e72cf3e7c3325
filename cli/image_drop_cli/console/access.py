"""Who may use the console: the browser of the person who has its address, and no other page.

Listening on 127.0.0.1 keeps other machines out, but neither the pages that are open in a browser
on this one, nor its other users. So the address contains a token, which becomes a strict cookie.
Browsers mark what pages send with `Origin` and `Sec-Fetch-Site`, and name in `Host` whom they
believe to speak to, which tells a foreign name that was bound to 127.0.0.1 (DNS rebinding). A
cookie alone is not enough: to a browser, every port of this machine is the same site.
https://www.w3.org/TR/fetch-metadata/, https://fetch.spec.whatwg.org/#origin-header
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE = ("GET", "HEAD")  # methods that change nothing, and cost nothing
OWN_SITES = ("same-origin", "none")  # `none`: typed, or opened by a program
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
CLOSED = """<!doctype html><html lang="en"><title>Image Drop</title>
<h1>This page needs its whole address</h1>
<p>Open the address that <code>image-drop console</code> or <code>make local</code> has printed.
It ends with a token, which tells that it is you.</p>"""
OPENED = """<!doctype html><html lang="en"><title>Image Drop</title>
<meta http-equiv="refresh" content="0;url=/"><p><a href="/">Open the console</a></p>"""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered. `status`: of HTTP; `page`: what a person reads."""

    status: int
    page: str


@dataclass(frozen=True)
class Access:
    """What a request has to prove. `port`: of the console on 127.0.0.1."""

    token: str
    port: int

    @property
    def address(self) -> str:
        """What a person opens."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """The name of the cookie; cookies do not tell ports apart, so the name does."""
        return f"image-drop-{self.port}"

    def refusal(self, method: str, headers: Iterable[tuple[str, str]]) -> Refusal | None:
        """Return why a request comes from a foreign page, or None. `headers`: in lower case."""
        fields = list(headers)
        hosts, origins, sites = (
            [value for name, value in fields if name == wanted]
            for wanted in ("host", "origin", "sec-fetch-site")
        )
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return Refusal(403, "The Host header does not name this console.")
        own = f"http://{hosts[0].lower()}"
        if any(origin != own for origin in origins):
            return Refusal(403, "Other web pages may not use the console.")
        if any(site not in OWN_SITES for site in sites):
            return Refusal(403, "Other web pages may not use the console.")
        if method not in SAFE and not origins:
            return Refusal(403, "The request does not say which page it comes from.")
        return None

    def opens(self, query: str) -> bool:
        """Return whether a query has the token."""
        return any(self._is_token(each) for each in parse_qs(query).get("token", ()))

    def knows(self, cookies: Iterable[str]) -> bool:
        """Return whether one of the Cookie headers has the token."""
        for header in cookies:
            try:
                morsel = SimpleCookie(header).get(self.cookie)
            except CookieError:
                continue
            if morsel is not None and self._is_token(morsel.value):
                return True
        return False

    @property
    def _hosts(self) -> tuple[str, str]:
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())


@dataclass(frozen=True)
class Guard:
    """The application behind `access`: nothing else is reachable without its proof."""

    app: "ASGIApp"
    access: Access

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the console has no web sockets
            return
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1").strip())
            for name, value in scope["headers"]
        ]
        arriving = scope["path"] == "/" and self.access.opens(scope["query_string"].decode())
        if arriving and scope["method"] in SAFE:
            # A link in a mail or a chat is a foreign site, too; whoever knows the token may come.
            headers = [each for each in headers if each[0] != "sec-fetch-site"]
        if refusal := self.access.refusal(scope["method"], headers):
            await _answer(send, refusal.status, f"{refusal.page}\n", "text/plain; charset=utf-8")
        elif arriving:
            cookie = f"{self.access.cookie}={self.access.token}; Path=/; HttpOnly; SameSite=Strict"
            await _answer(send, 200, OPENED, cookie=cookie)
        elif self.access.knows(value for name, value in headers if name == "cookie"):
            await self.app(scope, receive, _with_headers(send))
        else:
            await _answer(send, 401, CLOSED)


def _with_headers(send: "Send") -> "Send":
    async def answer(message: "Message") -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            more = HEADERS | {"cache-control": "no-store"}
            message["headers"] = [
                *message["headers"],
                *(
                    (name.encode(), value.encode())
                    for name, value in more.items()
                    if name.encode() not in given
                ),
            ]
        await send(message)

    return answer


async def _answer(
    send: "Send", status: int, text: str, kind: str = "text/html; charset=utf-8", cookie: str = ""
) -> None:
    body = text.encode()
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    if cookie:
        headers.append((b"set-cookie", cookie.encode()))
    guarded = _with_headers(send)
    await guarded({"type": "http.response.start", "status": status, "headers": headers})
    await guarded({"type": "http.response.body", "body": body})
