"""The virtual AWS and its time: they behave as AWS is said to, and cost what it bills."""

import random
from functools import partial

import pytest

from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.errors import ConditionalCheckFailedException
from tests.simulation.aws.sqs import Message, Sqs
from tests.simulation.metered import Meter, MeteredTable
from tests.simulation.world import World

START = 1_800_000_000.0  # the beginning of a minute
VALUES = {"ExpressionAttributeValues": {":usd": {"N": "4"}}}


@pytest.fixture
def world() -> World:
    return World(START, seed=1)


def queue_of(world: World, max_receive_count: int = 3, duplicates: float = 0.0) -> Sqs:
    return Sqs(world, "queue", "dead", max_receive_count, 1800.0, duplicates)


def table_of(world: World) -> MeteredTable:
    return MeteredTable(world, Meter(), DynamoDB(world.now, random.Random(1)))


def receive_at(world: World, queue: Sqs, *times: float) -> list[tuple[str, Message] | None]:
    """What is taken at these times, in seconds after the start."""
    taken: list[tuple[str, Message] | None] = []
    for time in times:
        world.call(time, lambda: taken.append(queue.take()))
    world.run()
    return taken


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


def test_writes_of_item_are_limited_transactions_cost_twice(world: World) -> None:
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
