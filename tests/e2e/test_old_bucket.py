"""An old bucket is worked through, and the day's limit of spend holds for it, too."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from image_drop.state.atomic_item import AtomicItem
from image_drop.state.circuit_breaker import Status
from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator
from tests.support.pictures import photo
from tests.support.system import CUT_OUT, MAX_WAIT, System
from tests.support.waiting import until

KEYS = [f"old/{number:02}.jpg" for number in range(30)]
LIMIT = 0.45  # US dollars: 15 cut-outs of $0.03
AT_ONCE = 2  # retry functions


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    parameters = {"DailySpendLimitUSD": f"{LIMIT}", "MaximumConcurrency": f"{AT_ONCE}"}
    with (
        Simulator(limit=1000, pictures="fast") as venice,
        Stack(venice_url=venice.url, concurrency=4, parameters=parameters) as stack,
    ):
        yield System(stack, venice)


def test_old_bucket_is_edited_up_to_daily_limit_and_then_on(
    system: System,
) -> None:
    # A bucket that was filled before: nobody is told of its images.
    system.s3.put_bucket_notification_configuration(
        Bucket=system.input, NotificationConfiguration={}
    )
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda key: system.drop(key, metadata=CUT_OUT), KEYS))
    system.put_json("old/readme.json", not_an_image=True)

    system.invoke("BackfillFunction", {})  # as every five minutes
    # By the watch, which the event started.
    until(lambda: system.mapping_state() == "Disabled", MAX_WAIT)

    # Not one call more than those in flight, and no image fails.
    until(lambda: system.waiting() == len(KEYS) - len(system.outputs()), MAX_WAIT)
    done = system.outputs()
    spent = round(sum(call.charged_usd for call in system.calls()), 6)
    assert spent == LIMIT  # calls in progress count, so it is never more
    assert not [key for key in done if key.endswith(".error.json")]
    breaker = AtomicItem(system.dynamodb, system.table, "circuit-breaker", Status())
    assert breaker.read()[0].reason == "daily_spend_limit"

    # The same day: the watch tries nothing.
    called = len(system.calls())
    system.invoke("AccountWatchFunction", {})
    assert system.mapping_state() == "Disabled"
    assert len(system.calls()) == called

    # A new day, on which nothing is spent yet.
    breaker.change(lambda status: replace(status, since=status.since - 86_400))
    for item in system.dynamodb.scan(TableName=system.table)["Items"]:
        if item["id"]["S"].startswith("spend#"):
            system.dynamodb.delete_item(TableName=system.table, Key={"id": item["id"]})
    system.deliver_again([key for key in KEYS if f"{key}.png" not in done])
    system.invoke("AccountWatchFunction", {})
    assert system.mapping_state() == "Enabled"
    until(lambda: len(system.outputs()) == len(KEYS), MAX_WAIT)

    assert [system.paid(photo(key)) for key in KEYS] == [1] * len(KEYS)
    assert system.dead() == 0
