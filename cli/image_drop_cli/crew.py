"""Threads that work through pieces of work, whose results come back as they end."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue


class Crew[Result]:
    """Some threads. `running`: pieces of work that are begun and not handed back, by kind.

    Ctrl-C is safe: `concurrent.futures.wait` takes locks of futures in Python, and an interrupt
    there would leave them taken, so that a thread and with it the program never ends. A
    `SimpleQueue` takes none that can stay.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._ended: SimpleQueue[tuple[str, Result | None, BaseException | None]] = SimpleQueue()
        self.running: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        """Whether there are results to come."""
        return self.running.total() > 0

    def begin[*Args](self, kind: str, work: Callable[[*Args], Result], *args: *Args) -> None:
        """Begin a piece of work as soon as a thread is free."""
        self.running[kind] += 1
        self._pool.submit(self._do, kind, lambda: work(*args))

    def results(self, timeout: float | None = None) -> Iterator[Result]:
        """Yield what has ended, after waiting up to `timeout` seconds for the first.

        Without a timeout, wait as long as it takes. An error of the work is raised here.
        """
        try:
            ended = self._ended.get(timeout=timeout)
            while True:
                kind, result, error = ended
                self.running[kind] -= 1
                if error:
                    raise error
                yield result  # type: ignore[misc]  # there is one where there is no error
                ended = self._ended.get_nowait()
        except Empty:
            return

    def close(self) -> None:
        """Wait for what is being done, and drop what is not begun."""
        self._pool.shutdown(cancel_futures=True)

    def _do(self, kind: str, work: Callable[[], Result]) -> None:
        try:
            self._ended.put((kind, work(), None))
        except BaseException as error:  # handed to whoever takes the results
            self._ended.put((kind, None, error))
