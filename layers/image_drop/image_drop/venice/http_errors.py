"""The meaning of Venice's error answers, and when to retry.

Errors are classified by status and endpoint, never by text, because Venice changes its texts. The
lock-out is the one exception, because nothing else marks it. Facts: Venice's API description of
2026-08-21 and its skill documents of 2026-10-02, which take precedence. 520 and 524 are
Cloudflare's own codes for an origin that took the request and sent no answer.
"""

import email.utils
import json
from collections.abc import Iterator, Mapping
from typing import Any

from image_drop.errors import (
    AccountError,
    Charge,
    ContentRefusedError,
    ImageDropError,
    LockedOutError,
    MediaNotFoundError,
    ModelNotFoundError,
    NoAnswerError,
    RateLimitedError,
    RefusedError,
    VeniceUnavailableError,
)
from image_drop.instructions.schema import PROMPTED, Mode
from image_drop.quota import Quota
from image_drop.untrusted_text import printable, redact
from image_drop.venice.exchange import Reply

LOCK_OUT = 32.0  # seconds: Venice blocks a key for 30
MAX_WAIT = 120.0  # seconds; a later reset time of Venice counts as this
MAX_WORDS = 500  # characters of Venice's explanation
UNANSWERED = (408, 504, 520, 524)
VIOLATIONS = (
    "x-venice-is-content-violation",
    "x-venice-is-adult-model-content-violation",
    "x-venice-contains-minor",
)


def error_for(reply: Reply, mode: Mode | None, now: float, key: str = "") -> ImageDropError:
    """Return the error for an answer other than 200.

    `mode`: of the endpoint, None for the free pages. `now`: seconds since 1970. `key`: the API
    key, which is removed from the detail in case Venice echoes it.
    """
    words, code = _words(reply.body)
    words = printable(redact(words, key), MAX_WORDS)
    status, headers = reply.status, reply.headers
    detail = f"Venice answered {status}: {words}" if words else f"Venice answered {status}."
    facts: dict[str, Any] = {"status": status, "request_id": headers.get("CF-RAY")}
    if status == 429:
        return _rate_limited(detail, words, headers, now, facts)
    if status in (401, 402, 403):
        return AccountError(detail, **facts)
    if status in UNANSWERED:
        charge = Charge.NO if mode is None else Charge.MAYBE
        return NoAnswerError(detail, retry_at=_retry_after(headers, now), charge=charge, **facts)
    if status >= 500 or mode is None:  # the free pages take no input that could be at fault
        return VeniceUnavailableError(detail, retry_at=_retry_after(headers, now), **facts)
    return _refusal(mode, code, headers, detail, facts)


def violates(headers: Mapping[str, str]) -> bool:
    """Return whether a header marks the answer as a content violation."""
    return any(is_true(headers, name) for name in VIOLATIONS)


def is_true(headers: Mapping[str, str], name: str) -> bool:
    """Return whether the header is there and says `true`."""
    return headers.get(name, "").strip().lower() == "true"


def rate_limit(headers: Mapping[str, str]) -> int | None:
    """Return the requests a minute for this model and account, if Venice names them."""
    text = headers.get("x-ratelimit-limit-requests", "")
    return (int(text[:6]) or None) if text.isascii() and text.isdigit() else None


def quota(headers: Mapping[str, str]) -> Quota:
    """Return what the headers say about the model's limit. A reset counts if it is a time."""
    remaining = headers.get("x-ratelimit-remaining-requests", "")
    return Quota(
        limit=rate_limit(headers),
        remaining=int(remaining[:6]) if remaining.isascii() and remaining.isdigit() else None,
        reset_at=_time(headers.get("x-ratelimit-reset-requests", "")),
    )


def reset_at(text: str, now: float) -> float | None:
    """Return when a rate limit ends, in seconds since 1970, from `x-ratelimit-reset-requests`.

    Venice's documents differ on the unit, so the size decides: above 1e11 milliseconds since
    1970, above 1e9 seconds since 1970, else seconds from now. The wait is at most two minutes.
    """
    at = _time(text)
    if at is None and (value := _number(text)) is not None:
        at = now + value
    return None if at is None else min(max(at, now), now + MAX_WAIT)


def _time(text: str) -> float | None:
    """Return a time in seconds since 1970; None for a duration, or for what is no number."""
    value = _number(text)
    if value is None or value <= 1e9:
        return None
    return value / 1000 if value > 1e11 else value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None


def _rate_limited(
    detail: str, words: str, headers: Mapping[str, str], now: float, facts: dict[str, Any]
) -> RateLimitedError:
    if "too many failed attempts" in words.lower():
        return LockedOutError(detail, retry_at=now + LOCK_OUT, quota=quota(headers), **facts)
    retry_at = _retry_after(headers, now)
    if retry_at is None:
        retry_at = reset_at(headers.get("x-ratelimit-reset-requests", ""), now)
    return RateLimitedError(detail, retry_at=retry_at, quota=quota(headers), **facts)


def _refusal(
    mode: Mode, code: str, headers: Mapping[str, str], detail: str, facts: dict[str, Any]
) -> RefusedError:
    status, prompted = facts["status"], mode in PROMPTED
    if status < 300 or (status == 422 and prompted):  # Venice may have made it, then blocked it
        facts |= {"charge": Charge.MAYBE}
    if code == "CONTENT_POLICY_VIOLATION" or violates(headers):
        return ContentRefusedError(detail, **facts)
    if status == 422 and prompted and not code:
        return ContentRefusedError(detail, **facts)
    if status == 404 and prompted:
        return MediaNotFoundError(detail, **facts)
    if status == 410:
        return ModelNotFoundError(detail, **facts)
    return RefusedError(detail, **facts)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return `Retry-After` in seconds since 1970, from either form of RFC 9110.

    The wait is at most two minutes.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        at = now + float(text[:9])
    else:
        try:
            at = email.utils.parsedate_to_datetime(text).timestamp()
        except (ValueError, OverflowError):
            return None
    return min(max(at, now), now + MAX_WAIT)


def _words(body: bytes) -> tuple[str, str]:
    """Return Venice's explanation and error code, from any shape of its errors."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""  # a proxy's HTML page explains nothing
    if not isinstance(content, dict):
        return "", ""
    nested = content.get("error")
    inner = nested if isinstance(nested, dict) else {}
    code = inner.get("code") or content.get("code") or ""
    parts = [
        inner.get("message") or nested or content.get("customMessage") or content.get("message")
    ]
    parts += list(_details(content.get("details")))
    parts += [
        issue.get("message") for issue in _list(content.get("issues")) if isinstance(issue, dict)
    ]
    if suggestion := content.get("suggested_prompt"):
        parts.append(f"Venice suggests: {suggestion}")
    return "; ".join(dict.fromkeys(str(part) for part in parts if part)), str(code)


def _details(details: Any) -> Iterator[str]:
    if isinstance(details, str):
        yield details
    if isinstance(details, dict):
        yield from _list(details.get("_errors"))
        for name, value in details.items():
            if isinstance(value, dict):
                yield from (f"{name}: {text}" for text in _list(value.get("_errors")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
