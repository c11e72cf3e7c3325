"""One run: a seed's workload and faults, until everything has come to its end."""

import gc
import io
import logging
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial

from image_drop.telemetry import logger
from image_drop_local.simulator.settings import Settings
from tests.simulation import stories, workload
from tests.simulation.deployment import START, Cloud
from tests.simulation.faults import Faults
from tests.simulation.promises import broken
from tests.simulation.venice import Venice
from tests.simulation.words import DEFAULT_MODEL, UNTRUSTED
from tests.simulation.workload import Act, People

MOST_FAULTS = 8
MOST_TROUBLE = 6
MOST_PAGES = 2
MOST_ACTS = 24
SPAN = 2400.0  # seconds in which people act
REQUESTS = 600  # among which faults are drawn
TELLING = 1000.0  # seconds in which a pause is announced
FOLDERS_SHARE = 0.2
TIDY = 20  # runs whose garbage is kept; looking for it takes as long as half a run
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
    faults = Faults.drawn(seed, MOST_FAULTS, REQUESTS).without(without_faults)
    plan = Venice.drawn(seed, MOST_TROUBLE, 20)
    plan = {number: kind for number, kind in plan.items() if number not in without_trouble}
    drawn_acts = [*workload.drawn(seed, MOST_ACTS, SPAN), *stories.drawn(seed, SPAN)]
    acts = [act for act in drawn_acts if act.number not in without_acts]
    windows = ("fixed", "sliding")
    settings = Settings(window_kind=windows[seed % 2], retry_after=bool(seed % 3))  # type: ignore[arg-type]
    rng = random.Random(f"{seed} parameters")
    with quiet():
        cloud = Cloud(
            seed,
            faults,
            settings,
            plan,
            UNTRUSTED_PREFIXES=UNTRUSTED,
            DAILY_SPEND_LIMIT_USD=rng.choice(("50", "50", "0.12", "0")),
            MAX_FAILURES=str(rng.randrange(2, 6)),
            MAX_EDIT_USD=rng.choice(("1", "1", "0", "0.06")),
            ALLOWED_MODELS=rng.choice(("", "", "", f"{DEFAULT_MODEL},bria-bg-remover")),
            **_folders(seed),
        )
        cloud.venice.pages = Venice.drawn_pages(seed, MOST_PAGES, 12)
        found = play(cloud, acts, SPAN)
    if seed % TIDY == 0:
        gc.unfreeze()  # cold starts freeze all there is, the garbage of runs included
        gc.collect()
    return Run(
        seed,
        tuple(found),
        tuple(cloud.timeline),
        faults.numbers,
        tuple(plan),
        tuple(act.number for act in acts),
        len(faults.struck),
        len(cloud.venice.met),
        faults.requests,
        cloud.world.time - START,
    )


def _folders(seed: int) -> dict[str, str]:
    """Draw which folders of the buckets are the stack's; usually the whole buckets are."""
    rng = random.Random(f"{seed} folders")
    drawn = (("INPUT_PREFIX", "shop/"), ("OUTPUT_PREFIX", "edited/2027/"))
    return {name: folder for name, folder in drawn if rng.random() < FOLDERS_SHARE}


@contextmanager
def quiet() -> Iterator[None]:
    """Let the functions log and measure into nothing."""
    level = logger.log_level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def play(cloud: Cloud, acts: Sequence[Act], span: float) -> list[str]:
    """Let people act for `span` seconds and everything come to its end; return what is broken."""
    people, world = People(cloud), cloud.world
    for act in acts:
        world.call(act.at, partial(people.act, act))
    world.call(span + 1, people.end)

    def is_over() -> bool:
        settled = world.time > START + span + 700 and cloud.is_settled
        running = settled and cloud.trigger.enabled and not cloud.is_paused
        told = cloud.is_announced or world.time > cloud.journal.switched_at + TELLING
        return (running and told) or world.time > START + LONGEST

    world.run(is_over)
    found = list(broken(cloud, people))
    world.close()
    return found
