"""Images that have no result yet: a bucket that was filled before, or events that were lost.

A pass walks through a prefix of the input bucket and puts what has neither a result nor a report
into the retry queue, never more than about a day of work at a time: a million images take 35 days
at 20 a minute, and SQS keeps a message for 14. Where it stands is one item of the state table, so
it can be stopped at any point and lose nothing.

It decides by listings alone, a thousand keys a request: an image is done when a result
(`<key>.png`, `.jpg`, `.webp`) or a report is there that is not older than the image and its
sidecar. Where that cannot be told the image is queued, because the pipeline looks again and does
nothing that is done. The one thing that a listing does not show is who wrote an object: a foreign
one with the name of a result and a later date passes for it.

A pass that the schedule begins takes less: only what changed since the last whole pass began, and
has no outcome in its record. So results that somebody moves away are not paid again by themselves.
A pass that a person begins makes them again.

The walk relies on results that begin with their image's key. An `OutputKeyFormat` that does not
begin with `{key}` puts them in another order; then each image's results are asked for one by one
(HEAD, up to ten requests an image where the format holds `{mode}`, else up to four).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from image_drop import uploads
from image_drop.instructions.schema import Mode
from image_drop.state.records import Record, record_id
from image_drop.state.scans import DAY, AlreadyRunningError, Scan
from image_drop.storage import output_bucket
from image_drop.telemetry import logger, measure
from image_drop.uploads import SIDECAR_SUFFIX, Upload
from image_drop.venice.known_models import DEFAULT_EDIT_MODEL

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from image_drop.services import Services

WORK_MINUTES = 24 * 60  # of work that the queue may hold
REFILL = 0.5  # of that: a fuller queue is left alone, so that a request lists many keys at once
LAST_SECONDS = 60.0  # of an invocation: no new page is begun, for a page may take half of them
PAGE = 1000  # keys; S3's limit for a request
HEAD_PAGE = 100  # keys, where each takes up to ten requests
RECORDS_PAGE = 100  # records; DynamoDB's limit for a request
AHEAD = 10_000  # keys kept of the output listing beyond the page that is looked at


def run(services: "Services", seconds_left: Callable[[], float]) -> Scan | None:
    """Feed the queue until it is full, the time is up, or the pass is at its end.

    `seconds_left`: of this invocation. Returns where the pass stands, None where there is none.
    """
    current = _due(services)
    if current is None or not current.running:
        return current
    full = capacity(services)
    room = full - services.queue.depth().total
    if room < full * (1 - REFILL):
        return current
    walk = _walk(services, current)
    before = current
    while current.running and room > 0 and seconds_left() > LAST_SECONDS:
        step = walk(current.cursor, room)
        services.queue.send_all(step.missing)
        new = msgspec.structs.replace(
            current,
            cursor=step.cursor,
            seen=current.seen + step.seen,
            queued=current.queued + len(step.missing),
            finished=services.now() if step.last else None,
            whole_at=current.whole_at if current.prefix else services.now(),
            whole_started=(
                current.started if step.last and not current.prefix else current.whole_started
            ),
        )
        if not services.scans.advance(current, new):
            logger.info("backfill was cancelled, or is being done by another invocation")
            return services.scans.current()
        current = new
        room -= len(step.missing)
    queued = current.queued - before.queued
    logger.info("backfill", prefix=current.prefix, cursor=current.cursor, queued=queued)
    measure({"BackfillQueued": queued})
    return current


def capacity(services: "Services") -> int:
    """How many messages the queue may hold: a day of work at the known rate."""
    logs = [services.limiter.peek(name)[0] for name in (DEFAULT_EDIT_MODEL, Mode.BACKGROUND_REMOVE)]
    return WORK_MINUTES * max(log.limit for log in logs)


def _due(services: "Services") -> Scan | None:
    """The pass to work on; the whole bucket's turn comes by itself, every `backfill_days`."""
    current, days = services.scans.current(), services.settings.backfill_days
    if (current and current.running) or not days:
        return current
    if current and services.now() < current.whole_at + days * DAY:
        return current
    try:
        return services.scans.start("", services.now(), automatic=True)
    except AlreadyRunningError:
        return services.scans.current()


# --- one page --------------------------------------------------------------------------------


class Listed(NamedTuple):
    """A key in a listing, and when the object's upload began."""

    key: str
    changed_at: datetime
    etag: str = ""


class Step(NamedTuple):
    """What a page of the input bucket came to. `cursor`: seen up to this key."""

    missing: list[Upload]
    cursor: str
    seen: int
    last: bool


class Candidate(NamedTuple):
    """An upload that may need an edit. `at`: its place in the listing. `etag`: of the image."""

    at: str
    upload: Upload
    changed_at: datetime
    etag: str = ""

    def again(self, retry: str) -> "Candidate":
        """The same as an explicit retry: a result that was removed is made again."""
        return self._replace(upload=msgspec.structs.replace(self.upload, retry=retry))


@dataclass(frozen=True)
class Listing:
    """The keys of a bucket below a prefix, in S3's order, which is that of Unicode's numbers."""

    s3: "S3Client"
    bucket: str
    prefix: str
    size: int = PAGE

    def after(self, key: str) -> tuple[list[Listed], bool]:
        """A page of the keys behind `key`, and whether there are more."""
        start: dict[str, Any] = {"StartAfter": key} if key else {}
        answer = self.s3.list_objects_v2(
            Bucket=self.bucket, Prefix=self.prefix, MaxKeys=self.size, **start
        )
        page = [
            Listed(each["Key"], each["LastModified"], each.get("ETag", "").strip('"'))
            for each in answer.get("Contents", ())
        ]
        return page, answer["IsTruncated"]


def _walk(services: "Services", current: Scan) -> Callable[[str, int], Step]:
    """How a pass takes its next page: from a cursor on, with room for so many uploads."""
    settings = services.settings
    by_listing = settings.output_key_format.startswith("{key}")
    inputs = Listing(
        services.input_bucket.s3,
        settings.input_bucket,
        current.prefix,
        PAGE if by_listing else HEAD_PAGE,
    )
    outputs = Outputs(Listing(services.output_bucket.s3, settings.output_bucket, current.prefix))

    def step(cursor: str, room: int) -> Step:
        page, more = inputs.after(cursor)
        if not page:
            return Step([], cursor, 0, last=True)
        end = page[-1].key
        found = candidates(settings.input_bucket, page)
        missing = list(_missing(found, outputs if by_listing else None, end, services))
        missing = (
            without_outcome(missing, current, services)
            if current.automatic
            else [each.again(f"backfill-{current.started:.0f}") for each in missing]
        )
        if len(missing) <= room:
            return Step([each.upload for each in missing], end, _images(found), last=not more)
        cut = missing[room - 1].at
        passed = [each for each in found if each.at <= cut]
        return Step([each.upload for each in missing[:room]], cut, _images(passed), last=False)

    return step


def candidates(bucket: str, page: Iterable[Listed]) -> list[Candidate]:
    """The uploads that a page of the input bucket stands for, in its order.

    A sidecar counts for its image, whose edit it changes. One whose image is on another page, or
    nowhere, stands for itself.
    """
    found: dict[str, Candidate] = {}
    for key, changed_at, etag in page:
        if uploads.starts_nothing(key):
            continue
        if not key.endswith(SIDECAR_SUFFIX):
            found[key] = Candidate(key, Upload(bucket, key), changed_at, etag)
            continue
        image = key.removesuffix(SIDECAR_SUFFIX)
        if image in found:
            later = max(found[image].changed_at, changed_at)
            found[image] = found[image]._replace(changed_at=later)
        else:
            found[key] = Candidate(key, Upload(bucket, image, sidecar=True), changed_at)
    return list(found.values())


def without_outcome(
    missing: list[Candidate], current: Scan, services: "Services"
) -> list[Candidate]:
    """Those that a pass by itself takes: what has no result because none was ever made.

    A result that somebody has moved away is not paid again: its record tells that there was one.
    """
    recent = [each for each in missing if each.changed_at.timestamp() >= current.since]
    kept = []
    for some in batched(recent, RECORDS_PAGE, strict=False):
        ids = [record_id(each.upload.bucket, each.upload.key, None) for each in some]
        known = services.records.read_all(list(dict.fromkeys(ids)))
        kept += [
            each for each, id in zip(some, ids, strict=True) if not _is_told(each, known.get(id))
        ]
    return kept


def _is_told(candidate: Candidate, record: Record | None) -> bool:
    """Whether a record tells of an outcome of the candidate as it is now."""
    if record is None or record.outcome is None:
        return False
    same = candidate.upload.sidecar or record.outcome.source_etag == candidate.etag
    return same and record.outcome.at >= candidate.changed_at.timestamp()


def _missing(
    found: list[Candidate], outputs: "Outputs | None", end: str, services: "Services"
) -> Iterator[Candidate]:
    """Those without a current result or report. `end`: the page's last key."""
    key_format = services.settings.output_key_format
    images = {each.at: result_keys(key_format, each.at) for each in found if _is_image(each)}
    in_order = {  # not with such a format, nor where a result's key is cut because it is long
        image: keys
        for image, keys in images.items()
        if outputs and all(key.startswith(image) for key in keys)
    }
    listed = outputs.find(in_order, end) if outputs else {}
    for each in found:
        if not _is_image(each):
            if services.input_bucket.find(each.upload.bucket, each.upload.key):
                yield each
            continue
        if each.at in in_order:
            times = (listed[key] for key in in_order[each.at] if key in listed)
        else:
            asked = (services.output_bucket.find(key) for key in images[each.at])
            times = (stored.stored_at for stored in asked if stored)
        if not any(stored_at >= each.changed_at for stored_at in times):
            yield each


def result_keys(key_format: str, key: str) -> tuple[str, ...]:
    """Where the result of an image without variants can be, and its report, likeliest first."""
    modes = list(Mode) if "{mode" in key_format else [Mode.EDIT]
    found = [name for mode in modes for name in output_bucket.possible_keys(key_format, key, mode)]
    return (*found, output_bucket.report_key(key, None))


def _is_image(candidate: Candidate) -> bool:
    return not candidate.upload.sidecar


def _images(found: Iterable[Candidate]) -> int:
    return sum(map(_is_image, found))


@dataclass
class Outputs:
    """The output bucket, listed beside the input bucket, page after page and only where needed.

    What belongs to a key begins with it, and so comes behind it; but not in the keys' order: of
    `a` and `a.b`, `a.b.png` comes before `a.png`. So what is listed behind the page at hand is
    kept for the next ones, and what would lie too far behind is not looked for.
    """

    listing: Listing
    ahead: list[Listed] = field(default_factory=list)
    position: str = ""  # listed up to here, as far as anybody needs it
    more: bool = True

    def find(self, wanted: Mapping[str, Iterable[str]], end: str) -> dict[str, datetime]:
        """Those result keys that exist, and since when. `wanted`: result keys by their image's.

        `end`: no image up to this key will be asked for again. A result that is not found may
        exist all the same, `AHEAD` keys behind.
        """
        image_of = {key: image for image, keys in wanted.items() for key in keys}
        order = sorted(image_of)
        found = {each.key: each.changed_at for each in self.ahead if each.key in image_of}
        self.ahead = [each for each in self.ahead if each.key > end]
        while self.more and len(self.ahead) < AHEAD:
            next_one = bisect_right(order, self.position)
            if next_one == len(order):
                break
            # Foreign objects between the last result and the next image are stepped over.
            page, self.more = self.listing.after(max(self.position, image_of[order[next_one]]))
            found |= {each.key: each.changed_at for each in page if each.key in image_of}
            self.ahead += [each for each in page if each.key > end]
            self.position = page[-1].key if page else order[-1]
        return found
