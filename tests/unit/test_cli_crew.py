"""Work in threads comes back as it ends, and Ctrl-C never leaves a thread waiting for a lock."""

import _thread
import threading
import time

import pytest

from image_drop_cli.crew import Crew


def test_results_come_as_they_end() -> None:
    crew: Crew[int] = Crew(2, "test")
    for number in range(5):
        crew.begin("square", lambda n: n * n, number)
    assert crew.running["square"] == 5
    found: list[int] = []
    while crew.busy:
        found += crew.results()
    assert sorted(found) == [0, 1, 4, 9, 16]
    assert list(crew.results(timeout=0.01)) == []
    crew.close()


def test_error_of_work_is_raised_where_results_are_taken() -> None:
    crew: Crew[int] = Crew(1, "test")
    crew.begin("fail", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        list(crew.results())
    assert not crew.busy
    crew.close()


def test_interrupt_at_any_moment_leaves_nothing_locked() -> None:
    for _ in range(100):
        crew: Crew[None] = Crew(4, "test")
        try:
            crew.begin("work", _thread.interrupt_main)
            # The interrupt comes somewhere in here; in a finalizer, Python drops it.
            for _ in range(1000):
                crew.begin("work", time.sleep, 0.0001)
                list(crew.results(timeout=0.001))
        except KeyboardInterrupt:
            pass
        closing = threading.Thread(target=crew.close)
        closing.start()
        closing.join(timeout=10)
        assert not closing.is_alive()
