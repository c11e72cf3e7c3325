"""The simulated Venice API: from an HTTP request to an answer.

The order of the checks is assumed, because Venice does not document it: credentials, lock-out,
account, request, rate limit. So a refused request does not count for the rate limit, and a 429
means that the request itself was valid.
"""

import hashlib
import itertools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import quote

from werkzeug.wrappers import Request

from image_drop_local.simulator import catalogue, errors, pictures
from image_drop_local.simulator.answers import Answer, json_answer
from image_drop_local.simulator.calls import Call, Calls
from image_drop_local.simulator.errors import ApiError
from image_drop_local.simulator.faults import Fault, Faults
from image_drop_local.simulator.limits import LockOut, Quota, RateLimit
from image_drop_local.simulator.schema import Endpoint, Order, read_order
from image_drop_local.simulator.settings import Settings

PREFIX = "/api/v1"
VERSION = "simulation"


class Api:
    """One account with its keys.

    `clock` returns seconds since 1970; limits, lock-outs and headers use it. `wait` pauses for
    seconds of real time and ends early when the server closes.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], float], wait: Callable[[float], object]
    ) -> None:
        self.settings = settings
        self.calls = Calls()
        self.faults = Faults()
        self.lock_out = LockOut()
        self._rate_limit = RateLimit()
        self._clock = clock
        self._wait = wait
        self._serial = itertools.count(1)
        # Pillow is not faster with more threads than cores, and each large picture takes memory.
        self._drawing = BoundedSemaphore(os.cpu_count() or 1)

    def answer(self, http: Request) -> Answer:
        match http.method, http.path.removeprefix(PREFIX).strip("/").split("/"):
            case "POST", [
                "image",
                ("edit" | "multi-edit" | "background-remove" | "upscale") as endpoint,
            ]:
                with self.calls.in_flight():
                    return self._image(http, endpoint)
            case "GET", ["models"]:
                return self._page(http, "models", _models)
            case "GET", ["api_keys", "rate_limits"]:
                return self._page(http, "rate_limits", self._account)
            case _:
                what = f"There is no {http.method} {http.path} in the simulator"
                return json_answer({"error": what}, 404)

    # The four image endpoints

    def _image(self, http: Request, endpoint: Endpoint) -> Answer:
        settings, at, key = self.settings, self._clock(), _bearer(http)
        call = Call(at=at, path=http.path, status=None, key_sha256=_digest(key))
        unread = self.faults.take(endpoint, unread=True)
        if unread:
            self.calls.add(replace(call, fault=str(unread.answer)))
            return unread.spoil(Answer(body=b"", content_type="text/plain"))
        headers = self._headers(at, settings)
        try:
            self._admit(http, key, at, settings)
            order = read_order(http, endpoint, settings.documents)
            call = replace(
                call,
                model=order.model.id,
                image_sha256=hashlib.sha256(order.images[0]).hexdigest(),
                prompt_length=len(order.prompt),
            )
            if self._balance(settings) < order.usd:
                raise errors.no_balance()
            headers |= self._take_place(order, at, settings)
            fault = self.faults.take(endpoint, order.model.id, order.prompt)
            if fault:
                charged = order.usd if fault.is_charged else 0.0
                call = replace(call, fault=str(fault.answer), charged_usd=charged)
                headers |= _reset_header(fault, at, settings)
            self._wait(settings.latency + (fault.delay if fault else 0.0))
            answer = self._carry_out(order, fault, settings, key)
            if not fault:
                call = replace(call, charged_usd=order.usd)
        except ApiError as error:
            self._count_failure(error, key, settings)
            self.calls.add(replace(call, status=error.status, refused=error.refused))
            return _error_answer(error, headers | self._budget(key, settings))
        self.calls.add(replace(call, status=answer.seen_status))
        return answer.with_headers(headers | self._budget(key, settings))

    def _admit(self, http: Request, key: str | None, at: float, settings: Settings) -> None:
        if key is None:
            raise errors.no_credentials(http.base_url)
        until = self.lock_out.ends(key, at)
        if until is not None:
            error = errors.locked_out(settings.lockout_failures, settings.lockout_seconds)
            if settings.retry_after:
                error.headers["Retry-After"] = str(math.ceil(until - at))
            raise error
        if settings.account == "bad_key" or key in settings.bad_keys:
            raise errors.bad_key()
        if settings.account == "forbidden":
            raise errors.forbidden()
        if settings.account == "no_balance":
            raise errors.no_balance()
        if settings.account == "spend_limit":
            raise errors.spend_limit()

    def _take_place(self, order: Order, at: float, settings: Settings) -> dict[str, str]:
        quota = self._rate_limit.take(order.model.id, at, settings)
        headers = _quota_headers(quota, settings)
        if quota.granted:
            return headers
        error = errors.rate_limited()
        error.headers |= headers
        if settings.retry_after:
            error.headers["Retry-After"] = str(math.ceil(quota.reset_at - at))
        raise error

    def _carry_out(
        self, order: Order, fault: Fault | None, settings: Settings, key: str | None
    ) -> Answer:
        if fault:
            error = fault.error(key)
            if error:
                raise error
        answer = Answer(
            body=self._draw(order, settings),
            content_type=f"image/{order.output_format}",
            headers=_order_headers(order, settings),
        )
        return fault.spoil(answer) if fault else answer

    def _draw(self, order: Order, settings: Settings) -> bytes:
        removal = order.endpoint == "background-remove"
        if order.endpoint == "upscale" and settings.pictures == "fast":
            return pictures.blank(pictures.enlarged_size(order.images[0], order.scale))
        if settings.pictures == "fast":
            return pictures.canned(order.output_format, transparent=removal)
        try:
            with self._drawing:
                if removal:
                    return pictures.cut_out(order.images[0])
                if order.endpoint == "upscale":
                    return pictures.enlarged(order.images[0], order.scale)
                return pictures.edit(
                    order.images,
                    order.prompt,
                    aspect_ratio=order.aspect_ratio,
                    resolution=order.resolution,
                    form=order.output_format,
                )
        except pictures.UnreadableImageError as error:
            raise errors.refused("Corrupted image", str(error)) from None

    def _count_failure(self, error: ApiError, key: str | None, settings: Settings) -> None:
        """Count a failure. By the newer documents those before the error budget do not count."""
        counts = error.counted or settings.documents == "spec"
        if error.status == 429:
            counts = settings.lockout_counts_429 and error.refused != "lock_out"
        if key is not None and counts and error.status < 500:
            self.lock_out.fail(key, self._clock(), settings)

    # The two pages

    def _page(
        self, http: Request, endpoint: str, content: Callable[[Request, Settings], dict[str, Any]]
    ) -> Answer:
        settings, at = self.settings, self._clock()
        headers = self._headers(at, settings)
        fault = self.faults.take(endpoint)
        call = Call(at=at, path=http.path, status=None, fault=str(fault.answer) if fault else None)
        try:
            self._wait(fault.delay if fault else 0.0)
            error = fault.error(_bearer(http)) if fault else None
            if error:
                raise error
            answer = json_answer(content(http, settings))
        except ApiError as error:
            self.calls.add(replace(call, status=error.status))
            return _error_answer(error, headers)
        answer = fault.spoil(answer) if fault else answer
        self.calls.add(replace(call, status=answer.seen_status))
        return answer.with_headers(headers)

    def _account(self, http: Request, settings: Settings) -> dict[str, Any]:
        """Return the account. Assumed: no access without balance; background removal is listed."""
        key = _bearer(http)
        if key is None:
            raise errors.no_credentials(http.base_url)
        if settings.account == "bad_key" or key in settings.bad_keys:
            raise errors.bad_key()
        balance = self._balance(settings)
        midnight = datetime.fromtimestamp(self._clock(), UTC).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        limits = [{"amount": settings.limit, "type": "RPM"}]
        return {
            "data": {
                "accessPermitted": settings.account != "forbidden" and balance > 0,
                "apiTier": {"id": "paid", "isCharged": True},
                "balances": {"USD": balance, "DIEM": 0},
                "keyExpiration": None,
                "nextEpochBegins": (midnight + timedelta(days=1)).isoformat(),
                "rateLimits": [
                    {"apiModelId": model, "rateLimits": limits} for model in catalogue.MODELS
                ],
            }
        }

    # Headers

    def _headers(self, at: float, settings: Settings) -> dict[str, str]:
        headers = {
            "CF-RAY": f"{next(self._serial):016x}-SIM",
            "x-venice-version": VERSION,
            "x-venice-host-name": VERSION,
            "x-venice-timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
        }
        balance = self._balance(settings)
        if balance > 0:  # left out when zero, say the newer documents
            headers["x-venice-balance-usd"] = f"{balance:.6f}"
        return headers

    def _balance(self, settings: Settings) -> float:
        if settings.account == "no_balance":
            return 0.0
        return max(0.0, round(settings.balance_usd - self.calls.spent_usd, 6))

    def _budget(self, key: str | None, settings: Settings) -> dict[str, str]:
        """Return the error budget of the newer documents, with its reset in milliseconds."""
        if key is None or settings.documents == "spec":
            return {}
        now = self._clock()
        return {
            "x-ratelimit-remaining": str(self.lock_out.left(key, now, settings)),
            "x-ratelimit-resets": str(math.ceil((now + settings.lockout_seconds) * 1000)),
        }


def _bearer(http: Request) -> str | None:
    scheme, _, key = http.headers.get("Authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _digest(key: str | None) -> str | None:
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()


def _models(http: Request, _: Settings) -> dict[str, Any]:
    """Return the models, without a key, as in the OpenAPI file; all of them without `type`."""
    match http.args.get("type", "all"):
        case ("inpaint" | "image" | "all") as wanted:
            return catalogue.listing(wanted)
        case other:
            raise errors.invalid(
                f"Expected 'inpaint' | 'image' | 'all', received {other!r}", "type"
            )


def _error_answer(error: ApiError, headers: Mapping[str, str]) -> Answer:
    if isinstance(error.body, str):
        page = error.body.encode()
        answer = Answer(status=error.status, body=page, content_type="text/html; charset=utf-8")
    else:
        answer = json_answer(error.body, error.status)
    return replace(answer, headers=error.headers).with_headers(headers)


def _time(at: float, unit: str) -> str:
    return str(math.ceil(at * 1000 if unit == "milliseconds" else at))


def _quota_headers(quota: Quota, settings: Settings) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(quota.limit),
        "x-ratelimit-remaining-requests": str(quota.remaining),
        "x-ratelimit-reset-requests": _time(quota.reset_at, settings.reset_unit),
    }


def _reset_header(fault: Fault, at: float, settings: Settings) -> dict[str, str]:
    if fault.reset_after is None:
        return {}
    unit = fault.reset_unit or settings.reset_unit
    return {"x-ratelimit-reset-requests": _time(at + fault.reset_after, unit)}


def _order_headers(order: Order, settings: Settings) -> dict[str, str]:
    """Return the headers that the OpenAPI file lists for the endpoint."""
    headers: dict[str, str] = {}
    if order.endpoint in ("edit", "multi-edit"):
        headers["x-venice-is-content-violation"] = "false"
    if order.endpoint == "edit":
        headers |= {
            "x-venice-model-id": order.model.id,
            "x-venice-model-name": order.model.name,
        }
    if order.enhance_prompt:
        headers["x-venice-enhanced-prompt"] = quote(f"{order.prompt}, in rich detail", safe="")
    if order.model.id in settings.deprecated:
        date = settings.deprecated[order.model.id]
        headers |= {
            "x-venice-model-deprecation-warning": f"{order.model.id} will be removed on {date}.",
            "x-venice-model-deprecation-date": date,
            "x-venice-deprecated": "true",
            "x-venice-deprecated-replacement": catalogue.DEFAULT_MODEL,
        }
    return headers
