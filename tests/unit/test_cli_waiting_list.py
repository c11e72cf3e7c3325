"""The list of what is on its way."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from image_drop_cli.upload.waiting_list import PendingResult, WaitingList


@pytest.fixture
def waiting() -> Iterator[WaitingList]:
    with closing(WaitingList()) as waiting:
        yield waiting


def test_those_not_looked_for_longest_come_first_and_none_twice(waiting: WaitingList) -> None:
    waiting.add(PendingResult(f"{number}.jpg", None, 0.0) for number in range(5))
    assert [each.key for each in waiting.due(100, 10, 3)] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [each.key for each in waiting.due(101, 10, 3)] == ["3.jpg", "4.jpg"]
    assert waiting.due(102, 10, 3) == []
    assert [each.key for each in waiting.due(110, 10, 9)] == ["0.jpg", "1.jpg", "2.jpg"]


def test_what_has_arrived_is_gone(waiting: WaitingList) -> None:
    waiting.add([PendingResult("a.jpg", None, 0.0), PendingResult("a.jpg", "white", 0.0)])
    first, second = waiting.due(1, 0, 9)
    waiting.remove(first)
    assert waiting.due(2, 0, 9) == [second]


def test_it_counts_by_model_whose_rate_is_limited(waiting: WaitingList) -> None:
    waiting.add(PendingResult("a.jpg", None, 0.0, rate_model=model) for model in ("x", "y", "x"))
    assert waiting.counts() == {"x": 2, "y": 1}

    for each in waiting.due(1, 0, 2):
        waiting.remove(each)
        waiting.remove(each)  # gone already
    assert waiting.counts() == {"x": 1}
