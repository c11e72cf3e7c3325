"""What goes wrong, drawn from the seed: which request it strikes, and how."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """What may happen to a request to AWS or Venice, and to who makes it."""

    REFUSED = "refused with 500"
    THROTTLED = "throttled"
    TIMED_OUT = "timed out without effect"
    REPEATED = "applied, the answer lost, repeated by the SDK"
    LOST = "applied, the answer lost for good"
    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    CLOCK_JUMP = "the machine's clock jumps"
    REDEPLOYED = "a new version is deployed"


WEIGHTS: Mapping[Fault, int] = {
    Fault.REFUSED: 3,
    Fault.THROTTLED: 2,
    Fault.TIMED_OUT: 2,
    Fault.REPEATED: 4,
    Fault.LOST: 4,
    Fault.KILLED_BEFORE: 4,
    Fault.KILLED_AFTER: 4,
    Fault.CLOCK_JUMP: 1,
    Fault.REDEPLOYED: 1,
}


@dataclass
class Faults:
    """The faults of a run, by the number of the request that they strike."""

    planned: Mapping[int, Fault]
    requests: int = 0
    struck: list[Fault] = field(default_factory=list)

    @classmethod
    def drawn(cls, seed: object, most: int, requests: int) -> "Faults":
        """Draw up to `most` faults among the first `requests` requests."""
        rng = random.Random(f"{seed} faults")
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        count = rng.randrange(most + 1)
        numbers = sorted(rng.randrange(requests) for _ in range(count))
        return cls({number: rng.choices(kinds, weights)[0] for number in numbers})

    def next(self) -> Fault | None:
        """Return the fault of the next request."""
        fault = self.planned.get(self.requests)
        self.requests += 1
        if fault:
            self.struck.append(fault)
        return fault
