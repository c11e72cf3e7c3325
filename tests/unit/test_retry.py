"""What becomes of an edit that failed and may succeed later: when, how often, and what then."""

import json
import random
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from image_drop import retry
from image_drop.errors import (
    AccountError,
    ImageDropError,
    InProgressError,
    LockedOutError,
    NoSlotError,
    ProcessingPausedError,
    RateLimitedError,
    StorageBusyError,
    VeniceUnavailableError,
)
from image_drop.storage.retry_queue import RetryQueue
from image_drop.uploads import Upload

NOW = 1_800_000_000.0


# --- when --------------------------------------------------------------------------------------


def waits(error: ImageDropError, attempt: int, number: int = 500) -> list[float]:
    return [retry.wait_for(error, attempt, NOW, random.Random(seed)) for seed in range(number)]


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(1, 15), (2, 30), (3, 60), (5, 240), (8, 1920), (9, 3600), (12, 3600), (1000, 3600)],
)
def test_back_off_is_spread_up_to_ceiling_that_doubles(attempt: int, ceiling: float) -> None:
    seen = waits(VeniceUnavailableError("503"), attempt)

    assert 0 <= min(seen) < ceiling * 0.2
    assert ceiling * 0.9 < max(seen) <= ceiling


@pytest.mark.parametrize("error", [RateLimitedError, LockedOutError, VeniceUnavailableError])
def test_never_sooner_than_venice_says(error: type[ImageDropError]) -> None:
    seen = waits(error("wait", retry_at=NOW + 47), attempt=2)

    assert min(seen) >= 47
    assert max(seen) <= 49  # the back-off of the second try is shorter, so its word counts


@pytest.mark.parametrize("error", [NoSlotError, ProcessingPausedError, AccountError])
def test_waits_for_slot_or_account_do_not_back_off(
    error: type[ImageDropError],
) -> None:
    assert all(31 <= wait <= 33 for wait in waits(error("wait", retry_at=NOW + 31), attempt=10))
    assert all(0 <= wait <= 2 for wait in waits(error("wait"), attempt=10))


def test_waits_for_same_moment_do_not_end_together() -> None:
    seen = waits(NoSlotError("wait", retry_at=NOW + 31), attempt=1)

    assert max(seen) - min(seen) > 1.9


def turns(minutes: float, opens_within: float) -> list[float]:
    error = NoSlotError("wait", retry_at=NOW + 31, limit=20, opens_within=opens_within)
    return [retry.wait_for(error, 1, NOW, random.Random(seed), minutes) - 31 for seed in range(500)]


def test_many_that_wait_for_slots_are_spread_over_minutes() -> None:
    seen = turns(minutes=5, opens_within=60.0)

    assert 0 <= min(seen) < 5
    assert 290 < max(seen) <= 302


def test_in_fixed_minutes_all_come_while_slots_open() -> None:
    seen = turns(minutes=5, opens_within=10.0)

    assert {wait // 60 for wait in seen} == {0, 1, 2, 3, 4}
    assert max(wait % 60 for wait in seen) <= 12


def test_last_ones_that_wait_for_slots_come_together() -> None:
    assert max(turns(minutes=0.2, opens_within=10.0)) <= 4


@given(
    retry_at=st.none() | st.floats(NOW - 1e6, NOW + 1e6),
    attempt=st.integers(1, 1000),  # SQS lets maxReceiveCount be 1,000
    seed=st.integers(0, 100),
)
def test_wait_is_never_negative_nor_before_named_time(
    retry_at: float | None, attempt: int, seed: int
) -> None:
    for error in (InProgressError, NoSlotError):
        raised = error("wait", retry_at=retry_at)
        wait = retry.wait_for(raised, attempt, NOW, random.Random(seed))
        assert wait >= 0
        assert NOW + wait >= (retry_at or NOW)


@pytest.mark.parametrize(
    ("wait", "delay", "hidden"), [(0, 0, 0), (10.2, 11, 11), (900, 900, 900), (5e4, 900, 43_000)]
)
def test_wait_is_whole_seconds_within_what_sqs_takes(wait: float, delay: int, hidden: int) -> None:
    client = boto3.client("sqs")
    with Stubber(client) as stub:
        stub.add_response(
            "send_message", {}, {"QueueUrl": "q", "MessageBody": ANY, "DelaySeconds": delay}
        )
        stub.add_response(
            "change_message_visibility",
            {},
            {"QueueUrl": "q", "ReceiptHandle": "r", "VisibilityTimeout": hidden},
        )
        queue = RetryQueue(client, "q", "dead")
        queue.send(Upload("input", "shoe.jpg"), wait)
        queue.postpone("r", wait)
        stub.assert_no_pending_responses()


# --- what SQS does not take ---------------------------------------------------------------------

MANY = [Upload("input", f"{number}.jpg") for number in range(23)]


def refused(*ids: str) -> dict[str, Any]:
    """What SQS answers to a batch of three of which it did not take some."""
    taken = [{"Id": id, "MessageId": "m", "MD5OfMessageBody": ""} for id in "012" if id not in ids]
    failed = [{"Id": id, "SenderFault": False, "Code": "InternalError"} for id in ids]
    return {"Successful": taken, "Failed": failed}


def sent(*ids: str) -> dict[str, Any]:
    keys = [MANY[int(id)].key for id in ids]
    return {
        "QueueUrl": "q",
        "Entries": [
            {"Id": id, "MessageBody": json.dumps({"bucket": "input", "key": key})}
            for id, key in zip(ids, keys, strict=True)
        ],
    }


def test_what_sqs_did_not_take_is_sent_again() -> None:
    client = boto3.client("sqs")
    with Stubber(client) as stub:
        stub.add_response("send_message_batch", refused("1", "2"), sent("0", "1", "2"))
        stub.add_response("send_message_batch", refused("2"), sent("1", "2"))
        stub.add_response("send_message_batch", refused(), sent("2"))
        RetryQueue(client, "q", "dead").send_all(MANY[:3])
        stub.assert_no_pending_responses()


def test_what_sqs_never_takes_is_said() -> None:
    client = boto3.client("sqs")
    with Stubber(client) as stub:
        for _ in range(4):
            stub.add_response("send_message_batch", refused("1"))
        with pytest.raises(StorageBusyError, match="1 of 3"):
            RetryQueue(client, "q", "dead").send_all(MANY[:3])
