"""Who may call the servers on this machine: its own programs, but no page in a browser.

Listening on 127.0.0.1 keeps other machines out, but not the pages that are open in a browser on
this one. Browsers mark what pages send: with `Origin` (every WebSocket, and every request of
another method than GET and HEAD), with `Sec-Fetch-Site`, and, where a foreign name was bound to
127.0.0.1 (DNS rebinding), with that name in `Host`. A page can change none of the three.
https://fetch.spec.whatwg.org/#origin-header, https://www.w3.org/TR/fetch-metadata/
"""

import re
from collections.abc import Iterable

# RFC 6761 keeps `localhost` and all names below it for this machine; S3 has bucket.localhost.
_THIS_MACHINE = re.compile(
    r"(?:127\.0\.0\.1|\[::1\]|(?:[a-z0-9_-]+\.)*localhost)(?::\d{1,5})?", re.ASCII | re.IGNORECASE
)


def refusal(headers: Iterable[tuple[str, str]], allow_origin: str = "") -> str | None:
    """Return why a request with these headers is refused, or None.

    `allow_origin`: the one origin whose pages may send this request; empty for none.
    """
    fields = [(name.lower(), value.strip()) for name, value in headers]
    hosts = [value for name, value in fields if name == "host"]
    origins = [value for name, value in fields if name == "origin"]
    sites = [value for name, value in fields if name == "sec-fetch-site"]
    if len(hosts) != 1 or not _THIS_MACHINE.fullmatch(hosts[0]):
        return "The Host header does not name this machine."
    if allow_origin and origins == [allow_origin]:
        return None
    if origins:
        return "Web pages may not call this server (the request has an Origin header)."
    if any(site != "none" for site in sites):
        return "Web pages may not call this server (Sec-Fetch-Site is not none)."
    return None
