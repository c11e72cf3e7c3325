"""Dropping files, following them, and fetching what comes out: `image-drop put` and `make demo`.

All that counts is in the buckets, so a run may be broken off and started again, and two people may
drop the same folder: whoever comes second finds the work done or on its way. Memory does not grow
with the number of files.
"""

import base64
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode

import msgspec
from botocore.exceptions import ClientError

from image_drop import pipeline, results
from image_drop.errors import PermanentError, RetryableError, SupersededError
from image_drop.rate_limit import WINDOW
from image_drop.results import Report, Stored
from image_drop.uploads import (
    FOLDER_FILE,
    LAYERS_FOLDER,
    SIDECAR_SUFFIX,
    Upload,
    starts_nothing,
)
from local.folders import Drop, NotSent
from local.waiting_list import Awaited, WaitingList

if TYPE_CHECKING:
    from local.deployment import Deployment

THREADS = 8  # files that are read, sent or fetched at a time
LOOKS = 16  # files that are looked for in one round
POLL = 0.25  # seconds from one round to the next
PATIENCE = 0.05  # part of the time left until a file is looked for again: 50,000 need 2 M requests
STANDING_AGE = 1.0  # seconds
CONFLICT = ("PreconditionFailed", "ConditionalRequestConflict")
MISSING = ("404", "NoSuchKey", "NotFound")


@dataclass(frozen=True)
class Sent:
    """An image is in the input bucket; `already` if it was there before."""

    key: str
    already: bool


@dataclass(frozen=True)
class Arrived:
    """A result or a report is in the output bucket.

    `size` is in bytes, `seconds` counts from the upload. `path`: where it was fetched to. `report`
    is None for a result. `already`: it was there before this run.
    """

    key: str
    variant: str | None
    output_key: str
    size: int
    seconds: float
    path: Path | None
    report: Report | None
    already: bool


Event = Sent | NotSent | Arrived


@dataclass(frozen=True)
class Standing:
    """How far a run is. `queued`: messages in the retry queue, whoever sent them.

    `limit`: requests a minute of the model that takes longest. `seconds_left` is what that makes of
    `awaited`; None while the line is stopped, for the reason in `stopped`.
    """

    awaited: int = 0
    queued: int = 0
    limit: int = 0
    seconds_left: float | None = 0.0
    stopped: str = ""


class NotSentError(Exception):
    """When a file cannot be dropped as it is; its text says why."""


@dataclass(frozen=True)
class _Step:
    """What a thread found out: events to tell, what to wait for from now on, what no longer."""

    events: tuple[Event, ...] = ()
    awaited: tuple[Awaited, ...] = ()
    over: Awaited | None = None


class Run:
    """Drops files into a stack and follows each until it has a result or a report.

    `out`: where results and reports are fetched to; None leaves them in the bucket. `overwrite`:
    replace what is under a key already, instead of refusing the file. `follow`: wait for results.
    """

    def __init__(
        self,
        deployment: "Deployment",
        out: Path | None,
        *,
        overwrite: bool = False,
        follow: bool = True,
    ) -> None:
        self._services = deployment.services
        self._bucket = deployment.input_bucket
        self._s3 = deployment.client("s3")
        self._queues = Queues(deployment)
        self._out = out
        self._overwrite = overwrite
        self._follow = follow
        self._waiting = WaitingList()
        self._blocked: list[str] = []
        self._standing = Standing()
        self._stood_at = -STANDING_AGE

    def events(self, drops: Iterable[Drop | NotSent]) -> Iterator[Event | None]:
        """What happens, as it happens, and None a few times a second in between.

        Raises boto3's errors when AWS cannot be used (any more). What was sent by then is worked on
        all the same, and the same run again goes on from there.
        """
        pool = ThreadPoolExecutor(THREADS, "drops")
        with closing(self._waiting):
            try:
                yield from self._events(iter(drops), pool)
            finally:
                pool.shutdown(cancel_futures=True)

    def standing(self) -> Standing:
        """How far the run is, not more than a second ago."""
        if time.monotonic() - self._stood_at > STANDING_AGE:
            self._standing = self._survey()
            self._stood_at = time.monotonic()
        return self._standing

    def _events(
        self, drops: Iterator[Drop | NotSent], pool: ThreadPoolExecutor
    ) -> Iterator[Event | None]:
        sending: set[Future[_Step]] = set()
        looking: set[Future[_Step]] = set()
        more = True
        while more or sending or looking or (self._follow and self._waiting.counts()):
            while more and len(sending) < 2 * THREADS:
                drop = next(drops, None)
                if drop is None:
                    more = False
                elif (step := self._first(drop)) is not None:
                    yield from step.events
                elif isinstance(drop, Drop):
                    sending.add(pool.submit(_safely, self._send, drop))
            if self._follow and not looking:
                looking = {pool.submit(_safely, self._look, each) for each in self._due()}
            done = self._wait(sending | looking)
            sending, looking = sending - done, looking - done
            for future in done:
                step = future.result()
                if step.over:
                    self._waiting.remove(step.over)
                self._waiting.add(step.awaited)
                yield from step.events
            yield None

    def _wait(self, futures: set[Future[_Step]]) -> set[Future[_Step]]:
        if not futures:
            time.sleep(POLL)
        return wait(futures, timeout=POLL, return_when=FIRST_COMPLETED).done

    def _due(self) -> list[Awaited]:
        left = self.standing().seconds_left
        interval = max(POLL, PATIENCE * (60 if left is None else left))
        return self._waiting.due(time.monotonic(), interval, LOOKS)

    # --- sending

    def _first(self, drop: Drop | NotSent) -> _Step | None:
        """What has to be there before its folder's images, at once; None for an image."""
        if isinstance(drop, NotSent):
            return _Step((drop,))
        for folder in self._blocked:
            if drop.key.startswith(folder):
                return _Step((NotSent(drop.key, "What its folder needs was not sent."),))
        if not starts_nothing(drop.key):
            return None
        step = _safely(self._send, drop)
        if step.events:
            self._blocked.append(drop.key.removesuffix(FOLDER_FILE).partition(LAYERS_FOLDER)[0])
        return step

    def _send(self, drop: Drop) -> _Step:
        with drop.path.open("rb") as file:
            before = os.fstat(file.fileno())
            limit = self._services.settings.max_image_bytes
            if before.st_size > limit:
                raise NotSentError(f"It has {before.st_size:,} bytes; the limit is {limit:,}.")
            digest = hashlib.file_digest(file, "md5").digest()
            there = self._find(drop.key)
            same = there is not None and there.etag == digest.hex()
            if there is not None and not same and not self._overwrite:
                raise NotSentError(
                    "Another file is in the bucket under this key. Drop yours with --to under "
                    "another one, or with --overwrite in its place."
                )
            told = self._send_sidecar(drop, replaced=there is not None and not same)
            if not same:
                file.seek(0)
                self._put(drop.key, file, digest, there if told is None else None, drop)
        if starts_nothing(drop.key):
            return _Step()
        if same:
            return self._resume(drop.key, told)
        return _Step((Sent(drop.key, already=False),), tuple(self._awaited(drop.key)))
