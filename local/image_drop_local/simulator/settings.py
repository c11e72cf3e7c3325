"""The settings of a simulator, which can change while it runs."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Documents = Literal["spec", "skill"]
Account = Literal["ok", "no_balance", "spend_limit", "bad_key", "forbidden"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings; each default is the hardest one for a client.

    - `limit`: calls of one model in each `window` (seconds). Venice: 20 a minute.
    - `window_kind`: `fixed` windows start at multiples of `window` since 1970; a `sliding` one
      looks back from now. Venice does not say which it uses.
    - `latency`: seconds of real time for a picture.
    - `documents`: which of Venice's documents count if they disagree and either may be right:
      `spec`, its OpenAPI file, which is stricter, or `skill`, its newer agent skills (422 for too
      many pixels, data: URLs accepted everywhere, unknown parts of a multi-edit form ignored,
      error budget in the headers, failures seen before it not counted).
    - `pictures`: `real` edits, or `fast`: a small ready-made picture after the same checks.
    - `reset_unit`: unit of `x-ratelimit-reset-requests`, a Unix time.
    - `retry_after`: send `Retry-After` with a 429 of the rate limit or the lock-out.
    - `lockout_failures`, `lockout_seconds`: more failures of one key than this within that time
      lock the key out for as long again. Failures are 4xx except 429; `lockout_counts_429` counts
      refused calls, too. (Venice's newer documents say 50 instead of 20.)
    - `account`: what is wrong with the account. `spend_limit` is the limit of the key itself,
      which `GET /api_keys/rate_limits` does not show: it still says that access is permitted.
    - `bad_keys`: keys that get 401; any other key is good.
    - `balance_usd`: the balance at the start; every charged call reduces it.
    - `deprecated`: model → ISO date of its end; answered in the deprecation headers.
    """

    limit: Annotated[int, Meta(ge=1)] = 20
    window: Annotated[float, Meta(gt=0)] = 60.0
    window_kind: Literal["fixed", "sliding"] = "fixed"
    latency: Annotated[float, Meta(ge=0)] = 0.0
    documents: Documents = "spec"
    pictures: Literal["real", "fast"] = "real"
    reset_unit: Literal["milliseconds", "seconds"] = "milliseconds"
    retry_after: bool = False
    lockout_failures: Annotated[int, Meta(ge=1)] = 20
    lockout_seconds: Annotated[float, Meta(gt=0)] = 30.0
    lockout_counts_429: bool = False
    account: Account = "ok"
    bad_keys: tuple[str, ...] = ()
    balance_usd: Annotated[float, Meta(ge=0)] = 1000.0
    deprecated: dict[str, str] = {}

    def changed(self, changes: dict[str, Any]) -> "Settings":
        """Return a copy with `changes`. Raise a `msgspec.ValidationError` that names a bad one."""
        return msgspec.convert(msgspec.to_builtins(self) | changes, Settings)
