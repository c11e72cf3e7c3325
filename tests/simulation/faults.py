"""What goes wrong, drawn from the seed: which request it strikes, and how."""

import random
from collections import Counter
from collections.abc import Collection, Mapping
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


# Where a fault says most: what writes money, outcomes and results, and what tells of them.
CRITICAL = (
    "dynamodb.transact_write_items",
    "dynamodb.transact_write_items",
    "s3.put_object",
    "s3.delete_object",
    "sqs.send_message",
    "sqs.change_message_visibility",
    "events.put_events",
)
MOST_COUNT = 14
AIMED = 10_000  # the number of the first fault that is aimed at an operation


@dataclass(frozen=True)
class Aimed:
    """A fault of an operation's n-th request, counted from 0."""

    operation: str
    count: int
    fault: Fault


@dataclass
class Faults:
    """The faults of a run, by the number of the request that they strike.

    `aimed`: others, by numbers from `AIMED` on.
    """

    planned: Mapping[int, Fault]
    aimed: Mapping[int, Aimed] = field(default_factory=dict)
    requests: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    struck: list[Fault] = field(default_factory=list)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of all of them."""
        return (*self.planned, *self.aimed)

    def without(self, numbers: Collection[int]) -> "Faults":
        """Return the others."""
        return Faults(
            {number: each for number, each in self.planned.items() if number not in numbers},
            {number: each for number, each in self.aimed.items() if number not in numbers},
        )

    @classmethod
    def drawn(cls, seed: object, most: int, requests: int) -> "Faults":
        """Draw up to `most` faults among the first `requests` requests."""
        rng = random.Random(f"{seed} faults")
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        count = rng.randrange(most + 1)
        numbers = sorted(rng.randrange(requests) for _ in range(count))
        aimed = {
            AIMED + number: Aimed(
                rng.choice(CRITICAL), rng.randrange(MOST_COUNT), rng.choices(kinds, weights)[0]
            )
            for number in range(rng.choice((0, 0, 1, 2, 3)))
        }
        return cls({number: rng.choices(kinds, weights)[0] for number in numbers}, aimed)

    def next(self, operation: str) -> tuple[int, Fault] | None:
        """Return the number and the fault of the next request, which is such an operation."""
        number, count = self.requests, self.operations[operation]
        fault = self.planned.get(number)
        self.requests += 1
        self.operations[operation] += 1
        for other, aimed in self.aimed.items():
            if (aimed.operation, aimed.count) == (operation, count):
                number, fault = other, aimed.fault
        if fault:
            self.struck.append(fault)
        return (number, fault) if fault else None
