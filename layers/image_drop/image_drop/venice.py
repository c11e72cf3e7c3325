"""The client of Venice's three image endpoints: one method, one call, no retries.

A call is made only by the pipeline, which knows about slots, locks and money; so nothing here
sends anything twice. Facts are from Venice's API description of 2026-08-21 and its skill
documents of 2026-10-02; where the two differ, what is sent is valid under both.
"""

import base64
import email.utils
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import requests

from image_drop import images
from image_drop.errors import (
    AccountError,
    ContentRefusedError,
    ImageDropError,
    LockedOutError,
    ModelNotFoundError,
    NoAnswerError,
    RateLimitedError,
    RefusedError,
    UnusableAnswerError,
    VeniceUnavailableError,
)
from image_drop.images import Photo
from image_drop.instructions import Instructions, Mode

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 120.0  # seconds between two packets; what Venice's own command line uses
ENHANCE_TIMEOUT = 30.0  # seconds more: Venice says a prompt's rewrite takes up to that long
MAX_ANSWER_BYTES = 50 * 1024 * 1024
PIECE = 65_536  # bytes that an answer is read by: each is in memory besides what has been read
MAX_ERROR_BYTES = 65_536  # of an error's body; what explains anything is far shorter
LOCK_OUT = 32.0  # seconds: Venice blocks a key for 30
MAX_NAME = 100  # characters of a model that is believed in
MAX_WAIT = 120.0  # seconds: no reset time of Venice's is believed beyond this
VIOLATIONS = (
    "x-venice-is-content-violation",
    "x-venice-is-adult-model-content-violation",
    "x-venice-contains-minor",
)


@dataclass(frozen=True)
class Endpoint:
    """What one of Venice's endpoints is called and understands."""

    path: str
    image_field: str
    model_field: str | None
    fields: tuple[str, ...]


_EDIT_FIELDS = ("prompt", "aspect_ratio", "resolution", "safe_mode", "enhance_prompt")
ENDPOINTS: Mapping[Mode, Endpoint] = {
    Mode.EDIT: Endpoint("/image/edit", "image", "model", _EDIT_FIELDS),
    Mode.MULTI_EDIT: Endpoint("/image/multi-edit", "images", "modelId", (*_EDIT_FIELDS, "quality")),
    Mode.BACKGROUND_REMOVE: Endpoint("/image/background-remove", "image", None, ()),
}


@dataclass(frozen=True)
class Answer:
    """A finished edit as Venice sent it: PNG, JPEG or WebP."""

    data: bytes = field(repr=False)
    media_type: str
    headers: Mapping[str, str] = field(repr=False)

    @property
    def model(self) -> str | None:
        """The model that made the edit, where the endpoint tells."""
        return self.headers.get("x-venice-model-id")

    @property
    def request_id(self) -> str | None:
        """Cloudflare's ray id, which Venice's support asks for."""
        return self.headers.get("CF-RAY")

    @property
    def rate_limit(self) -> int | None:
        """Requests a minute for this model and account, where Venice names them."""
        return rate_limit(self.headers)

    @property
    def deprecation(self) -> str | None:
        """Venice's warning that the model will go away."""
        return self.headers.get("x-venice-model-deprecation-warning")

    @property
    def enhanced(self) -> bool:
        """Whether Venice rewrote the prompt, which costs more."""
        return "x-venice-enhanced-prompt" in self.headers

    @property
    def blurred(self) -> bool:
        """Whether safe mode blurred the picture."""
        return _is_true(self.headers, "x-venice-is-blurred")


@dataclass(frozen=True)
class Account:
    """What Venice says of the account behind the key.

    `balance` in US dollars, with the day's DIEM credits, of which one buys a dollar's worth.
    `limits`: requests a minute by model.
    """

    access_permitted: bool
    balance: float
    limits: Mapping[str, int]


def parameters(instructions: Instructions) -> dict[str, Any]:
    """The fields of the request besides the images: only those that the endpoint documents.

    `output_format` goes with `resolution` only, since Venice answers PNG at 1K by itself and
    JPEG above.
    """
    endpoint = ENDPOINTS[instructions.mode or Mode.EDIT]
    given = instructions.as_dict()
    values = {name: given[name] for name in endpoint.fields if name in given}
    if endpoint.model_field and instructions.model:
        values[endpoint.model_field] = instructions.model
    if "resolution" in values:
        values["output_format"] = "png"
    return values


@dataclass(frozen=True)
class Venice:
    """Venice behind a base URL. `api_key()` is asked at every call; `now()` is in seconds."""

    base_url: str
    api_key: Callable[[], str] = field(repr=False)
    now: Callable[[], float]
    session: requests.Session = field(default_factory=requests.Session, repr=False)
    read_timeout: float = READ_TIMEOUT

    def edit(self, instructions: Instructions, pictures: Sequence[Photo | str]) -> Answer:
        """Make one paid call. `pictures`: the image and its layers, which may be https URLs.

        Raises `RateLimitedError`, `VeniceUnavailableError`, `NoAnswerError`, `AccountError`,
        `RefusedError`. Only `NoAnswerError` leaves open whether the call was charged.
        """
        endpoint = ENDPOINTS[instructions.mode or Mode.EDIT]
        body = _body(endpoint, parameters(instructions), pictures)
        patience = self.read_timeout + (ENHANCE_TIMEOUT if instructions.enhance_prompt else 0)
        with self._send("POST", endpoint.path, patience, **body) as response:
            if response.status_code != 200:
                raise error_for(response, self.now())
            return _answer(response)

    def account(self) -> Account:
        """`GET /api_keys/rate_limits`, which is free.

        Raises `AccountError` where the key is refused, `RetryableError` where no answer can be
        understood.
        """
        return _account(self._get("/api_keys/rate_limits"))

    def models(self, kind: str) -> dict[str, Any]:
        """`GET /models?type=…`: the catalogue with prices and limits. It is free."""
        return self._get(f"/models?type={kind}")

    def _get(self, path: str) -> dict[str, Any]:
        with self._send("GET", path, 30.0) as response:
            if response.status_code != 200:
                raise error_for(response, self.now())
            try:
                return msgspec.json.decode(_read(response), type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError) as error:
                raise VeniceUnavailableError(
                    f"Venice's answer to {path} is no JSON object."
                ) from error

    def _send(self, method: str, path: str, patience: float, **body: Any) -> requests.Response:
        try:
            return self.session.request(
                method,
                self.base_url + path,
                # A function that was frozen meanwhile would call over a connection that is dead.
                headers={"Authorization": f"Bearer {self.api_key()}", "Connection": "close"},
                timeout=(CONNECT_TIMEOUT, patience),
                stream=True,
                allow_redirects=False,  # requests would turn a redirected POST into a GET
                **body,
            )
        except requests.ConnectTimeout as error:
            raise VeniceUnavailableError(
                f"No connection to Venice within {CONNECT_TIMEOUT:.0f} s."
            ) from error
        except requests.Timeout as error:
            raise NoAnswerError(f"No answer from Venice within {patience:.0f} s.") from error
        except requests.ConnectionError as error:
            raise VeniceUnavailableError("The connection to Venice failed.") from error


def error_for(response: requests.Response, now: float) -> ImageDropError:
    """The error that an answer other than 200 stands for; told by status, not by words."""
    status, headers = response.status_code, response.headers
    words, code = _words(response)
    detail = f"Venice answered {status}: {words}" if words else f"Venice answered {status}."
    told: dict[str, Any] = {"status": status, "request_id": headers.get("CF-RAY")}
    if status == 429:
        return _rate_limited(detail, words, headers, now, told)
    if status in (401, 402, 403):
        return AccountError(detail, **told)
    if status == 408 or status >= 500:
        retry_at = _retry_after(headers, now)
        return VeniceUnavailableError(detail, retry_at=retry_at, **told)
    if status in (404, 410):
        return ModelNotFoundError(detail, **told)
    if code == "CONTENT_POLICY_VIOLATION" or _violates(headers):
        return ContentRefusedError(detail, **told)
    return RefusedError(detail, **told)


def rate_limit(headers: Mapping[str, str]) -> int | None:
    """Requests a minute for this model and account, where Venice names them."""
    text = headers.get("x-ratelimit-limit-requests", "")
    return (int(text[:6]) or None) if text.isascii() and text.isdigit() else None


def reset_at(text: str, now: float) -> float | None:
    """When a rate limit ends, in seconds since 1970, from `x-ratelimit-reset-requests`.

    Venice's documents differ on the unit, so the size decides: above 1e11 milliseconds since
    1970, above 1e9 seconds since 1970, else seconds from now. Clamped to two minutes.
    """
    try:
        value = float(text)
    except ValueError:
        return None
    if not 0 <= value < 1e15:
        return None
    at = value / 1000 if value > 1e11 else value if value > 1e9 else now + value
    return min(max(at, now), now + MAX_WAIT)


def _rate_limited(
    detail: str, words: str, headers: Mapping[str, str], now: float, told: dict[str, Any]
) -> RateLimitedError:
    if "too many failed attempts" in words.lower():
        return LockedOutError(detail, retry_at=now + LOCK_OUT, limit=rate_limit(headers), **told)
    retry_at = _retry_after(headers, now)
    if retry_at is None:
        retry_at = reset_at(headers.get("x-ratelimit-reset-requests", ""), now)
    return RateLimitedError(detail, retry_at=retry_at, limit=rate_limit(headers), **told)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """`Retry-After` in either form of RFC 9110, clamped to two minutes."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        at = now + float(text[:9])
    else:
        try:
            at = email.utils.parsedate_to_datetime(text).timestamp()
        except (ValueError, OverflowError):
            return None
    return min(max(at, now), now + MAX_WAIT)


def _account(answer: dict[str, Any]) -> Account:
    try:
        data = answer["data"]
        balances = data.get("balances") or {}
        limits = [
            (model.get("apiModelId"), limit["amount"])
            for model in data.get("rateLimits") or ()
            for limit in model.get("rateLimits") or ()
            if limit.get("type") == "RPM"
        ]
        return Account(
            access_permitted=data.get("accessPermitted") is not False,
            balance=sum(_amount(balances.get(currency) or 0) for currency in ("USD", "DIEM")),
            limits={
                name: int(_amount(amount))
                for name, amount in limits
                if isinstance(name, str) and 0 < len(name) <= MAX_NAME
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise VeniceUnavailableError(
            "Venice's answer about the account is not as documented."
        ) from error


def _amount(value: Any) -> float:
    """A number that makes sense, clamped to 0 to 1e9. Raises `ValueError` or `OverflowError`."""
    number = float(value)
    if math.isnan(number):
        raise ValueError("not a number")
    return min(max(number, 0.0), 1e9)


def _words(response: requests.Response) -> tuple[str, str]:
    """Venice's explanation and error code, from any of the shapes that its errors have."""
    try:
        body = json.loads(_beginning(response))
    except (requests.RequestException, ValueError, RecursionError):
        return "", ""  # a proxy's HTML page explains nothing
    if not isinstance(body, dict):
        return "", ""
    nested = body.get("error")
    inner = nested if isinstance(nested, dict) else {}
    code = inner.get("code") or body.get("code") or ""
    parts = [inner.get("message") or nested or body.get("customMessage") or body.get("message")]
    parts += list(_details(body.get("details")))
    parts += [
        issue.get("message") for issue in _list(body.get("issues")) if isinstance(issue, dict)
    ]
    if suggestion := body.get("suggested_prompt"):
        parts.append(f"Venice suggests: {suggestion}")
    words = "; ".join(dict.fromkeys(str(part) for part in parts if part))
    return "".join(char if char.isprintable() else " " for char in words)[:500], str(code)


def _beginning(response: requests.Response) -> bytes:
    text = bytearray()
    for chunk in response.iter_content(MAX_ERROR_BYTES):  # a chunked answer comes in pieces
        text += chunk
        if len(text) >= MAX_ERROR_BYTES:
            break
    return bytes(text)


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


def _body(
    endpoint: Endpoint, values: dict[str, Any], pictures: Sequence[Photo | str]
) -> dict[str, Any]:
    """Multipart, which needs no base64; JSON only where a URL is among the pictures."""
    if any(isinstance(picture, str) for picture in pictures):
        texts = [p if isinstance(p, str) else base64.b64encode(p.data).decode() for p in pictures]
        return {"json": values | {endpoint.image_field: texts}}
    files = [
        (endpoint.image_field, (f"image-{number}", picture.data, picture.media_type))
        for number, picture in enumerate(pictures)
        if isinstance(picture, Photo)
    ]
    return {"files": files, "data": {name: _form_text(value) for name, value in values.items()}}


def _form_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(response: requests.Response) -> Answer:
    told: dict[str, Any] = {"status": 200, "request_id": response.headers.get("CF-RAY")}
    if _violates(response.headers):
        raise ContentRefusedError("Venice marked the result as a content violation.", **told)
    data = _read(response)
    media_type = images.media_type_of(data)
    if media_type not in ("image/png", "image/jpeg", "image/webp"):
        kind = response.headers.get("Content-Type", "no type")
        raise UnusableAnswerError(f"Venice answered {len(data):,} bytes of {kind!r}.", **told)
    return Answer(data, media_type, response.headers)


def _read(response: requests.Response) -> bytes:
    data = io.BytesIO()  # hands its buffer out; a bytearray would be copied
    try:
        for chunk in response.iter_content(PIECE):
            data.write(chunk)
            if data.tell() > MAX_ANSWER_BYTES:
                raise UnusableAnswerError(
                    f"Venice's answer is larger than {MAX_ANSWER_BYTES:,} bytes.",
                    status=response.status_code,
                )
    except requests.RequestException as error:
        raise NoAnswerError("The connection broke while Venice was answering.") from error
    return data.getvalue()


def _violates(headers: Mapping[str, str]) -> bool:
    return any(_is_true(headers, name) for name in VIOLATIONS)


def _is_true(headers: Mapping[str, str], name: str) -> bool:
    return headers.get(name, "").strip().lower() == "true"
