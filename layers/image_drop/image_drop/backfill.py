"""Images without a result: from a bucket that was filled earlier, or after lost events.

A scan walks through a prefix of the input bucket and queues every image that has neither a result
nor a report. It never queues more than about a day of work at a time: a million images take 35
days at 20 a minute, and SQS keeps a message for 14. The scan's position is one item of the state
table, so a scan can stop at any point and lose nothing.

A scan decides by listings alone, a thousand keys a request. An image is done when it has a result
(`<key>.png`, `.jpg`, `.webp`) or a report that is not older than the image and its sidecar. When
in doubt the image is queued, because the pipeline checks again and repeats nothing. A listing does
not show who wrote an object: a foreign one with a result's name and a later date counts as one.

A scan that the schedule starts takes less: only images that changed since the last whole scan
began, and that have no outcome in their record. So a result that somebody moves away is not made
and paid again. A scan that a person starts makes it again. In a bucket that existed before the
stack, a scheduled scan takes nothing from before.

When a folder file changes, the images of its folder are looked at again, before any other scan goes
on. That scan takes images that nobody has looked at yet, and images with a report about their
instructions. Others that have no result wait in the queue, and read the new file in their turn.

The walk relies on results whose keys begin with their image's key. An `OutputKeyFormat` that does
not begin with `{key}` puts them in another order. Then the scan looks for each image's results one
by one: by HEAD, up to ten requests an image if the format holds `{mode}`, else up to four.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import batched
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from image_drop import uploads
from image_drop.errors import InstructionsError, LayerError, subclasses
from image_drop.instructions.schema import Mode
from image_drop.state.edit_record import Record, record_id
from image_drop.state.scans import DAY, AlreadyRunningError, Scan, ScanStore
from image_drop.storage import output_bucket
from image_drop.storage.listings import PAGE, Listed, Listing, Outputs
from image_drop.telemetry import logger, measure
from image_drop.uploads import SIDECAR_SUFFIX, Upload
from image_drop.venice.known_models import DEFAULT_EDIT_MODEL

if TYPE_CHECKING:
    from image_drop.services import Services

WORK_MINUTES = 24 * 60  # of work that the queue may hold
REFILL = 0.5  # a queue fuller than this part is left alone, so that each request lists many keys
LAST_SECONDS = 60.0  # of an invocation, in which no page is begun; a page may take half of them
HEAD_PAGE = 100  # keys, if each needs up to ten requests
RECORDS_PAGE = 100  # records; DynamoDB's limit for a request
ABOUT_INSTRUCTIONS = {  # codes of reports that other instructions may change
    each.code for base in (InstructionsError, LayerError) for each in subclasses(base)
}
UNLIMITED = 10**9  # images


def run(services: "Services", seconds_left: Callable[[], float]) -> Scan | None:
    """Feed the queue until it is full, the time is up, or all scans are complete.

    `seconds_left`: of this invocation. Return the scan of no folder file as it is now, None if
    there is none.
    """
    current = _due(services)
    while folder := services.folder_scans.next_folder(services.now()):
        if _feed(folder, services.folder_scans, services, seconds_left).running:
            break
    return _feed(current, services.scans, services, seconds_left) if current else None


def _feed(
    current: Scan, scans: ScanStore, services: "Services", seconds_left: Callable[[], float]
) -> Scan:
    """Go on with a scan, and return it as it is then."""
    if not current.running:
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
        if not scans.advance(current, new):
            logger.info("backfill has changed: cancelled, or continued elsewhere, or more to do")
            return scans.current() or current
        current = new
        room -= len(step.missing)
    queued = current.queued - before.queued
    logger.info("backfill", prefix=current.prefix, cursor=current.cursor, queued=queued)
    measure({"BackfillQueued": queued})
    return current


def missing(prefix: str, services: "Services") -> Iterator[Upload]:
    """Yield what a backfill that a person starts now would queue; nothing is queued."""
    step, cursor, last = _walk(services, Scan(prefix=prefix, started=services.now())), "", False
    while not last:
        found, cursor, _, last = step(cursor, UNLIMITED)
        yield from found


def capacity(services: "Services") -> int:
    """Return how many messages the queue may hold: a day of work at the known rate."""
    logs = [services.limiter.peek(name)[0] for name in (DEFAULT_EDIT_MODEL, Mode.BACKGROUND_REMOVE)]
    return WORK_MINUTES * max(log.limit for log in logs)


def _due(services: "Services") -> Scan | None:
    """Return the scan to continue; start one of the whole bucket every `backfill_days`."""
    current, days = services.scans.current(), services.settings.backfill_days
    if current is None and not services.settings.backfill_old:
        return services.scans.start_from(services.now())
    if (current and current.running) or not days:
        return current
    if current and services.now() < current.whole_at + days * DAY:
        return current
    try:
        return services.scans.start("", services.now(), automatic=True)
    except AlreadyRunningError:
        return services.scans.current()


# --- one page --------------------------------------------------------------------------------


class Step(NamedTuple):
    """The outcome of one page of the input bucket. `cursor`: everything up to this key is seen."""

    missing: list[Upload]
    cursor: str
    seen: int
    last: bool


class Candidate(NamedTuple):
    """An upload that may need an edit. `at`: its key in the listing. `etag`: of the image.

    A scan asks for nothing new, unless a person starts it: what was cancelled since the image or
    its instructions changed stays so.
    """

    at: str
    upload: Upload
    changed_at: datetime
    etag: str = ""

    def again(self, asked_at: float) -> "Candidate":
        """Return the same as an explicit retry, which makes a removed result again."""
        retry = f"backfill-{asked_at:.0f}"
        upload = msgspec.structs.replace(self.upload, retry=retry, asked_at=asked_at)
        return self._replace(upload=upload)

    def queued(self) -> Upload:
        """Return the upload with the time at which it was asked for."""
        asked_at = self.upload.asked_at or self.changed_at.timestamp()
        return msgspec.structs.replace(self.upload, asked_at=asked_at)


def _walk(services: "Services", current: Scan) -> Callable[[str, int], Step]:
    """Return the function that takes a scan's next page, from a cursor and the queue's room."""
    settings = services.settings
    by_listing = settings.output_key_format.startswith("{key}")
    inputs = Listing(
        services.input_bucket.s3,
        settings.input_bucket,
        current.prefix,
        settings.input_prefix,
        PAGE if by_listing else HEAD_PAGE,
    )
    outputs = Outputs(
        Listing(
            services.output_bucket.s3,
            settings.output_bucket,
            current.prefix,
            settings.output_prefix,
        )
    )

    def step(cursor: str, room: int) -> Step:
        page, more = inputs.after(cursor)
        if not page:
            return Step([], cursor, 0, last=True)
        end = page[-1].key
        found = candidates(settings.input_bucket, page)
        reports = not current.again
        missing = list(_missing(found, outputs if by_listing else None, end, services, reports))
        if current.again:
            missing = without_instructions(missing, services)
        elif current.automatic:
            missing = without_outcome(missing, current, services)
        else:
            missing = [each.again(current.started) for each in missing]
        if len(missing) <= room:
            return Step([each.queued() for each in missing], end, _images(found), last=not more)
        cut = missing[room - 1].at
        passed = [each for each in found if each.at <= cut]
        return Step([each.queued() for each in missing[:room]], cut, _images(passed), last=False)

    return step


def candidates(bucket: str, page: Iterable[Listed]) -> list[Candidate]:
    """Return the uploads on a page of the input bucket, in its order.

    A sidecar counts as part of its image, whose edit it changes. A sidecar whose image is on
    another page, or missing, is a candidate of its own.
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
    """Return the candidates of a scheduled scan: images that never had an outcome.

    A result that somebody has moved away is not paid again, because its record shows it.
    """
    recent = [each for each in missing if each.changed_at.timestamp() >= current.since]
    return [each for each, record in _recorded(recent, services) if not _is_told(each, record)]


def without_instructions(missing: list[Candidate], services: "Services") -> list[Candidate]:
    """Return the candidates to which a changed folder file may matter.

    Those from before the stack are left to a scan that a person starts.
    """
    scan = services.scans.current()
    since = scan.baseline if scan else 0.0
    recent = [each for each in missing if each.changed_at.timestamp() >= since]
    return [each for each, record in _recorded(recent, services) if _lacks_instructions(record)]


def _recorded(
    candidates: list[Candidate], services: "Services"
) -> Iterator[tuple[Candidate, Record | None]]:
    """Yield the candidates with their records."""
    for some in batched(candidates, RECORDS_PAGE, strict=False):
        ids = [record_id(each.upload.bucket, each.upload.key, None) for each in some]
        known = services.records.read_records(list(dict.fromkeys(ids)))
        yield from ((each, known.get(id)) for each, id in zip(some, ids, strict=True))


def _lacks_instructions(record: Record | None) -> bool:
    """Return whether nobody has looked at an image, or its report is about its instructions."""
    if record is None:
        return True
    return record.outcome is not None and record.outcome.code in ABOUT_INSTRUCTIONS


def _is_told(candidate: Candidate, record: Record | None) -> bool:
    """Return whether a record holds an outcome of the candidate as it is now."""
    if record is None or record.outcome is None:
        return False
    same = candidate.upload.sidecar or record.outcome.source_etag == candidate.etag
    return same and record.outcome.at >= candidate.changed_at.timestamp()


def _missing(
    found: list[Candidate],
    outputs: "Outputs | None",
    end: str,
    services: "Services",
    reports: bool,
) -> Iterator[Candidate]:
    """Yield those without a current result, or report if `reports`. `end`: the page's last key."""
    key_format = services.settings.output_key_format
    images = {
        each.at: result_keys(key_format, each.at)[: None if reports else -1]
        for each in found
        if _is_image(each)
    }
    in_order = {  # not with another format, nor if a result's key is cut because of its length
        image: keys
        for image, keys in images.items()
        if outputs and all(key.startswith(image) for key in keys)
    }
    listed = outputs.find_results(in_order, end) if outputs else {}
    for each in found:
        if not _is_image(each):
            if services.input_bucket.find_object(each.upload.bucket, each.upload.key):
                yield each
            continue
        if each.at in in_order:
            times = (listed[key] for key in in_order[each.at] if key in listed)
        else:
            asked = (services.output_bucket.find_output(key) for key in images[each.at])
            times = (stored.stored_at for stored in asked if stored)
        if not any(stored_at >= each.changed_at for stored_at in times):
            yield each


def result_keys(key_format: str, key: str) -> tuple[str, ...]:
    """Return the possible keys of an image's result, likeliest first, and then of its report.

    For an image without variants.
    """
    modes = list(Mode) if "{mode" in key_format else [Mode.EDIT]
    found = [name for mode in modes for name in output_bucket.possible_keys(key_format, key, mode)]
    return (*found, output_bucket.report_key(key, None))


def _is_image(candidate: Candidate) -> bool:
    return not candidate.upload.sidecar


def _images(found: Iterable[Candidate]) -> int:
    return sum(map(_is_image, found))
