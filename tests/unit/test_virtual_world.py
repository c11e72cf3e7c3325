"""The models that the burst benchmark runs in: they behave as AWS and Venice are said to."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from benchmarks import burst
from image_drop_local.simulator.settings import Settings
from tests.support.virtual.awslambda import Concurrency, EventSourceMapping, ResourceInUseError
from tests.support.virtual.deployment import DROP, IMAGE_DROP, OTHERS, Deployment, Policy
from tests.support.virtual.dynamodb import ConditionalCheckFailedError, DynamoDB
from tests.support.virtual.service import Meter
from tests.support.virtual.sqs import Message, Queue
from tests.support.virtual.venice import Venice
from tests.support.virtual.world import World

START = 1_800_000_000.0  # the beginning of a minute
RETRY_AFTER = OTHERS[2]


@pytest.fixture
def world() -> World:
    return World(START, seed=1)


def queue_of(world: World, **settings: Any) -> Queue:
    settings = {"max_receive_count": 3, "duplicates": 0.0} | settings
    return Queue(world, Meter(), on_gone=lambda: None, **settings)


def venice_of(world: World, **settings: Any) -> Venice:
    rules = Settings(lockout_counts_429=True, **settings)
    return Venice(world, rules, b"", edit_seconds=1.0, unavailable=0.0)


def receive_at(world: World, queue: Queue, *times: float) -> list[tuple[str, Message] | None]:
    """What is taken at these times, in seconds after the start."""
    taken: list[tuple[str, Message] | None] = []
    for time in times:
        world.call(time, lambda: taken.append(queue.take()))
    world.run()
    return taken


def call_at(world: World, venice: Venice, *times: float) -> list[int]:
    """The statuses of calls that arrive at these times, in seconds after the start."""
    statuses = dict.fromkeys(range(len(times)), 0)

    def call(number: int) -> None:
        statuses[number] = venice.edit(f"photo {number}").status

    for number, time in enumerate(times):
        world.start(time, partial(call, number))
    world.run()
    return list(statuses.values())


# --- time ----------------------------------------------------------------------------------


def test_processes_wait_side_by_side(world: World) -> None:
    seen: list[tuple[str, float]] = []

    def wait_twice(name: str, seconds: float) -> None:
        for _ in range(2):
            world.sleep(seconds)
            seen.append((name, world.now() - START))

    world.start(0, partial(wait_twice, "slow", 5))
    world.start(1, partial(wait_twice, "quick", 2))
    world.run()

    assert seen == [("quick", 3), ("slow", 5), ("quick", 5), ("slow", 10)]


def test_stopped_world_ends_its_processes_where_they_wait(world: World) -> None:
    seen: list[str] = []

    def work() -> None:
        world.sleep(10)
        seen.append("went on")

    world.start(0, work)
    world.call(5, world.stop)
    world.run()

    assert (seen, world.now()) == ([], START + 5)


# --- SQS -----------------------------------------------------------------------------------


def test_delayed_message_is_hidden_until_its_time(world: World) -> None:
    queue = queue_of(world)
    queue.send("photo", delay=30)

    early, late = receive_at(world, queue, 29, 31)

    assert early is None
    assert late is not None
    assert (late[1].body, late[1].receives) == ("photo", 1)


def test_received_message_comes_back_after_visibility_timeout(world: World) -> None:
    queue = queue_of(world)
    queue.send("photo")

    first, hidden, again = receive_at(world, queue, 1, 1000, 1802)

    assert first
    assert hidden is None
    assert again
    assert again[1].receives == 2


def test_postponed_message_comes_back_at_time_that_was_set(world: World) -> None:
    queue = queue_of(world)
    queue.send("photo")

    def receive_and_postpone() -> None:
        taken = queue.take()
        assert taken
        queue.change_message_visibility(QueueUrl="", ReceiptHandle=taken[0], VisibilityTimeout=60)

    world.start(1, receive_and_postpone)
    early, late = receive_at(world, queue, 59, 62)

    assert early is None
    assert late


def test_deleted_message_does_not_come_back(world: World) -> None:
    queue = queue_of(world)
    queue.send("photo")
    world.call(1, lambda: queue.delete((queue.take() or ("", None))[0]))

    assert receive_at(world, queue, 3000) == [None]
    assert queue.size == 0


def test_message_becomes_dead_letter_after_its_last_receive(world: World) -> None:
    queue = queue_of(world, max_receive_count=2)
    queue.send("photo")

    *received, last = receive_at(world, queue, 1, 2000, 4000)

    assert all(received)
    assert last is None
    assert [message.body for message in queue.dead_letters] == ["photo"]
    assert queue.size == 0


def test_duplicate_is_delivered_while_message_is_worked_on(world: World) -> None:
    queue = queue_of(world, duplicates=1.0)
    queue.send("photo")

    first, second = receive_at(world, queue, 1, 2)

    assert first
    assert second
    assert first[1] is second[1]


# --- Lambda --------------------------------------------------------------------------------


def mapping_of(
    world: World, queue: Queue, pollers: int, running: list[int]
) -> tuple[EventSourceMapping, Callable[[], int]]:
    """A mapping whose function takes 10 s, and the most that ran at a time."""

    def work(handle: str, message: Message) -> bool:
        running.append(running[-1] + 1)
        world.sleep(10)
        running.append(running[-1] - 1)
        return True

    def stop_when_empty() -> None:
        if not queue.size:
            world.stop()

    concurrency = Concurrency(world, stop_when_empty)
    mapping = EventSourceMapping(world, queue, concurrency, work, pollers)
    mapping.start()
    return mapping, lambda: max(running)


def test_mapping_never_runs_more_than_its_maximum_concurrency(world: World) -> None:
    queue = queue_of(world)
    for _ in range(100):
        queue.send("photo")
    _, most = mapping_of(world, queue, 4, [0])

    world.run()

    assert most() == 4
    assert queue.size == 0
    assert world.now() - START == pytest.approx(100 / 4 * 10, rel=0.05)


def test_paused_mapping_does_not_count_receives(world: World) -> None:
    queue = queue_of(world)
    mapping, _ = mapping_of(world, queue, 4, [0])

    def switch(enabled: bool) -> None:
        mapping.update_event_source_mapping(UUID="", Enabled=enabled)

    world.start(1, partial(switch, False))
    world.call(300, lambda: queue.send("photo"))
    world.start(1000, partial(switch, True))
    world.run()

    assert queue.size == 0
    assert queue.most_receives == 1
    assert world.now() - START > 1000


def test_mapping_that_changes_its_state_refuses_another_change(world: World) -> None:
    mapping, _ = mapping_of(world, queue_of(world), 4, [0])
    refused: list[bool] = []

    def switch(enabled: bool) -> None:
        try:
            mapping.update_event_source_mapping(UUID="", Enabled=enabled)
        except ResourceInUseError:
            refused.append(enabled)

    world.start(1, partial(switch, False))
    world.start(2, partial(switch, True))
    world.call(200, world.stop)
    world.run()

    assert refused == [True]
    assert not mapping.enabled


def test_events_wait_for_room_in_account(world: World) -> None:
    concurrency = Concurrency(world, lambda: None, free=2)
    for _ in range(6):
        concurrency.submit(partial(world.sleep, 10))

    world.run()

    assert world.now() - START == 30


# --- DynamoDB ------------------------------------------------------------------------------


def test_one_of_two_conditional_writes_wins(world: World) -> None:
    table = DynamoDB(world, Meter())
    outcomes: list[str] = []

    def write(name: str) -> None:
        item = {"id": {"S": "slots"}, "version": {"N": "1"}, "by": {"S": name}}
        try:
            table.put_item(Item=item, ConditionExpression="attribute_not_exists(version)")
            outcomes.append(f"{name} wrote")
        except ConditionalCheckFailedError:
            outcomes.append(f"{name} was refused")

    world.start(0, partial(write, "a"))
    world.start(0, partial(write, "b"))
    world.run()

    assert len(outcomes) == 2
    assert sum("wrote" in outcome for outcome in outcomes) == 1
    assert f"{table.items['slots']['by']['S']} wrote" in outcomes
    assert table.meter["DynamoDB write unit"] == 2  # a failed condition costs as much


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("state = :open", True),
        ("state <> :open", False),
        ("missing = :open", False),
        ("attribute_not_exists(missing) AND until <= :now", True),
        ("(NOT until >= :now)", True),
        ("until > :now OR state = :open", True),
    ],
)
def test_conditions_are_understood(world: World, condition: str, holds: bool) -> None:
    table = DynamoDB(world, Meter())
    item = {"id": {"S": "circuit-breaker"}, "state": {"S": "open"}, "until": {"N": "9"}}
    table.items["circuit-breaker"] = item
    values = {":open": {"S": "open"}, ":now": {"N": "10"}}

    def write() -> None:
        table.put_item(Item=item, ConditionExpression=condition, ExpressionAttributeValues=values)

    if holds:
        write()
    else:
        with pytest.raises(ConditionalCheckFailedError):
            write()


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


def test_without_limiter_same_burst_is_refused_and_locked_out() -> None:
    stack = dropped(120, RETRY_AFTER)

    assert stack.venice.answers["rate limited"] > 20
    assert stack.venice.lock_out.begun > 0


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
