"""Dropping files, following them, and fetching what comes out: `image-drop put` and `make demo`.

All that counts is in the buckets, so a run may be broken off and started again, and two people may
drop the same folder: whoever comes second finds the work done or on its way. Memory does not grow
with the number of files.
"""

import base64
import hashlib
import math
import mimetypes
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum, auto
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self
from urllib.parse import urlencode

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from image_drop import edits
from image_drop.errors import PermanentError, RetryableError
from image_drop.state.rate_limit import WINDOW
from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import Report
from image_drop.storage.s3 import MISSING
from image_drop.uploads import FOLDER_FILE, LAYERS_FOLDER, SIDECAR_SUFFIX, Upload, starts_nothing
from image_drop_cli.upload.folders import Drop, NotSent
from image_drop_cli.upload.waiting_list import PendingResult, WaitingList

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

THREADS = 8  # files that are read, sent or fetched at a time
LOOKS = 16  # files that are looked for in one round
POLL = 0.25  # seconds from one round to the next
# Part of the time left until a file is looked for again. That makes 1 / 0.05 = 20 looks at a file,
# of two requests each: 2 million for 50,000 files, which take 41 hours at 20 a minute.
PATIENCE = 0.05
STANDING_AGE = 1.0  # seconds
CONFLICT = ("PreconditionFailed", "ConditionalRequestConflict")


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
class Progress:
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
    awaited: tuple[PendingResult, ...] = ()
    over: PendingResult | None = None


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
        self._results = deployment.services.settings.output_bucket
        self._out = out
        self._overwrite = overwrite
        self._follow = follow
        self._waiting = WaitingList()
        self._blocked: list[str] = []
        self._standing = Progress()
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

    def standing(self) -> Progress:
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

    def _due(self) -> list[PendingResult]:
        left = self.standing().seconds_left
        interval = max(POLL, PATIENCE * (60 if left is None else left))
        return self._waiting.due(time.monotonic(), interval, LOOKS)

    def _survey(self) -> Progress:
        counts = self._waiting.counts()
        awaited = sum(counts.values())
        queued = self._services.queue.depth().total
        ahead = max(0, queued - awaited)
        times = {model: self._time_for(model, count + ahead) for model, count in counts.items()}
        seconds_left, limit = max(times.values(), default=(0.0, 0))
        line = self._services.circuit_breaker.status()
        if line.stopped:
            return Progress(awaited, queued, limit, None, line.detail)
        return Progress(awaited, queued, limit, seconds_left)

    def _time_for(self, model: str, count: int) -> tuple[float, int]:
        """Seconds until so many calls have started at the model's rate, and that rate."""
        slots, _ = self._services.limiter.peek(model)
        now = self._services.now()
        free = max(0, slots.limit - sum(time > now - WINDOW for time in slots.times))
        return max(0, math.ceil((count - free) / slots.limit)) * WINDOW, slots.limit

    # --- sending

    def _first(self, drop: Drop | NotSent) -> _Step | None:
        """What has to be there before its folder's images is sent at once; None for an image."""
        if isinstance(drop, NotSent):
            self._block(drop.key)
            return _Step((drop,))
        if any(drop.key.startswith(folder) for folder in self._blocked):
            return _Step((NotSent(drop.key, "What its folder needs was not sent."),))
        if not starts_nothing(drop.key):
            return None
        step = _safely(self._send, drop)
        if step.events:
            self._block(drop.key)
        return step

    def _block(self, key: str) -> None:
        """Keep the images at home that need what has this key: a folder file, or a layer."""
        layers = f"/{key}".find(f"/{LAYERS_FOLDER}/")
        if layers >= 0:
            self._blocked.append(key[:layers])
        elif f"/{key}".endswith(f"/{FOLDER_FILE}"):
            self._blocked.append(key.removesuffix(FOLDER_FILE))

    def _send(self, drop: Drop) -> _Step:
        with drop.path.open("rb") as file:
            size, limit = os.fstat(file.fileno()).st_size, self._services.settings.max_image_bytes
            if size > limit:
                raise NotSentError(f"It has {size:,} bytes; the limit is {limit:,}.")
            digest = _Digest.of(file)
            there = self._there(drop.key, digest, "Another file")
            told = self._send_sidecar(drop, there)
            if there is not _There.SAME:
                self._put_file(drop, file, digest)
        if starts_nothing(drop.key):
            return _Step()
        if drop.key.endswith(SIDECAR_SUFFIX):  # instructions for an image that is there, or comes
            return _Step((Sent(drop.key, already=there is _There.SAME),))
        if there is _There.SAME:
            return self._resume(drop.key, told)
        return _Step((Sent(drop.key, already=False),), tuple(self._plan(drop.key)))

    def _send_sidecar(self, drop: Drop, image: "_There") -> float:
        """When the instructions in the bucket became these; 0 where nothing was to be sent."""
        if drop.sidecar is None:
            return 0.0
        key = drop.key + SIDECAR_SUFFIX
        digest = _Digest.of(BytesIO(drop.sidecar))
        there = self._there(key, digest, "Another file of instructions")
        if there is _There.SAME:
            return 0.0
        if image is _There.OTHER:
            # The new instructions are not for the old image; an edit of it would be paid for.
            # The bucket keeps its versions.
            self._s3.delete_object(Bucket=self._bucket, Key=drop.key)
        self._put(key, drop.sidecar, digest, ContentType="application/json")
        return self._changed_at(key)

    def _there(self, key: str, digest: "_Digest", what: str) -> "_There":
        found = self._head(self._bucket, key)
        if found is None:
            return _There.NOTHING
        if found.etag == digest.md5.hex() or found.sha256 == digest.sha256_base64:
            return _There.SAME
        if self._overwrite:
            return _There.OTHER
        raise NotSentError(
            f"{what} is in the bucket as {key}. Drop yours with --to below another folder, or with "
            "--overwrite in its place."
        )

    def _put_file(self, drop: Drop, file: BinaryIO, digest: "_Digest") -> None:
        before = _stamp(file)
        file.seek(0)
        try:
            self._put(
                drop.key,
                file,
                digest,
                ContentType=mimetypes.guess_type(drop.path)[0] or "application/octet-stream",
                Tagging=urlencode(drop.tags),
                Metadata=dict(drop.metadata),
            )
        except (ClientError, BotoCoreError) as error:
            # A file that gets shorter on its way makes S3 wait, and the connection break.
            if _stamp(file) != before or _code(error) == "BadDigest":
                raise NotSentError("It changes while it is read. Try again later.") from error
            raise

    def _put(self, key: str, body: bytes | BinaryIO, digest: "_Digest", **values: Any) -> None:
        """Put an object, if it is still true what was found out about its key."""
        if not self._overwrite:
            values["IfNoneMatch"] = "*"
        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentMD5=base64.b64encode(digest.md5).decode(),
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=digest.sha256_base64,
                **values,
            )
        except ClientError as error:
            if _code(error) not in CONFLICT:
                raise
            self._there(key, digest, "What somebody else has just sent")

    # --- following

    def _plan(self, key: str) -> Iterator[PendingResult]:
        """What the pipeline will make of an image, by its own reckoning."""
        upload = Upload(self._bucket, key)
        try:
            wanted = edits.load_instructions(upload, self._services)
        except (PermanentError, RetryableError):
            yield PendingResult(key, None, self._changed_at(key))  # there will be a report
            return
        since = wanted.image.changed_at.timestamp()
        for variant in wanted.variants:
            try:
                edit = edits.plan_edit(wanted, variant, self._services)
            except (PermanentError, RetryableError):
                yield PendingResult(key, variant, since)
            else:
                yield PendingResult(key, variant, since, edit.output_key, edit.id, edit.rate_model)

    def _resume(self, key: str, told: float) -> _Step:
        """Go on with an image that was there before; `told`: when its instructions changed."""
        steps = [self._resume_one(each, told) for each in self._plan(key)]
        events = [event for step in steps for event in step.events]
        awaited = tuple(each for step in steps for each in step.awaited)
        return _Step((Sent(key, already=True), *events), awaited)

    def _resume_one(self, awaited: PendingResult, told: float) -> _Step:
        if told > awaited.since:
            return _Step(awaited=(replace(awaited, since=told),))
        result, report = self._result(awaited), self._report(awaited)
        if result and result.edit_id == awaited.edit_id:
            return _Step((self._fetched(awaited, result, already=True),))
        if report and report.edit_id == (awaited.edit_id or None):
            return _Step((self._fetched(awaited, report, already=True),))
        if report:  # it was about something else: wrong instructions, or a Venice that was away
            awaited = replace(awaited, since=report.changed_at + 0.001)
        if report or self._services.queue.depth().total == 0:
            again = self._services.new_id()
            self._services.queue.send(
                Upload(self._bucket, awaited.key, awaited.variant, retry=again)
            )
        return _Step(awaited=(awaited,))

    def _look(self, awaited: PendingResult) -> _Step:
        if not awaited.edit_id:
            planned = [
                replace(each, since=awaited.since)
                for each in self._plan(awaited.key)
                if each.edit_id and awaited.variant in (None, each.variant)
            ]
            if planned:
                return _Step(awaited=tuple(planned), over=awaited)
        found = self._result(awaited) or self._report(awaited)
        return _Step((self._fetched(awaited, found),), over=awaited) if found else _Step()

    def _result(self, awaited: PendingResult) -> "_Found | None":
        """Its result, or a newer one: somebody may have dropped it again in the meantime."""
        found = self._head(self._results, awaited.output_key) if awaited.output_key else None
        if found and (found.edit_id == awaited.edit_id or found.changed_at > awaited.since):
            return found
        return None

    def _report(self, awaited: PendingResult) -> "_Found | None":
        key = output_bucket.report_key(awaited.key, awaited.variant)
        found = self._head(self._results, key)
        return found if found and found.changed_at >= awaited.since else None

    def _fetched(
        self, awaited: PendingResult, found: "_Found", *, already: bool = False
    ) -> Arrived:
        is_report = found.key == output_bucket.report_key(awaited.key, awaited.variant)
        report = None
        if is_report:
            answer = self._s3.get_object(Bucket=self._results, Key=found.key)
            report = msgspec.json.decode(answer["Body"].read(), type=Report)
        return Arrived(
            key=awaited.key,
            variant=awaited.variant,
            output_key=found.key,
            size=found.size,
            seconds=max(0.0, found.changed_at - awaited.since),
            path=self._fetch(found) if self._out else None,
            report=report,
            already=already,
        )

    def _fetch(self, found: "_Found") -> Path:
        """The object as a file below `out`; one that was fetched before is left as it is."""
        assert self._out is not None
        path = self._out / found.key
        if not path.resolve().is_relative_to(self._out.resolve()):
            raise NotSentError(f"Its result {found.key} would be written outside of {self._out}.")
        if path.exists() and (path.stat().st_size, path.stat().st_mtime) == (
            found.size,
            found.changed_at,
        ):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{secrets.token_hex(8)}.part")  # two runs may fetch the same
        try:
            with part.open("xb") as file:
                answer = self._s3.get_object(Bucket=self._results, Key=found.key)
                shutil.copyfileobj(answer["Body"], file)
            os.utime(part, (found.changed_at, found.changed_at))
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def _changed_at(self, key: str) -> float:
        """When an object was put, by S3's clock; 0 where it is gone."""
        found = self._head(self._bucket, key)
        return found.changed_at if found else 0.0

    def _head(self, bucket: str, key: str) -> "_Found | None":
        try:
            head = self._s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if _code(error) in MISSING:
                return None
            raise
        return _Found(
            key,
            head["ETag"].strip('"'),
            head["ContentLength"],
            head["LastModified"].timestamp(),
            head["Metadata"].get("edit-id"),
            head.get("ChecksumSHA256"),
        )


class _There(Enum):
    """What is under a key already."""

    NOTHING = auto()
    SAME = auto()
    OTHER = auto()


@dataclass(frozen=True)
class _Found:
    """An object of either bucket; `changed_at` in seconds since 1970."""

    key: str
    etag: str
    size: int
    changed_at: float
    edit_id: str | None
    sha256: str | None


@dataclass(frozen=True)
class _Digest:
    """What tells that an object has the same bytes as a file.

    Its ETag is the MD5 if it was put in one piece without a KMS key. SHA-256 is what `put` gives
    with each object, so S3 tells it whatever the key.
    """

    md5: bytes
    sha256: bytes

    @classmethod
    def of(cls, file: BufferedIOBase) -> Self:
        """Read a file to its end, twice."""
        md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
        file.seek(0)
        return cls(md5, hashlib.file_digest(file, "sha256").digest())

    @property
    def sha256_base64(self) -> str:
        """As S3 has it."""
        return base64.b64encode(self.sha256).decode()


def _safely[T: Drop | PendingResult](work: Callable[[T], _Step], subject: T) -> _Step:
    """The step, or what kept this one file from being sent or fetched."""
    over = subject if isinstance(subject, PendingResult) else None
    try:
        return work(subject)
    except NotSentError as error:
        return _Step((NotSent(subject.key, str(error)),), over=over)
    except BotoCoreError:  # some of them are OSErrors, too
        raise
    except OSError as error:
        reason = f"{error.filename or subject.key}: {error.strerror or error}."
        return _Step((NotSent(subject.key, reason),), over=over)


def _stamp(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _code(error: Exception) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
