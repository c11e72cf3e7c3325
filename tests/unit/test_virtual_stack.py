"""The Lambda and Venice that the burst benchmark runs in, and one stack of all of it."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks import burst, sharing
from benchmarks.burst_report import COLOURS
from benchmarks.virtual_lambda import Concurrency, Pollers
from benchmarks.virtual_stack import DROP, IMAGE_DROP, OTHERS, Deployment, Policy
from benchmarks.virtual_venice import Venice
from image_drop_local.simulator.settings import Settings
from tests.simulation.aws.others import QueueTrigger
from tests.simulation.aws.sqs import Message, Sqs
from tests.simulation.metered import Meter
from tests.simulation.world import World

START = 1_800_000_000.0  # the beginning of a minute
RETRY_AFTER = OTHERS[2]


@pytest.fixture
def world() -> World:
    return World(START, seed=1)


def venice_of(world: World, **settings: Any) -> Venice:
    rules = Settings(lockout_counts_429=True, **settings)
    return Venice(world, rules, b"", edit_seconds=1.0, unavailable=0.0)


def call_at(world: World, venice: Venice, *times: float) -> list[int]:
    """The statuses of calls that arrive at these times, in seconds after the start."""
    statuses = dict.fromkeys(range(len(times)), 0)

    def call(number: int) -> None:
        statuses[number] = venice.edit(f"photo {number}").status

    for number, time in enumerate(times):
        world.start(time, partial(call, number))
    world.run()
    return list(statuses.values())


# --- Lambda --------------------------------------------------------------------------------


class Polled:
    """A queue whose pollers' function takes 10 s. `most`: how many ran at a time."""

    def __init__(self, world: World, pollers: int) -> None:
        self.world = world
        self.trigger = QueueTrigger(world, maximum_concurrency=pollers)
        self.queue = Sqs(world, "queue", "dead", 3, 1800.0)
        self.running = self.most = self.receives = 0
        concurrency = Concurrency(world)
        Pollers(world, Meter(), self.queue, self.trigger, concurrency, self.work).start()

    def work(self, handle: str, message: Message) -> bool:
        self.receives += 1
        self.running += 1
        self.most = max(self.most, self.running)
        self.world.sleep(10)
        self.running -= 1
        return True

    def run(self) -> None:
        """Until the queue is empty."""
        self.world.run(lambda: not self.queue.messages)

    def switch(self, enabled: bool) -> None:
        scaling = {"MaximumConcurrency": self.trigger.maximum_concurrency}
        self.trigger.update_event_source_mapping(UUID="", Enabled=enabled, ScalingConfig=scaling)


def test_pollers_never_run_more_than_their_number(world: World) -> None:
    polled = Polled(world, 4)
    for _ in range(100):
        polled.queue.send("photo")

    polled.run()

    assert polled.most == 4
    assert world.now() - START == pytest.approx(100 / 4 * 10, rel=0.05)


def test_paused_pollers_do_not_count_receives(world: World) -> None:
    polled = Polled(world, 4)
    world.call(1, partial(polled.switch, False))
    world.call(300, lambda: polled.queue.send("photo"))
    world.call(1000, partial(polled.switch, True))

    world.sleep(300)
    polled.run()

    assert polled.receives == 1
    assert world.now() - START > 1000


def test_trigger_that_changes_its_state_refuses_another_change(world: World) -> None:
    polled = Polled(world, 4)

    polled.switch(False)
    with pytest.raises(ClientError, match="ResourceInUseException"):
        polled.switch(True)
    world.sleep(200)

    assert not polled.trigger.enabled


def test_events_wait_for_room_in_account(world: World) -> None:
    concurrency = Concurrency(world, free=2)
    for _ in range(6):
        concurrency.submit(partial(world.sleep, 10))

    world.run()

    assert world.now() - START == 30


# --- Venice --------------------------------------------------------------------------------


def test_fixed_windows_take_twice_limit_around_full_minute(world: World) -> None:
    venice = venice_of(world, limit=3, window_kind="fixed")

    statuses = call_at(world, venice, 57, 58, 59, 59.5, 61, 62, 63, 64)

    assert statuses == [200, 200, 200, 429, 200, 200, 200, 429]


def test_sliding_windows_take_limit_in_any_minute(world: World) -> None:
    venice = venice_of(world, limit=3, window_kind="sliding")

    statuses = call_at(world, venice, 57, 58, 59, 59.5, 61, 116, 117.5, 118.5)

    assert statuses == [200, 200, 200, 429, 429, 429, 200, 200]


def test_more_than_twenty_failures_in_30_s_lock_key_out_for_30_s(world: World) -> None:
    venice = venice_of(world, limit=1)

    statuses = call_at(world, venice, 1, *(2 + number / 10 for number in range(21)), 5, 61)

    assert statuses == [200] + [429] * 22 + [200]
    assert venice.answers["rate limited"] == 21
    assert venice.answers["locked out"] == 1
    assert venice.lock_out.begun == 1


def test_during_outage_nothing_is_paid(world: World) -> None:
    venice = venice_of(world)
    venice.outage = (START + 10, START + 20)

    assert call_at(world, venice, 5, 15, 25) == [200, 402, 200]
    assert sum(venice.paid.values()) == 2


# --- all of it -----------------------------------------------------------------------------


def dropped(photos: int, policy: Policy = IMAGE_DROP, **settings: Any) -> Deployment:
    rules = Settings(limit=20, lockout_counts_429=True, retry_after=True)
    stack = Deployment(policy, rules, **settings)
    stack.settle()
    stack.drop(photos)
    stack.run()
    return stack


def test_drop_of_ten_starts_at_once() -> None:
    stack = dropped(10, duplicates=0.0)

    assert len(stack.done) == 10
    assert stack.queue.sent == 0
    assert max(stack.venice.arrivals) - DROP < 10


def test_burst_is_done_without_refused_call_and_paid_once() -> None:
    stack = dropped(120, duplicates=0.1)

    assert len(stack.done) == 120
    assert set(stack.venice.paid.values()) == {1}
    assert stack.venice.answers["rate limited"] == 0
    assert not stack.queue.dead_letters


@pytest.mark.parametrize(("before", "after", "refused"), [(20, 50, 0), (60, 20, 10)])
def test_changed_limit_is_followed_within_minute(before: int, after: int, refused: int) -> None:
    rules = Settings(limit=before, lockout_counts_429=True, retry_after=True)
    stack = Deployment(IMAGE_DROP, rules, unavailable=0.0)
    stack.settle()
    began = DROP - DROP % 60
    change = partial(stack.venice.settings.changed, {"limit": after})
    stack.world.call(
        began + 240 - DROP, lambda: setattr(stack.venice, "settings", change())
    )  # at a whole minute, in the middle of the drop
    stack.drop(400)
    stack.run()

    calls = Counter((at - began) // 60 for at in stack.venice.arrivals)
    assert [calls[minute] for minute in (2, 3)] == [before] * 2
    assert after - 2 <= calls[5] <= after
    assert stack.venice.answers["rate limited"] <= refused
    assert stack.venice.lock_out.begun == 0


@pytest.mark.slow
@pytest.mark.parametrize("window", ["fixed", "sliding"])
def test_what_another_stack_leaves_is_soon_used(window: str) -> None:
    figures = sharing.run(sharing.Sharing(2, window, after=120.0, photos=240))

    assert figures["done"] == 480
    assert figures["refused"] <= 8
    assert figures["lock_outs"] == 0
    first, last = figures["ends"]
    assert first < last <= 900.0


def test_without_limiter_same_burst_is_refused_and_locked_out() -> None:
    stack = dropped(120, RETRY_AFTER)

    assert stack.venice.answers["rate limited"] > 20
    assert stack.venice.lock_out.begun > 0


def test_two_functions_stay_two() -> None:
    (two,) = [policy for policy in OTHERS if policy.name == "2 at a time"]
    stack = dropped(120, two)

    assert len(stack.done) == 120
    assert stack.venice.answers["rate limited"] == 0


def test_each_policy_has_its_colour() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(OTHERS)


def test_outage_costs_few_calls_and_no_image() -> None:
    stack = dropped(120, outage=(100.0, 1000.0))

    during = [at for at in stack.venice.arrivals if 100 <= at - DROP < 1000]
    assert 1 <= len(during) <= 25
    assert len(stack.done) == 120
    assert not stack.queue.dead_letters


def test_figures_of_run_fit_together() -> None:
    figures = burst.run(burst.Scenario(IMAGE_DROP, 60, "sliding", seed=3))

    assert figures["done"] == 60
    assert figures["bound"] == 2 * 60 + 12  # the third twenty may start after two minutes
    assert figures["curve"][-1] == (round(figures["seconds"], 1), 60)
    assert figures["calls"] == sum(figures["answers"].values())
    lines = {line["title"]: line for line in figures["bill_per_1000"]}
    compute = lines["Lambda, arm64, GB-seconds"]
    assert compute["units"] == pytest.approx(figures["metered"]["Lambda GB-second"] / 0.060)
    assert compute["dollars"] == pytest.approx(compute["units"] * 0.0000133334)
    assert figures["aws_dollars_per_1000"] == pytest.approx(
        sum(line["dollars"] for line in lines.values())
    )
