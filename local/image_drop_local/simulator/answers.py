"""An answer before it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

type Delivery = Literal["whole", "half", "none", "reset", "held", "slow_head", "slow_body"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`delivery`: `whole`; `half` the body, then the connection closes; `none`, closed at once;
    `reset`, closed at once with a reset; `held` for `hold` seconds, then closed without a byte;
    `slow_head` and `slow_body`, a byte of the headers or the body every `hold` seconds."""

    status: int = 200
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = "whole"
    hold: float = 0.0

    @property
    def seen_status(self) -> int | None:
        """What the client sees; None where the connection closes before the first byte."""
        return None if self.delivery in ("none", "reset", "held", "slow_head") else self.status

    def with_headers(self, headers: Mapping[str, str]) -> "Answer":
        """Return a copy with more headers; headers that it already has stay."""
        return replace(self, headers={**headers, **self.headers})


def json_answer(content: Any, status: int = 200) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(content), content_type="application/json")
