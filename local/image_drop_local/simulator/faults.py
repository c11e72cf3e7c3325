"""Failures on demand: which calls they affect, and what they do.

An HTTP status answers with that error: 408, 504 and 524 after the work and charged, any other
before it and free. The words:

| fault | what the client sees | charged |
|---|---|---|
| `overloaded` | 429, "model overloaded", Retry-After 30 | no |
| `reset` | connection reset before the request is read, so whatever its model | no |
| `drop` | connection closed before any work | no |
| `timeout` | no answer for `seconds` (300) after the work is done | yes |
| `drop_after`, `reset_after` | connection closed or reset after the work, before any byte | yes |
| `drop_mid` | half of the answer, then the connection closes | yes |
| `html`, `empty` | 200 with a web page; 200 with nothing | yes |
| `truncated`, `jpeg` | half of the picture as if it were complete; JPEG in any case | yes |
| `content_violation`, `blurred` | 200 with that header | yes |
| `slow` | the right answer, `seconds` (1) late | yes |
| `slow_head`, `slow_body` | a byte of its headers or body every `seconds` (1) | yes |

Whether Venice charges a call that failed after the work is not documented; this is the more
expensive assumption.
"""

from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from image_drop_local.simulator import errors, pictures
from image_drop_local.simulator.answers import Answer, Delivery
from image_drop_local.simulator.errors import ApiError

AFTER_THE_WORK = (408, 504, 524)
FREE: tuple[object, ...] = ("overloaded", "reset", "drop")
DELIVERIES: Mapping[object, Delivery] = {
    "reset": "reset",
    "drop": "none",
    "timeout": "held",
    "drop_after": "none",
    "reset_after": "reset",
    "drop_mid": "half",
    "slow_head": "slow_head",
    "slow_body": "slow_body",
}
Status = Annotated[int, Meta(ge=400, le=599)]
Word = Literal[
    "overloaded",
    "reset",
    "drop",
    "timeout",
    "drop_after",
    "reset_after",
    "drop_mid",
    "html",
    "empty",
    "truncated",
    "jpeg",
    "content_violation",
    "blurred",
    "slow",
    "slow_head",
    "slow_body",
]
Target = Literal["edit", "multi-edit", "background-remove", "upscale", "models", "rate_limits"]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One failure and the calls that it affects.

    `endpoint` (None: the image endpoints), `model` and `prompt` (a part of it) select calls.
    `times`: the number of calls; None means until it is removed. For a 429, `retry_after` (seconds)
    is sent if given, and `reset_after` moves `x-ratelimit-reset-requests` to that many seconds from
    now, in `reset_unit`. `charged` overrides the table above, for example for a 422 of Venice's own
    moderation. `echo_key`: the error's text repeats the API key.
    """

    answer: Status | Word
    endpoint: Target | None = None
    model: str | None = None
    prompt: str | None = None
    times: Annotated[int, Meta(ge=1)] | None = None
    seconds: Annotated[float, Meta(ge=0)] | None = None
    retry_after: Annotated[float, Meta(ge=0)] | None = None
    reset_after: float | None = None
    reset_unit: Literal["milliseconds", "seconds"] | None = None
    charged: bool | None = None
    echo_key: bool = False

    def __post_init__(self) -> None:
        if self.answer == "reset" and (self.model or self.prompt):
            raise ValueError("`reset` strikes before the model and the prompt are read")

    def strikes(self, endpoint: str, model: str | None, prompt: str) -> bool:
        image_endpoint = endpoint not in ("models", "rate_limits")
        return (
            (image_endpoint if self.endpoint is None else self.endpoint == endpoint)
            and self.model in (None, model)
            and (self.prompt is None or self.prompt in prompt)
        )

    @property
    def delay(self) -> float:
        """The seconds by which the answer is late."""
        late = 1.0 if self.seconds is None else self.seconds
        return late if self.answer == "slow" else 0.0

    @property
    def is_charged(self) -> bool:
        if self.charged is not None:
            return self.charged
        if isinstance(self.answer, int):
            return self.answer in AFTER_THE_WORK
        return self.answer not in FREE

    def error(self, key: str | None = None) -> ApiError | None:
        """Return the error that the fault answers with, or None. `key`: of the request."""
        if self.answer == "overloaded":
            return errors.overloaded(self.retry_after)
        if not isinstance(self.answer, int):
            return None
        message = errors.MESSAGES.get(self.answer, "Simulated failure")
        if self.echo_key:
            message += f" (Authorization: Bearer {key})"
        headers = {"x-ratelimit-type": "RPM"} if self.answer == 429 else {}
        if self.retry_after is not None:
            headers["Retry-After"] = f"{self.retry_after:g}"
        return ApiError(self.answer, message, headers=headers)

    def spoil(self, answer: Answer) -> Answer:
        """Return the answer that the client gets instead of the good one."""
        if self.answer in DELIVERIES:
            default = 300.0 if self.answer == "timeout" else 1.0
            hold = default if self.seconds is None else self.seconds
            return replace(answer, delivery=DELIVERIES[self.answer], hold=hold)
        match self.answer:
            case "html":
                page = b"<html><body><h1>Just a moment...</h1></body></html>"
                return replace(answer, body=page, content_type="text/html; charset=utf-8")
            case "empty":
                return replace(answer, body=b"")
            case "truncated":
                return replace(answer, body=answer.body[: len(answer.body) // 2])
            case "jpeg":
                return replace(
                    answer, body=pictures.to_jpeg(answer.body), content_type="image/jpeg"
                )
            case "content_violation":
                return _with_header(answer, "x-venice-is-content-violation")
            case "blurred":
                return _with_header(answer, "x-venice-is-blurred")
            case _:
                return answer


class Faults:
    """The faults that wait for a call; the first added one that matches is used."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Fault] = []

    def add(self, answer: int | Word, **matching: Any) -> None:
        """Add a fault. Raise a `msgspec.ValidationError` that names what is wrong with it."""
        fault = msgspec.convert({"answer": answer, **matching}, Fault)
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> list[Fault]:
        with self._lock:
            return list(self._waiting)

    def take(
        self, endpoint: str, model: str | None = None, prompt: str = "", *, unread: bool = False
    ) -> Fault | None:
        """Return the fault for this call and count it. `unread`: before the request is read."""
        with self._lock:
            for place, fault in enumerate(self._waiting):
                early = fault.answer == "reset"
                if early == unread and fault.strikes(endpoint, model, prompt):
                    self._use(place, fault)
                    return fault
        return None

    def _use(self, place: int, fault: Fault) -> None:
        if fault.times == 1:
            del self._waiting[place]
        elif fault.times is not None:
            self._waiting[place] = msgspec.structs.replace(fault, times=fault.times - 1)


def _with_header(answer: Answer, name: str) -> Answer:
    return replace(answer, headers={**answer.headers, name: "true"})
