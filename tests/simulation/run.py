"""One run: a seed's workload and faults, until everything has come to its end."""

import io
import logging
from collections.abc import Collection
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial

from image_drop.telemetry import logger
from image_drop_local.simulator.settings import Settings
from tests.simulation import workload
from tests.simulation.deployment import START, Cloud
from tests.simulation.faults import Faults
from tests.simulation.promises import Promises
from tests.simulation.venice import Venice
from tests.simulation.workload import UNTRUSTED, People

MOST_FAULTS = 8
MOST_TROUBLE = 6
MOST_ACTS = 24
SPAN = 2400.0  # seconds in which people act
REQUESTS = 600  # among which faults are drawn
LONGEST = 5 * 86_400.0


@dataclass(frozen=True)
class Run:
    """What a seed came to."""

    seed: int
    broken: tuple[str, ...]
    timeline: tuple[str, ...] = field(repr=False)
    fault_numbers: tuple[int, ...] = ()
    trouble_numbers: tuple[int, ...] = ()
    act_numbers: tuple[int, ...] = ()
    faults: int = 0  # that struck
    trouble: int = 0  # that Venice made
    requests: int = 0
    seconds: float = 0.0


def simulate(
    seed: int,
    *,
    without_faults: Collection[int] = (),
    without_trouble: Collection[int] = (),
    without_acts: Collection[int] = (),
) -> Run:
    """Run a seed; leave out what is named by its number."""
    drawn = Faults.drawn(seed, MOST_FAULTS, REQUESTS)
    faults = Faults({n: f for n, f in drawn.planned.items() if n not in without_faults})
    plan = Venice.drawn(seed, MOST_TROUBLE, 20)
    plan = {number: kind for number, kind in plan.items() if number not in without_trouble}
    acts = [act for act in workload.drawn(seed, MOST_ACTS, SPAN) if act.number not in without_acts]
    windows = ("fixed", "sliding")
    settings = Settings(window_kind=windows[seed % 2], retry_after=bool(seed % 3))  # type: ignore[arg-type]
    limit = ("50", "0.12", "0")[seed % 3]
    logger.setLevel(logging.CRITICAL)
    with redirect_stdout(io.StringIO()):
        cloud = Cloud(
            seed,
            faults,
            settings,
            plan,
            UNTRUSTED_PREFIXES=UNTRUSTED,
            DAILY_SPEND_LIMIT_USD=limit,
            MAX_FAILURES=str(2 + seed % 4),
        )
        people = People(cloud)
        for act in acts:
            cloud.world.call(act.at, partial(people.act, act))
        cloud.world.call(SPAN + 1, people.end)
        world = cloud.world

        def is_over() -> bool:
            settled = world.time > START + SPAN + 700 and cloud.is_settled
            running = settled and cloud.trigger.enabled and not cloud.is_paused
            return running or world.time > START + LONGEST

        world.run(is_over)
        broken = Promises(cloud, people).broken()
        world.close()
    return Run(
        seed,
        tuple(broken),
        tuple(cloud.timeline),
        tuple(faults.planned),
        tuple(plan),
        tuple(act.number for act in acts),
        len(faults.struck),
        len(cloud.venice.met),
        faults.requests,
        world.time - START,
    )
