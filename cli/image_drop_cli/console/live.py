"""What happens while somebody looks: one watcher for all windows, which tells each of them.

The page does not ask again and again; it is told (server-sent events). The watcher rests while no
window is open, so that a forgotten console costs no requests.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import batched
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from image_drop.errors import ImageDropError
from image_drop_cli.aws import explained
from image_drop_cli.console.gallery import Gallery, Tile
from image_drop_cli.image_records import READ_TOGETHER, read_records
from image_drop_cli.manifest import manifest, row_of
from image_drop_cli.overview import Overview, gather
from image_drop_cli.wording import printable

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

TICK = 0.5  # seconds
LOOK = 2.0  # seconds between two looks at the stack; on AWS each is a dozen requests
LOOK_ON_AWS = 5.0
COUNT_AGAIN = 60.0  # seconds; the metrics of the last hour are no newer
SCAN = 2.0  # seconds between two scans of the table, at least
SCAN_PART = 20  # of the time may go into scans
JUST_SENT = 30.0  # seconds in which the table may not know an image yet
HISTORY = 240  # looks that a new window can draw
MOST_TOLD = 200  # tiles in one message; for more, a window asks for what it shows


@dataclass(frozen=True)
class Sample:
    """What the small charts draw, of one moment. `at`: seconds since 1970.

    `limit`: calls a minute. `usd_limit`: 0 is none. `balance` and `seconds_left` as in `Overview`.
    """

    at: float
    queued: int
    used: int
    limit: int
    usd: float
    usd_limit: float
    balance: float | None
    seconds_left: float | None


@dataclass
class Live:
    """Watches a stack for the open windows. `gallery` is kept as the stack is."""

    deployment: "Deployment"
    gallery: Gallery
    history: deque[Sample] = field(default_factory=lambda: deque(maxlen=HISTORY))
    overview: Overview | None = None
    problem: str = ""
    _windows: dict[asyncio.Queue[bytes], asyncio.AbstractEventLoop] = field(default_factory=dict)
    _closing: threading.Event = field(default_factory=threading.Event)
    _wake: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _scanned: threading.Event = field(default_factory=threading.Event)
    _soon: threading.Event = field(default_factory=threading.Event)
    _problems: dict["_Repeated", str] = field(default_factory=dict)
    _counted_at: float = -COUNT_AGAIN

    def start(self) -> None:
        """Begin to watch, in a thread of its own."""
        self._thread = threading.Thread(target=self._watch, name="console", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and with it what is told to the windows."""
        self._closing.set()
        self.tell("end", None)  # wakes those that wait for the next message
        self._wake.set()
        if self._thread:
            self._thread.join()

    @property
    def closing(self) -> bool:
        """Whether the console is about to end."""
        return self._closing.is_set()

    @contextmanager
    def window(self) -> Iterator[asyncio.Queue[bytes]]:
        """Yield what is told to one window, while it is open; within its event loop."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        with self._lock:
            self._windows[queue] = asyncio.get_running_loop()
        self._wake.set()
        try:
            yield queue
        finally:
            with self._lock:
                del self._windows[queue]

    def tell(self, event: str, value: Any) -> None:
        """Tell all windows something, from any thread."""
        data = msgspec.json.encode(value, enc_hook=str)
        message = b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
        with self._lock:
            windows = list(self._windows.items())
        for queue, loop in windows:
            if not loop.is_closed():
                loop.call_soon_threadsafe(queue.put_nowait, message)

    def tell_tiles(self, tiles: Iterable[Tile]) -> None:
        """Tell the windows which tiles have changed."""
        if changed := list(tiles):
            some = changed if len(changed) <= MOST_TOLD else []
            self.tell(
                "tiles",
                {
                    "version": self.gallery.version,
                    "counts": self.gallery.counts(),
                    "tiles": [told(tile) for tile in some],
                },
            )

    def expect(self, keys: Iterable[str], since: float | None = None) -> None:
        """Show images as on their way that were just sent or retried.

        `since`: what orders them among all others, in seconds since 1970; now, if it is not given.
        """
        now = self.deployment.services.now()
        self.tell_tiles(self.gallery.expect(keys, now, since))
        self._wake.set()

    def look_soon(self) -> None:
        """Look at the stack at once, for somebody has just changed it."""
        self._soon.set()
        self._wake.set()

    def wait_for_scan(self, seconds: float) -> bool:
        """Wait until the table was read once; return whether it was."""
        return self._scanned.wait(seconds)

    def scan(self) -> None:
        """Take over what the state table has."""
        begun = self.deployment.services.now()
        rows = manifest(self.deployment).rows
        changed = self.gallery.update(rows, begun)
        self.gallery.forget_missing([(each.file, each.variant) for each in rows], begun - JUST_SENT)
        self._scanned.set()
        self.tell_tiles(changed)

    def _watch(self) -> None:
        scan = _Repeated(self.scan, SCAN, SCAN_PART)
        look = _Repeated(self._look, LOOK if self.deployment.is_local else LOOK_ON_AWS, 2)
        follow = _Repeated(self._follow, TICK, 1)
        while not self.closing:
            if not self._windows and self._scanned.is_set():
                self._wake.wait()
            self._wake.clear()
            if self._soon.is_set():
                self._soon.clear()
                look.soon()
            for step in (scan, follow, look):
                if not self.closing:
                    self._try(step)
            self._wake.wait(TICK)

    def _try(self, step: "_Repeated") -> None:
        """Do one step; tell its error to the windows instead of ending the watch."""
        try:
            if step.is_due:
                step()
                self._problems.pop(step, None)
        except (BotoCoreError, ClientError) as error:
            self._problems[step] = explained(error)
        except ImageDropError as error:
            self._problems[step] = f"{error.title}. {error.detail} {error.advice}"
        except Exception as error:  # of whatever kind: the windows would hear nothing any more
            self._problems[step] = f"{type(error).__name__}: {error}"
        problem = next(iter(self._problems.values()), "")
        if problem != self.problem:
            self.problem = problem
            self.tell("problem", problem)

    def _follow(self) -> None:
        """Look at the records of what is on its way; the scan would take longer to see them."""
        now, waiting = self.deployment.services.now(), self.gallery.waiting()
        for some in batched(waiting[: 3 * READ_TOGETHER], READ_TOGETHER, strict=False):
            images = [(file, variant or None) for file, variant in some]
            found = read_records(self.deployment, images)
            rows = (row_of(*image, record) for image, record in found.items())
            self.tell_tiles(self.gallery.update(filter(None, rows), now))

    def _look(self) -> None:
        hour = self.overview.last_hour if self.overview and self._hour_is_new() else None
        self.overview = gather(self.deployment, hour, self.overview)
        if hour is None:
            self._counted_at = time.monotonic()
        self.history.append(sample_of(self.overview, self.deployment.services.now()))
        self.tell("state", state_of(self.overview, self.gallery, self.history[-1]))

    def _hour_is_new(self) -> bool:
        return time.monotonic() - self._counted_at < COUNT_AGAIN


class _Repeated:
    """A step that is done at most every `interval` seconds, and for a part of the time only."""

    def __init__(self, step: Callable[[], None], interval: float, part: int) -> None:
        self._step, self._interval, self._part = step, interval, part
        self._next = 0.0

    def soon(self) -> None:
        """Do it the next time, however short ago it was done."""
        self._next = 0.0

    @property
    def is_due(self) -> bool:
        """Whether its time has come."""
        return time.monotonic() >= self._next

    def __call__(self) -> None:
        begun = time.monotonic()
        self._next = begun + self._interval
        self._step()
        now = time.monotonic()
        self._next = max(begun + self._interval, now + (now - begun) * self._part)


def told(tile: Tile) -> dict[str, Any]:
    """Return a tile as the page gets it."""
    row = tile.row
    return {
        "file": row.file,
        "name": printable(row.file),
        "variant": row.variant,
        "kind": tile.kind,
        "result": row.result if tile.kind == "results" else "",
        "usd": row.usd,
        "model": row.model,
        "check": row.check,
        "at": row.at,
        "code": row.code,
        "seconds": row.seconds,
        "reused": bool(row.reused_from),
        "mark": tile.mark.verdict if tile.mark else "",
        "note": tile.mark.note if tile.mark else "",
    }


def sample_of(overview: Overview, now: float) -> Sample:
    """Return what the charts draw of an overview."""
    busiest = max(overview.rates, key=lambda rate: rate.used)
    return Sample(
        at=now,
        queued=overview.queue.total,
        used=busiest.used,
        limit=busiest.limit,
        usd=overview.today.usd + overview.today.unconfirmed_usd,
        usd_limit=overview.today.limit_usd,
        balance=overview.balance,
        seconds_left=overview.seconds_left,
    )


def state_of(overview: Overview, gallery: Gallery, sample: Sample) -> dict[str, Any]:
    """Return the state of the stack as the page gets it."""
    return {
        "stack": overview.stack,
        "processing": overview.processing,
        "dead": overview.dead,
        "dead_codes": overview.dead_codes,
        "today": overview.today,
        "last_hour": overview.last_hour,
        "backfill": overview.backfill,
        "counts": gallery.counts(),
        "version": gallery.version,
        "sample": sample,
    }
