"""The models that the burst benchmark runs in: they behave as AWS and Venice are said to."""

import random
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks import burst
from benchmarks.virtual_lambda import Concurrency, Pollers
from benchmarks.virtual_stack import DROP, IMAGE_DROP, OTHERS, Deployment, Policy
from benchmarks.virtual_venice import Venice
from image_drop_local.simulator.settings import Settings
from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.errors import ConditionalCheckFailedException
from tests.simulation.aws.others import QueueTrigger
from tests.simulation.aws.sqs import Message, Sqs
from tests.simulation.metered import Meter, MeteredTable
from tests.simulation.world import World

START = 1_800_000_000.0  # the beginning of a minute
RETRY_AFTER = OTHERS[2]
VALUES = {"ExpressionAttributeValues": {":usd": {"N": "4"}}}


@pytest.fixture
def world() -> World:
    return World(START, seed=1)


def queue_of(world: World, max_receive_count: int = 3, duplicates: float = 0.0) -> Sqs:
    return Sqs(world, "queue", "dead", max_receive_count, 1800.0, duplicates)


def table_of(world: World) -> MeteredTable:
    return MeteredTable(world, Meter(), DynamoDB(world.now, random.Random(1)))


def venice_of(world: World, **settings: Any) -> Venice:
    rules = Settings(lockout_counts_429=True, **settings)
    return Venice(world, rules, b"", edit_seconds=1.0, unavailable=0.0)


def receive_at(world: World, queue: Sqs, *times: float) -> list[tuple[str, Message] | None]:
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


def test_world_is_slept_through_outside_of_its_processes(world: World) -> None:
    seen: list[float] = []
    for after in (1, 5, 6):
        world.call(after, lambda: seen.append(world.now() - START))

    world.sleep(5)

    assert (seen, world.now()) == ([1, 5], START + 5)


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
        queue.change_message_visibility(
            QueueUrl="queue", ReceiptHandle=taken[0], VisibilityTimeout=60
        )

    world.start(1, receive_and_postpone)
    early, late = receive_at(world, queue, 59, 62)

    assert early is None
    assert late


def test_deleted_message_does_not_come_back(world: World) -> None:
    queue = queue_of(world)
    queue.send("photo")

    def receive_and_delete() -> None:
        taken = queue.take()
        assert taken
        queue.delete_message(QueueUrl="queue", ReceiptHandle=taken[0])

    world.call(1, receive_and_delete)

    assert receive_at(world, queue, 3000) == [None]
    assert not queue.messages


def test_message_becomes_dead_letter_after_its_last_receive(world: World) -> None:
    queue = queue_of(world, max_receive_count=2)
    queue.send("photo")

    *received, last = receive_at(world, queue, 1, 2000, 4000)

    assert all(received)
    assert last is None
    assert [message.body for message in queue.dead_letters] == ["photo"]
    assert not queue.messages


def test_dead_letter_never_comes_back_by_itself(world: World) -> None:
    queue = queue_of(world, max_receive_count=1, duplicates=1.0)
    queue.send("photo")

    first, *later = receive_at(world, queue, 1, 2, 1000, 2000)

    assert first
    assert later == [None, None, None]
    assert len(queue.dead_letters) == 1


def test_duplicate_is_delivered_while_message_is_worked_on(world: World) -> None:
    queue = queue_of(world, duplicates=1.0)
    queue.send("photo")

    first, second = receive_at(world, queue, 1, 2)

    assert first
    assert second
    assert first[1] is second[1]


def test_any_visible_message_is_taken_and_none_twice(world: World) -> None:
    queue = queue_of(world)
    for number in range(1000):
        queue.send(str(number), delay=number % 3)

    world.sleep(5)
    bodies = [message.body for _, message in iter(queue.take, None)]

    assert bodies != sorted(bodies, key=int)
    assert sorted(bodies, key=int) == [str(number) for number in range(1000)]


# --- Lambda --------------------------------------------------------------------------------


class Polled:
    """A queue whose pollers' function takes 10 s. `most`: how many ran at a time."""

    def __init__(self, world: World, pollers: int) -> None:
        self.world, self.queue, self.trigger = world, queue_of(world), QueueTrigger(world)
        self.running = self.most = self.receives = 0
        concurrency = Concurrency(world)
        Pollers(world, Meter(), self.queue, self.trigger, concurrency, self.work, pollers).start()

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
        self.trigger.update_event_source_mapping(UUID="", Enabled=enabled)


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


# --- DynamoDB ------------------------------------------------------------------------------


def test_one_of_two_conditional_writes_wins(world: World) -> None:
    table = table_of(world)
    outcomes: list[str] = []

    def write(name: str) -> None:
        item = {"id": {"S": "slots"}, "version": {"N": "1"}, "by": {"S": name}}
        try:
            table.put_item(Item=item, ConditionExpression="attribute_not_exists(version)")
            outcomes.append(f"{name} wrote")
        except ConditionalCheckFailedException:
            outcomes.append(f"{name} was refused")

    world.start(0, partial(write, "a"))
    world.start(0, partial(write, "b"))
    world.run()

    assert len(outcomes) == 2
    assert sum("wrote" in outcome for outcome in outcomes) == 1
    assert f"{table.state.items['slots']['by']['S']} wrote" in outcomes
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
    table = table_of(world)
    item = {"id": {"S": "circuit-breaker"}, "state": {"S": "open"}, "until": {"N": "9"}}
    table.state.items["circuit-breaker"] = item
    values = {":open": {"S": "open"}, ":now": {"N": "10"}}

    def write() -> None:
        table.put_item(Item=item, ConditionExpression=condition, ExpressionAttributeValues=values)

    if holds:
        write()
    else:
        with pytest.raises(ConditionalCheckFailedException):
            write()


def test_item_takes_thousand_writes_in_second_and_transactions_cost_twice(world: World) -> None:
    table = table_of(world)
    item = {"id": {"S": "rate"}, "value": {"B": bytes(1500)}}
    day = {"Key": {"id": {"S": "spend"}}, "UpdateExpression": "ADD usd :usd"}
    both = [{"Put": {"Item": item}}, {"Update": day | VALUES}]
    for _ in range(3000):
        world.start(0, partial(table.put_item, Item=item))

    world.run()
    table.transact_write_items(TransactItems=both)

    assert world.now() - START == pytest.approx(3, rel=0.02)
    assert table.meter["DynamoDB write unit"] == 3000 * 2 + 2 * (2 + 1)


def test_read_costs_by_size_and_half_without_consistency(world: World) -> None:
    table = table_of(world)
    table.state.items["rate"] = {"id": {"S": "rate"}, "value": {"B": bytes(5000)}}

    table.get_item(Key={"id": {"S": "rate"}}, ConsistentRead=True)
    table.get_item(Key={"id": {"S": "missing"}}, ConsistentRead=True)
    table.batch_get_item(RequestItems={"state": {"Keys": [{"id": {"S": "rate"}}]}})

    assert table.meter == {"DynamoDB read unit": 2 + 1 + 2 / 2}


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
