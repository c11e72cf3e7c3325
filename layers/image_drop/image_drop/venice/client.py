"""The client of Venice's four image endpoints: one method, one call, no retries.

Only the pipeline makes a call, because it knows about slots, locks and money. So nothing here
sends a request twice. Facts are from Venice's API description of 2026-08-21 and its skill
documents of 2026-10-02; where the two differ, the request is valid under both.
"""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import requests
from requests.structures import CaseInsensitiveDict

from image_drop.errors import (
    Charge,
    ContentRefusedError,
    LayerError,
    NoAnswerError,
    NoSlotError,
    UnusableAnswerError,
    VeniceUnavailableError,
)
from image_drop.imaging import photos
from image_drop.imaging.photos import Photo
from image_drop.instructions.schema import Instructions, Mode
from image_drop.quota import Quota
from image_drop.untrusted_text import printable, redact
from image_drop.venice.exchange import MAX_ANSWER_BYTES, Reply, exchange
from image_drop.venice.http_errors import error_for, is_true, quota, violates

CALL_SECONDS = 120.0  # as long as Venice's own command line waits
SLOW_CALL_SECONDS = 210.0  # GPT Image at high quality takes more than two minutes
ENHANCE_SECONDS = 30.0  # in addition; Venice says that rewriting a prompt takes up to that long
PAGE_SECONDS = 30.0
MAX_FILES = 10  # in a multipart request
MAX_NAME = 100  # characters; a model with a longer name is ignored
MAX_LIMIT = 999_999  # requests a minute; beyond it a number means nothing


@dataclass(frozen=True)
class Endpoint:
    """The path of one of Venice's endpoints, and the fields that it accepts."""

    path: str
    image_field: str
    model_field: str | None
    fields: tuple[str, ...]


_EDIT_FIELDS = ("prompt", "aspect_ratio", "resolution", "safe_mode", "enhance_prompt")
ENDPOINTS: Mapping[Mode, Endpoint] = {
    Mode.EDIT: Endpoint("/image/edit", "image", "model", _EDIT_FIELDS),
    Mode.MULTI_EDIT: Endpoint("/image/multi-edit", "images", "modelId", (*_EDIT_FIELDS, "quality")),
    Mode.BACKGROUND_REMOVE: Endpoint("/image/background-remove", "image", None, ()),
    Mode.UPSCALE: Endpoint("/image/upscale", "image", None, ()),
}


@dataclass(frozen=True)
class Answer:
    """A finished edit as Venice sent it: PNG, JPEG or WebP."""

    data: bytes = field(repr=False)
    media_type: str
    headers: Mapping[str, str] = field(repr=False)

    @property
    def model(self) -> str | None:
        """The model that made the edit, if the endpoint names it."""
        return self.headers.get("x-venice-model-id")

    @property
    def request_id(self) -> str | None:
        """Cloudflare's ray id, which Venice's support needs."""
        return self.headers.get("CF-RAY")

    @property
    def quota(self) -> Quota:
        """The rate limit of this model and account, as far as Venice names it."""
        return quota(self.headers)

    @property
    def deprecation(self) -> str | None:
        """Venice's warning that the model will be retired."""
        return self.headers.get("x-venice-model-deprecation-warning")

    @property
    def enhanced(self) -> bool:
        """Whether Venice rewrote the prompt, which costs more."""
        return "x-venice-enhanced-prompt" in self.headers

    @property
    def blurred(self) -> bool:
        """Whether safe mode blurred the picture."""
        return is_true(self.headers, "x-venice-is-blurred")


@dataclass(frozen=True)
class Account:
    """What Venice says about the account of the key.

    `balance`: in US dollars, with the day's DIEM credits, each of which is worth one dollar.
    `limits`: requests a minute by model.
    """

    access_permitted: bool
    balance: float
    limits: Mapping[str, int]


def parameters(instructions: Instructions) -> dict[str, Any]:
    """Return the fields of the request besides the images: only those that the endpoint documents.

    `output_format` is sent with `resolution` only, because Venice answers PNG by default at 1K
    and JPEG above.
    """
    endpoint = ENDPOINTS[instructions.mode or Mode.EDIT]
    given = instructions.as_dict()
    values = {name: given[name] for name in endpoint.fields if name in given}
    if endpoint.model_field and instructions.model:
        values[endpoint.model_field] = instructions.model
    if "resolution" in values:
        values["output_format"] = "png"
    if instructions.mode is Mode.UPSCALE:
        wanted = instructions.enlarged
        values["scale"] = wanted.scale
        if wanted.creativity is not None:
            values["creativity"] = wanted.creativity
    return values


def longest_call(instructions: Instructions) -> float:
    """Return the time limit of one call in seconds: 120, or 210 if the model is known to be slow.

    Add 30 if the prompt is rewritten first. The longest call, 240 s, leaves a minute of Lambda's
    300 s for the work before and after it.
    """
    sent = parameters(instructions)
    model, quality = instructions.model or "", sent.get("quality")
    slow = (
        quality == "high"
        or str(sent.get("resolution", "")).upper() == "4K"
        or (model.startswith("gpt-image-") and quality is None)  # their default is high
    )
    seconds = SLOW_CALL_SECONDS if slow else CALL_SECONDS
    return seconds + (ENHANCE_SECONDS if sent.get("enhance_prompt") else 0.0)


@dataclass(frozen=True)
class Venice:
    """Venice at a base URL. `api_key()` is called for every request; `now()` is in seconds.

    `max_seconds`: no call takes longer, whatever its caller allows. `exchange`: makes a request.
    """

    base_url: str
    api_key: Callable[[], str] = field(repr=False)
    now: Callable[[], float]
    max_seconds: float = math.inf
    exchange: Callable[..., Reply] = exchange

    def edit(
        self,
        instructions: Instructions,
        pictures: Sequence[Photo | str],
        *,
        seconds: float,
        not_after: float = math.inf,
    ) -> Answer:
        """Make one paid call that ends within `seconds`, headers and body included.

        `pictures`: the image and its layers, which may be https URLs. `not_after`: when the call
        may begin at the latest; what it needs, the key for example, may have to be fetched first.
        Raise `LayerError` or `NoSlotError` before the call, else `RateLimitedError`,
        `VeniceUnavailableError`, `NoAnswerError`, `AccountError` or `RefusedError`; their `charge`
        says whether the call was paid.
        """
        mode = instructions.mode or Mode.EDIT
        endpoint = ENDPOINTS[mode]
        body = _body(endpoint, parameters(instructions), pictures)
        key = self.api_key()
        if self.now() > not_after:
            raise NoSlotError("AWS was too slow to use the slot.", retry_at=self.now())
        reply = self._exchange("POST", endpoint.path, key, seconds, **body)
        if reply.status != 200:
            raise error_for(reply, mode, self.now(), key)
        return _answer(reply)

    def account(self) -> Account:
        """Fetch `GET /api_keys/rate_limits`, which is free.

        Raise `AccountError` when the key is refused, `RetryableError` when there is no usable
        answer.
        """
        return _account(self._get("/api_keys/rate_limits"))

    def models(self, kind: str) -> dict[str, Any]:
        """Fetch `GET /models?type=…`, the catalogue with prices and limits, which is free."""
        return self._get(f"/models?type={kind}")

    def _get(self, path: str) -> dict[str, Any]:
        key = self.api_key()
        try:
            reply = self._exchange("GET", path, key, PAGE_SECONDS)
        except NoAnswerError as error:
            error.charge = Charge.NO
            raise
        if reply.status != 200:
            raise error_for(reply, None, self.now(), key)
        try:
            return msgspec.json.decode(reply.body, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise VeniceUnavailableError(
                f"Venice's answer to {path} is not a JSON object."
            ) from error

    def _exchange(self, method: str, path: str, key: str, seconds: float, **body: Any) -> Reply:
        """Return the answer with redacted headers, in case Venice echoes the key in one of them."""
        reply = self.exchange(
            method,
            self.base_url + path,
            min(seconds, self.max_seconds),
            auth=_bearer(key),
            headers={"Connection": "close"},  # no other call would use it
            **body,
        )
        shown = {name: printable(redact(text, key)) for name, text in reply.headers.items()}
        return replace(reply, headers=CaseInsensitiveDict(shown))


def _bearer(key: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Return the key as authentication for requests, which no `.netrc` file can replace."""

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {key}"
        return request

    return authorize


def _account(answer: dict[str, Any]) -> Account:
    try:
        data = answer["data"]
        balances = data.get("balances") or {}
        return Account(
            access_permitted=data.get("accessPermitted") is not False,
            balance=sum(_amount(balances.get(currency) or 0) for currency in ("USD", "DIEM")),
            limits={
                name: int(_amount(limit["amount"]))
                for model in data.get("rateLimits") or ()
                for limit in model.get("rateLimits") or ()
                if limit.get("type") == "RPM"
                and isinstance(name := model.get("apiModelId"), str)
                and 0 < len(name) <= MAX_NAME
                and 1 <= _amount(limit["amount"]) <= MAX_LIMIT
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise VeniceUnavailableError(
            "Venice's answer about the account is not as documented."
        ) from error


def _amount(value: Any) -> float:
    """Return a number, clamped to 0 to 1e9. Raise `ValueError` or `OverflowError`."""
    number = float(value)
    if math.isnan(number):
        raise ValueError("not a number")
    return min(max(number, 0.0), 1e9)


def _body(
    endpoint: Endpoint, values: dict[str, Any], pictures: Sequence[Photo | str]
) -> dict[str, Any]:
    """Return a multipart body, which needs no base64, or JSON if a picture is a URL."""
    if any(isinstance(picture, str) for picture in pictures):
        texts = [p if isinstance(p, str) else base64.b64encode(p.data).decode() for p in pictures]
        return {"json": values | {endpoint.image_field: texts}}
    if len(pictures) > MAX_FILES:
        raise LayerError(
            f"Venice accepts at most {MAX_FILES} images in one request, including the image "
            f"itself. This edit has {len(pictures)}. Remove some layers."
        )
    files = [
        (endpoint.image_field, (f"image-{number}", picture.data, picture.media_type))
        for number, picture in enumerate(pictures)
        if isinstance(picture, Photo)
    ]
    return {"files": files, "data": {name: _form_text(value) for name, value in values.items()}}


def _form_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(reply: Reply) -> Answer:
    facts: dict[str, Any] = {"status": reply.status, "request_id": reply.headers.get("CF-RAY")}
    if violates(reply.headers):
        raise ContentRefusedError(
            "Venice marked the result as a content violation.", charge=Charge.MAYBE, **facts
        )
    if len(reply.body) > MAX_ANSWER_BYTES:
        detail = f"Venice's answer is larger than {MAX_ANSWER_BYTES:,} bytes."
        raise UnusableAnswerError(detail, **facts)
    media_type = photos.media_type_of(reply.body)
    if media_type not in ("image/png", "image/jpeg", "image/webp"):
        kind = reply.headers.get("Content-Type", "no type")
        detail = f"Venice answered {len(reply.body):,} bytes of {printable(kind, 100)!r}."
        raise UnusableAnswerError(detail, **facts)
    return Answer(reply.body, media_type, reply.headers)
