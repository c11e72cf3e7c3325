"""Whatever goes wrong at any one request: nothing is lost, and every cent is counted.

A life of an image is played once for each request that it takes and each way in which that can go
wrong; then every promise has to hold, and the outcome has to be the one of an undisturbed life.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from image_drop_local.simulator.settings import Settings
from tests.simulation.deployment import OUTPUT, Cloud
from tests.simulation.faults import Fault, Faults
from tests.simulation.run import play, quiet
from tests.simulation.workload import Act

SPAN = 900.0  # seconds of a life: three rounds of the account watch
ROUNDS = 1  # of the account watch that are disturbed in a life; the others are all the same
ROUND_BEGINS = "venice /api_keys/rate_limits"
PARTS = 2  # of the requests, so that several processes share them
READS = ("get_", "head_", "list_", "batch_get", "receive_", "/api_keys", "/models")
CUT: Mapping[str, Any] = {"mode": "background-remove"}  # $0.03
FRAMED: Mapping[str, Any] = {
    **CUT,
    "finish": {"format": "webp", "margin": "5%"},
    "keep_original": True,
}
LARGER: Mapping[str, Any] = {**CUT, "finish": {"size": "400x400", "upscale": "auto"}}
VARIANTS = {"variants": {"cut": CUT, "pink": {"prompt": "pink"}}}


@dataclass(frozen=True)
class Life:
    """What happens to an image, the keys in the output bucket in the end, and the calls charged.

    `meets`: what its calls meet at Venice, by their number. `rounds`: see `ROUNDS`.
    """

    acts: Sequence[Act]
    outputs: tuple[str, ...]
    charged: int
    meets: Mapping[int, str] = field(default_factory=dict)
    rounds: int = ROUNDS


def upload(instructions: Mapping[str, Any]) -> list[Act]:
    return [Act(10, "put sidecar", "a.jpg", 1, instructions), Act(11, "upload", "a.jpg", 2)]


LIVES = {
    "cut-out": Life(upload(CUT), ("a.jpg.png",), 1),
    "finish": Life(upload(FRAMED), ("a.jpg.original.png", "a.jpg.webp"), 1),
    "variants": Life(upload(VARIANTS), ("a.jpg.cut.png", "a.jpg.pink.png"), 2),
    "enlarged": Life(upload({"mode": "upscale"}), ("a.jpg.png",), 1),
    "two calls": Life(upload(LARGER), ("a.jpg.png",), 2),
    "retried": Life(upload(CUT), ("a.jpg.png",), 1, {0: "503"}),
    "refused": Life(upload(CUT), ("a.jpg.error.json",), 0, {0: "400", 1: "400"}),
    "unusable": Life(upload(CUT), ("a.jpg.error.json",), 1, {0: "html", 1: "html"}),
    "no instructions": Life([Act(10, "upload", "a.jpg", 2)], ("a.jpg.error.json",), 0),
    "instructions later": Life(
        [Act(10, "upload", "a.jpg", 2), Act(40, "put sidecar", "a.jpg", 3, CUT)], ("a.jpg.png",), 1
    ),
    "under another name": Life(
        [*upload(CUT), Act(60, "copy images", "b/", 4)], ("a.jpg.png", "b/copy-4-0.jpg.png"), 1
    ),
    "outage": Life(
        [
            Act(5, "account away", "", 4),
            Act(10, "upload with tags", "a.jpg", 7, CUT),
            Act(12, "upload with tags", "b.jpg", 8, CUT),
            Act(330, "account back", "", 6),
        ],
        ("a.jpg.png", "b.jpg.png"),
        2,
        rounds=9,  # all
    ),
}


@dataclass
class Listed(Faults):
    """Faults of some requests, and what the requests were."""

    made: list[str] = field(default_factory=list)

    def next(self, operation: str) -> tuple[int, Fault] | None:
        self.made.append(operation)
        return super().next(operation)

    def ways(self, rounds: int) -> list[tuple[int, Fault]]:
        """Return each request with each fault that makes a difference.

        A read that is repeated changes nothing, and a kill after a read leaves what a kill after
        the request before it leaves.
        """
        writes = (Fault.LOST, Fault.REPEATED, Fault.KILLED_AFTER)
        begins = [number for number, each in enumerate(self.made) if each == ROUND_BEGINS]
        end = begins[rounds] if rounds < len(begins) else len(self.made)
        return [
            (number, fault)
            for number, operation in enumerate(self.made[:end])
            for fault in (Fault.REFUSED, *writes)
            if fault is Fault.REFUSED or not any(read in operation for read in READS)
        ]


def lived(life: Life, faults: Faults) -> tuple[list[str], list[str], int]:
    """Return the broken promises, the keys in the output bucket, and how many calls cost."""
    with quiet():
        cloud = Cloud(1, faults, Settings(), life.meets, DAILY_SPEND_LIMIT_USD="50")
        found = play(cloud, life.acts, SPAN)
    return found, cloud.s3.keys(OUTPUT), len(cloud.venice.book)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", LIVES)
def test_any_request_that_goes_wrong_breaks_no_promise(name: str, part: int) -> None:
    life, undisturbed = LIVES[name], Listed({})
    assert lived(life, undisturbed) == ([], sorted(life.outputs), life.charged)
    for number, fault in undisturbed.ways(life.rounds)[part::PARTS]:
        struck = Listed({number: fault})
        assert lived(life, struck)[:2] == ([], sorted(life.outputs)), (
            f"request {number}, {struck.made[number]}: {fault}"
        )
