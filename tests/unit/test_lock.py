"""One edit at a time, whoever delivers it twice."""

import time
from typing import TYPE_CHECKING

import pytest

from image_drop.errors import InProgressError, StorageBusyError, VeniceUnavailableError
from image_drop.lock import EditLock
from tests.clock import FakeClock
from tests.context import FakeContext

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONTEXT = FakeContext()


@pytest.fixture
def lock(dynamodb: "DynamoDBClient", table: str, clock: FakeClock) -> EditLock:
    return EditLock(dynamodb, table, clock.now)


def test_the_work_is_done_once(lock: EditLock) -> None:
    done: list[str] = []

    assert lock.hold("edit", CONTEXT, lambda: done.append("first"))
    assert not lock.hold("edit", CONTEXT, lambda: done.append("second"))
    assert done == ["first"]


def test_other_edits_are_not_held_up(lock: EditLock) -> None:
    done: list[str] = []

    lock.hold("edit", CONTEXT, lambda: done.append("edit"))
    lock.hold("other", CONTEXT, lambda: done.append("other"))

    assert done == ["edit", "other"]


def test_a_twin_of_a_running_edit_comes_back_later(lock: EditLock, clock: FakeClock) -> None:
    caught: list[InProgressError] = []

    def twin() -> None:
        with pytest.raises(InProgressError) as error:
            lock.hold("edit", FakeContext(function_name="another"), pytest.fail)
        caught.append(error.value)

    assert lock.hold("edit", CONTEXT, twin)
    assert [error.retry_at for error in caught] == [clock.now() + 30]


def test_work_that_fails_frees_the_lock_and_its_error_comes_out(lock: EditLock) -> None:
    def fail() -> None:
        raise VeniceUnavailableError("Venice answered 503.", status=503)

    with pytest.raises(VeniceUnavailableError, match="503"):
        lock.hold("edit", CONTEXT, fail)
    assert lock.hold("edit", CONTEXT, lambda: None)


def test_the_lock_of_an_invocation_that_died_is_free_when_its_time_is_over(lock: EditLock) -> None:
    done: list[str] = []

    def after_the_end() -> None:
        time.sleep(0.01)  # Powertools asks the real clock
        lock.hold("edit", CONTEXT, lambda: done.append("the other's work"))

    lock.hold("edit", FakeContext(remaining=1), after_the_end)

    assert done == ["the other's work"]


def test_a_lock_goes_by_itself_after_the_function_can_have_ended(
    lock: EditLock, dynamodb: "DynamoDBClient", table: str
) -> None:
    before = time.time()

    lock.hold("edit", CONTEXT, lambda: None)

    (item,) = dynamodb.scan(TableName=table)["Items"]
    assert 300 < float(item["expiration"]["N"]) - before < 400


def test_a_table_that_does_not_take_the_lock_is_a_reason_to_try_again(
    dynamodb: "DynamoDBClient", clock: FakeClock
) -> None:
    without_table = EditLock(dynamodb, "missing", clock.now)

    with pytest.raises(StorageBusyError):
        without_table.hold("edit", CONTEXT, pytest.fail)
