"""What an answer of Venice says about the rate limit of its model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quota:
    """The rate limit of a model and account, as far as an answer's headers name it.

    `limit`: requests a minute. `remaining`: those that are left until `reset_at`, which is in
    seconds since 1970.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_at: float | None = None
