"""Acts of people that belong together, because some breaks need several of them in a row."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.simulation.words import POISON
from tests.simulation.workload import WAVES, Act

FIRST = 100  # number of a story's first act; `workload` counts from 1
WEATHER = 200  # the same of bad weather
BUSY_SHARE = 0.12
COPIES = 300  # the same of copies
COPIES_SHARE = 0.3
ENLARGED = 400  # the same of enlargements
ENLARGED_SHARE = 0.12
LIMITS = 500  # the same of limits for a day
LIMITS_SHARE = 0.12
SHARE = 0.7  # of the seeds that have a story
Step = tuple[float, str, str, Mapping[str, Any]]  # seconds, kind, key, instructions
RED: Mapping[str, Any] = {"prompt": "red"}
CUT: Mapping[str, Any] = {"mode": "background-remove"}
VARIANTS: Mapping[str, Any] = {"variants": {"pink": {"prompt": "pink"}, "cut": CUT}}
THOUGHTS: tuple[Mapping[str, Any], ...] = (
    RED,
    CUT,
    VARIANTS,
    {"prompt": "blue"},
    {"promt": "a slip"},
)
ALL = ("s3.",)  # requests
WRITES = ("s3.put_object", "s3.delete_object")  # S3 counts them apart from reads
LAYERED: Mapping[str, Any] = {"prompt": "on marble", "layers": ["_layers/mask.png"]}


def drawn(seed: object, seconds: float) -> list[Act]:
    """Draw one story or none, and some of what happens besides, within so many seconds."""
    besides = (_weather, _copies, _enlargements, _limits_today)
    return [*_story(seed, seconds), *(act for draw in besides for act in draw(seed, seconds))]


def _weather(seed: object, seconds: float) -> Iterator[Act]:
    """S3 is busy for some time, and somebody uploads a finished image again meanwhile."""
    rng = random.Random(f"{seed} weather")
    if rng.random() > BUSY_SHARE:
        return
    key, begin = rng.choice(("a.jpg", "shop/b.jpg")), rng.uniform(0, seconds - 450)
    yield Act(begin, "upload with tags", key, WEATHER, CUT)
    busy = {"seconds": rng.uniform(10, 300), "with": ALL}
    yield Act(begin + 100, "S3 is busy", "", WEATHER + 1, busy)
    for number in range(rng.choice((1, 1, 3))):
        at = begin + 102 + 3 * number
        yield Act(at, "same bytes again", key, WEATHER + 2 + number)


def _copies(seed: object, seconds: float) -> Iterator[Act]:
    """Somebody copies images to other names, and may want new draws of some."""
    rng = random.Random(f"{seed} copies")
    if rng.random() > COPIES_SHARE:
        return
    for number in range(rng.choice((1, 2, 3))):
        folder = rng.choice(("copies/", "copies/", "shop/", "customers/"))
        yield Act(rng.uniform(100, seconds), "copy images", folder, COPIES + number)
    if rng.random() < 0.5:
        key = rng.choice(("a.jpg", "shop/a.jpg", "shop/b.jpg"))
        yield Act(rng.uniform(100, seconds), "fresh retry", key, COPIES + 9)


def _enlargements(seed: object, seconds: float) -> Iterator[Act]:
    """Somebody wants results that are larger than their images: two calls for each."""
    rng = random.Random(f"{seed} enlargements")
    if rng.random() > ENLARGED_SHARE:
        return
    finish = {"size": "400x400", "upscale": "auto"}
    for number in range(rng.choice((1, 2))):
        key, at = f"shop/l{number}.jpg", rng.uniform(0, seconds - 100)
        kept = {"keep_original": rng.random() < 0.5}
        larger = {**rng.choice((CUT, RED)), "finish": finish, **kept}
        yield Act(at, "put sidecar", key, ENLARGED + 10 * number, larger)
        yield Act(at + 1, "upload", key, ENLARGED + 10 * number + 1)
        kind = rng.choice(("same bytes again", "remove result", "retry", "fresh retry", "upload"))
        yield Act(at + rng.uniform(2, 90), kind, key, ENLARGED + 10 * number + 2)
        last = at
    if rng.random() < 0.4:
        # S3 is busy meanwhile, so that some wait.
        yield Act(last + 2, "S3 is busy", "", ENLARGED + 50, {"seconds": 30.0, "with": WRITES})
        yield Act(last + rng.uniform(5, 60), "remove kept answers", "", ENLARGED + 51)


def _limits_today(seed: object, seconds: float) -> Iterator[Act]:
    """Somebody orders another limit for the day, and perhaps one more."""
    rng = random.Random(f"{seed} limits")
    if rng.random() > LIMITS_SHARE:
        return
    for number in range(rng.choice((1, 1, 2))):
        usd = rng.choice((0.02, 0.05, 0.08, 0.2, 50.0, 0.0))
        yield Act(rng.uniform(0, seconds), "limit today", "", LIMITS + number, {"usd": usd})


def _story(seed: object, seconds: float) -> list[Act]:
    rng = random.Random(f"{seed} story")
    if rng.random() > SHARE:
        return []
    story = rng.choices(list(STORIES), list(STORIES.values()))[0]
    steps = list(story(rng))
    begin = rng.uniform(0, max(0.0, seconds - max(at for at, *_ in steps)))
    if rng.random() < 0.4:
        begin = 0.0
    return [
        Act(begin + at, kind, key, FIRST + number, instructions)
        for number, (at, kind, key, instructions) in enumerate(steps)
    ]


def crowd(rng: random.Random) -> Iterator[Step]:
    """Many images at once, often while Venice refuses all of them."""
    yield 0, "limit changes", "", {"limit": rng.choice((5, 20, 60, 60))}
    at = rng.choice((10.0, 700.0, 700.0))
    if rng.random() < 0.7:
        late = rng.choice((0, 0, 0, 0, 60, 150))
        yield at + late, "wave", "", {"kind": rng.choice(WAVES)}
    yield at + 1, "crowd", "crowd/", {"count": rng.randrange(12, 45)}
    if rng.random() < 0.3:
        yield at + 30, "crowd again", "crowd/", {}


def crowd_that_leaves(rng: random.Random) -> Iterator[Step]:
    """Many images come while the account is away, and most are gone when it is back."""
    yield 0, "account away", "", {}
    yield 60, "crowd", "crowd/", {"count": rng.randrange(20, 45)}
    yield 200, "crowd leaves", "crowd/", {}
    yield 220, "upload with tags", "shop/a.jpg", RED
    yield 400, "account back", "", {}


def poisoned_image(rng: random.Random) -> Iterator[Step]:
    """Venice refuses one or a few images, whatever happens, and accepts all others."""
    for number in range(rng.choice((1, 1, 2, 4))):
        yield number, "upload with tags", f"shop/p{number}.jpg", {"prompt": POISON}
    for number in range(rng.randrange(1, 4)):
        yield (
            rng.uniform(10, 200),
            "upload with tags",
            f"shop/o{number}.jpg",
            rng.choice((RED, CUT)),
        )


def spent_day(rng: random.Random) -> Iterator[Step]:
    """The account is away, and little of the day's limit is left when it is back."""
    yield 0, "daily limit changes", "", {"usd": rng.choice(("0.04", "0.07", "0.08"))}
    yield 30, "account away", "", {}
    for number in range(rng.randrange(2, 6)):
        yield rng.uniform(60, 200), "upload with tags", f"o{number}.jpg", rng.choice((RED, CUT))
    yield 700, "account back", "", {}  # no function of the old limit works then
    if rng.random() < 0.5:
        yield 1500, "daily limit changes", "", {"usd": rng.choice(("0.04", "0.2", "0"))}


def taken_key(rng: random.Random) -> Iterator[Step]:
    """Somebody else's object is where the result has to go."""
    key = rng.choice(("a.jpg", "shop/b.jpg"))
    yield rng.choice((0.0, 40.0)), "foreign object", key, {"suffix": ".png"}
    yield 30, "upload with tags", key, rng.choice((RED, CUT))
    yield 300, "retry", key, {}


def late_layer(rng: random.Random) -> Iterator[Step]:
    """A layer comes long after its image, and then Venice fails for some minutes."""
    yield 0, "put sidecar", "shop/a.jpg", LAYERED
    yield 1, "upload", "shop/a.jpg", {}
    at = rng.uniform(100, 900)
    yield at - 1, "wave", "", {"kind": "503", "seconds": 300}
    yield at, "put layer", "shop/a.jpg", {}


def refused_while_busy(rng: random.Random) -> Iterator[Step]:
    """Venice refuses images and charges them, while S3 is too busy to store the reports."""
    kind = rng.choice(("422 charged", "violation", "html", "html"))
    yield 0, "wave", "", {"kind": kind, "seconds": 120}
    yield 0, "S3 is busy", "", {"seconds": rng.uniform(20, 120), "with": WRITES}
    for number in range(rng.randrange(1, 4)):
        yield rng.uniform(1, 30), "upload with tags", f"shop/r{number}.jpg", RED


def retries_in_a_row(rng: random.Random) -> Iterator[Step]:
    """Several retries of one image wait, and its result is removed as soon as it is there."""
    yield 0, "upload with tags", "b.jpg", rng.choice((RED, CUT))
    yield 2, "account away", "", {}
    for _ in range(rng.randrange(2, 5)):
        yield rng.uniform(5, 300), rng.choice(("retry", "same bytes again")), "b.jpg", {}
    yield 320, "account back", "", {}
    for _ in range(4):
        yield rng.uniform(320, 1500), "remove result", "b.jpg", {}


def moved_away(rng: random.Random) -> Iterator[Step]:
    """Results are moved away as soon as they are there."""
    for name in ("a.jpg", "shop/a.jpg"):
        yield rng.uniform(0, 30), "upload with tags", name, rng.choice((RED, CUT))
        yield rng.uniform(40, 120), "remove result", name, {}


def second_try(rng: random.Random) -> Iterator[Step]:
    """Images get their instructions after a report, and other objects take their places."""
    names = [f"shop/{name}.jpg" for name in "abcdef"]
    for name in names:
        yield rng.uniform(0, 5), "upload", name, {}
        yield rng.uniform(30, 40), "put sidecar", name, CUT
        yield rng.uniform(60, 250), "foreign object", name, {"suffix": ".png"}


def bus_is_away(rng: random.Random) -> Iterator[Step]:
    """The event bus takes nothing while an image is edited twice."""
    yield 0, "bus away", "", {"seconds": 200}
    yield 1, "upload with tags", "a.jpg", RED
    yield 40, "upload with tags", "a.jpg", CUT
    yield rng.uniform(80, 120), "put sidecar", "a.jpg", {"promt": "a slip"}


def slow_trials(rng: random.Random) -> Iterator[Step]:
    """The account is back, and Venice answers none of the trials."""
    yield 0, "account away", "", {}
    for number in range(7):
        yield rng.uniform(5, 60), "upload with tags", f"shop/o{number}.jpg", rng.choice((RED, CUT))
    yield 100, "account back", "", {}
    yield 101, "wave", "", {"kind": rng.choice(("silent", "slow body", "slow")), "seconds": 900}


def second_thoughts(rng: random.Random) -> Iterator[Step]:
    """The image or its instructions change while the first edit is being made."""
    yield 0, "put sidecar", "shop/a.jpg", rng.choice((RED, CUT, VARIANTS, {"mode": "edit"}))
    yield 0, "upload", "shop/a.jpg", {}
    for _ in range(rng.randrange(1, 4)):
        kind = rng.choice(
            ("put sidecar", "put sidecar", "upload", "delete image", "put folder file")
        )
        yield rng.uniform(2, 12), kind, "shop/a.jpg", rng.choice(THOUGHTS)


def overtaken_edit(rng: random.Random) -> Iterator[Step]:
    """The same, and Venice needs more time for the first edit than for later ones."""
    yield 0, "latency changes", "", {"seconds": 40.0}
    yield 5, "latency changes", "", {"seconds": 4.0}
    if rng.random() < 0.4:
        kind = rng.choice(("400", "422 charged", "violation"))
        yield 0, "wave", "", {"kind": kind, "seconds": 5}
    yield 0, "put sidecar", "shop/a.jpg", rng.choice((RED, CUT, VARIANTS))
    yield 0, "upload", "shop/a.jpg", {}
    for _ in range(rng.randrange(1, 3)):
        kind = rng.choice(("put sidecar", "put sidecar", "upload"))
        yield rng.uniform(6, 30), kind, "shop/a.jpg", rng.choice(THOUGHTS)


def folder_changes(rng: random.Random) -> Iterator[Step]:
    """A folder file changes, which starts no edit, while its images wait."""
    yield 0, "put folder file", "shop/a.jpg", rng.choice((VARIANTS, VARIANTS, RED))
    yield 10, "account away", "", {}
    yield 20, "upload", "shop/a.jpg", {}
    yield 25, "upload", "shop/b.jpg", {}
    yield rng.uniform(30, 400), "put folder file", "shop/a.jpg", rng.choice((CUT, RED, VARIANTS))
    yield 600, "account back", "", {}


def late_tags(rng: random.Random) -> Iterator[Step]:
    """An image comes without instructions, and somebody tags it, perhaps twice."""
    yield 0, "upload", "shop/a.jpg", {}
    at = 0.0
    for _ in range(rng.randrange(1, 4)):
        at += rng.uniform(0, 40)
        yield at, "put tags", "shop/a.jpg", rng.choice((CUT, RED, {"mode": "edit"}))


def wrong_prompt(rng: random.Random) -> Iterator[Step]:
    """Somebody pauses a drop with the wrong prompt, cancels it, and drops it again."""
    for number in range(rng.randrange(2, 8)):
        yield number, "upload with tags", f"shop/w{number}.jpg", RED
    at = rng.uniform(1, 60)
    if rng.random() < 0.7:
        yield at, "pause by hand", "", {}
    yield at + 5, "cancel", "shop/w", {}
    for number in range(rng.randrange(3)):
        yield at + 20 + number, "upload with tags", f"shop/w{number}.jpg", CUT
    yield at + rng.uniform(30, 900), "resume by hand", "", {}


def similar_keys(rng: random.Random) -> Iterator[Step]:
    """Two images whose results may get in each other's way."""
    kept = {**CUT, "finish": {"size": "90x90", "format": "jpeg"}, "keep_original": True}
    other, instructions = rng.choice((("a.jpg.original", kept), ("a.jpg.pink", VARIANTS)))
    yield rng.uniform(0, 60), "upload with tags", other, CUT
    at = rng.uniform(0, 60)
    yield at, "put sidecar", "a.jpg", instructions
    yield at + 1, "upload", "a.jpg", {}
    yield rng.uniform(100, 300), "retry", rng.choice((other, "a.jpg")), {}


STORIES: Mapping[Callable[[random.Random], Iterator[Step]], int] = {
    crowd: 6,
    crowd_that_leaves: 3,
    poisoned_image: 4,
    spent_day: 3,
    taken_key: 1,
    late_layer: 2,
    refused_while_busy: 2,
    retries_in_a_row: 3,
    moved_away: 2,
    second_try: 3,
    bus_is_away: 2,
    slow_trials: 2,
    similar_keys: 2,
    second_thoughts: 3,
    overtaken_edit: 5,
    folder_changes: 2,
    late_tags: 2,
    wrong_prompt: 4,
}
