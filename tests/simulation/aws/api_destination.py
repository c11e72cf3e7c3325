"""EventBridge's delivery to an API destination: retries, what is refused, and the dead letters.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html and
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html. How long the
waits are is not documented: exponential with jitter, here up to twelve minutes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.simulation.world import World

RETRIED = {401, 407, 409, 429}  # and 5xx; all others count as refused at once, 3xx too
LONGEST_WAIT = 720.0  # seconds; so that 185 tries last for the day


@dataclass(frozen=True)
class DeadLetter:
    """An event that was not delivered. `code`: the last status; None without an answer."""

    event: Any
    at: float
    code: int | None
    retries: int


@dataclass
class ApiDestination:
    """The target of a rule, as the template has it.

    `answer`: the server's, by event; None is a connection that fails or an answer after 5 s.
    """

    world: World
    target: Mapping[str, Any]
    answer: Callable[[Any], int | None]
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def deliver(self, event: Any) -> None:
        """Take an event of the bus."""
        self.world.call(0.5, partial(self._try, event, self.world.time, 0))

    def _try(self, event: Any, since: float, retries: int) -> None:
        code = self.answer(event)
        if code is not None and 200 <= code < 300:
            return
        policy = self.target["RetryPolicy"]
        wait = self.world.rng.uniform(0.5, 1.0) * min(LONGEST_WAIT, 2.0**retries)
        again = code is None or code in RETRIED or code >= 500
        late = self.world.time + wait > since + policy["MaximumEventAgeInSeconds"]
        if not again or late or retries == policy["MaximumRetryAttempts"]:
            if "DeadLetterConfig" in self.target:
                self.dead_letters.append(DeadLetter(event, self.world.time, code, retries))
            return
        self.world.call(wait, partial(self._try, event, since, retries + 1))
