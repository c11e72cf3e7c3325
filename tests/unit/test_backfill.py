"""What has no result is queued, what has one is not, and nothing is lost at any cut."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, override

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_drop import backfill, uploads
from image_drop.errors import StorageBusyError
from image_drop.services import Services
from image_drop.state.scans import AlreadyRunningError, Scan, ScanStore
from image_drop.storage.listings import AHEAD, Listing, Outputs
from image_drop.uploads import Upload
from tests.simulation.aws.dynamodb import DynamoDB
from tests.simulation.aws.others import Parameters
from tests.simulation.aws.s3 import S3, Version
from tests.simulation.aws.sqs import Sqs
from tests.simulation.world import World

IN, OUT = "input", "output"
START = 1_800_000_000.0
DAY = 86_400
ENV = {
    "INPUT_BUCKET": IN,
    "OUTPUT_BUCKET": OUT,
    "RETRY_QUEUE_URL": "retry",
    "DEAD_LETTER_QUEUE_URL": "dead",
    "STATE_TABLE": "state",
    "VENICE_API_KEY_PARAMETER": "/key",
}


def time(minutes: float) -> datetime:
    return datetime.fromtimestamp(START + minutes * 60, UTC)


@dataclass
class Buckets(S3):
    """S3 that counts requests, and answers a listing with at most so many keys of a bucket."""

    at_most: dict[str, int] = field(default_factory=dict)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)

    def have(self, bucket: str, key: str, minutes: float) -> None:
        self.versions[bucket, key] = [Version("1", '"x"', time(minutes).timestamp(), b"x")]

    @override
    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self.requests[Bucket, "head"] += 1
        return super().head_object(Bucket=Bucket, Key=Key)

    @override
    def list_objects_v2(
        self, *, Bucket: str, Prefix: str = "", MaxKeys: int = 1000, StartAfter: str = ""
    ) -> dict[str, Any]:
        self.requests[Bucket, "list"] += 1
        most = min(MaxKeys, self.at_most.get(Bucket, MaxKeys))
        return super().list_objects_v2(
            Bucket=Bucket, Prefix=Prefix, MaxKeys=most, StartAfter=StartAfter
        )


def buckets(**at_most: int) -> Buckets:
    return Buckets(lambda: START, lambda name, bucket, key: None, at_most=at_most)


@dataclass
class FullQueue(Sqs):
    """SQS that does not take the last message of a batch, as long as it is full."""

    full: bool = False

    @override
    def send_message_batch(self, *, QueueUrl: str, Entries: list[Any]) -> dict[str, Any]:
        if not self.full:
            return super().send_message_batch(QueueUrl=QueueUrl, Entries=Entries)
        if taken := Entries[:-1]:
            super().send_message_batch(QueueUrl=QueueUrl, Entries=taken)
        return {"Failed": [{"Id": Entries[-1]["Id"], "SenderFault": False}]}


class Place:
    """Two buckets of keys, a queue and a table."""

    def __init__(self) -> None:
        self.world = World(START, seed=1)
        self.s3 = buckets()
        self.dynamodb = DynamoDB(self.world.now, Random(1))
        self.queue = FullQueue(self.world, "retry", "dead", 100, 1800.0)
        self.deploy()

    def deploy(self, **env: str) -> None:
        clients = {
            "s3": self.s3,
            "dynamodb": self.dynamodb,
            "sqs": self.queue,
            "ssm": Parameters("key"),
        }
        self.services = Services.from_env(
            ENV | env,
            now=self.world.now,
            sleep=self.world.sleep,
            rng=Random(1),
            client=clients.__getitem__,
        )

    def have(self, *keys: str, minutes: float = 0) -> None:
        for key in keys:
            self.s3.have(IN, key, minutes)

    def have_result(self, *keys: str, minutes: float = 1) -> None:
        for key in keys:
            self.s3.have(OUT, key, minutes)

    def allow(self, limit: int) -> None:
        """So many edits a minute."""
        for name in ("firered-image-edit", "background-remove"):
            self.services.limiter.set_limits({name: limit})

    def tick(self, seconds: Iterable[float] = ()) -> Scan | None:
        """One invocation. `seconds`: what is left of it, each time it asks; then 240."""
        left = iter(seconds)
        return backfill.run(self.services, lambda: next(left, 240.0))

    def taken(self, number: int = 1_000_000) -> list[Upload]:
        """Messages, taken out of the queue."""
        self.world.sleep(0)
        found: list[Upload] = []
        while number and (received := self.queue.take()):
            handle, message = received
            self.queue.delete_message(QueueUrl="retry", ReceiptHandle=handle)
            found += uploads.from_message(message.body)
            number -= 1
        return found

    def queued(self) -> list[str]:
        return sorted(upload.key for upload in self.taken())


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def scans() -> ScanStore:
    dynamodb: Any = DynamoDB(lambda: START, Random(1))
    return ScanStore(dynamodb, "state")


class TestWhatIsQueued:
    def test_image_without_result_or_report_is_queued(self, place: Place) -> None:
        place.have("a.jpg", "photos/b c+é.jpg")

        done = place.tick()

        assert place.queued() == ["a.jpg", "photos/b c+é.jpg"]
        assert done is not None
        assert (done.seen, done.queued, done.running) == (2, 2, False)

    def test_prefixes_are_buckets_of_their_own(self, place: Place) -> None:
        place.deploy(INPUT_PREFIX="in/", OUTPUT_PREFIX="out/", OUTPUT_BUCKET=IN)
        place.have("in/a.jpg", "in/b.jpg", "in/b.jpg.json", "in/c/.hidden/x.jpg", "elsewhere.jpg")
        for key in ("out/a.jpg.png", "out/z.jpg.png", "b.jpg.png"):
            place.s3.have(IN, key, 1)

        done = place.tick()

        assert place.queued() == ["b.jpg"]
        assert done is not None
        assert (done.seen, done.running) == (2, False)

    @pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".error.json"])
    def test_image_with_result_or_report_is_not_queued(self, place: Place, ending: str) -> None:
        place.have("a.jpg")
        place.have_result("a.jpg" + ending)

        done = place.tick()

        assert place.queued() == []
        assert done is not None
        assert (done.seen, done.queued) == (1, 0)

    def test_result_older_than_its_image_does_not_count(self, place: Place) -> None:
        place.have("same.jpg", "newer.jpg", minutes=5)
        place.have_result("same.jpg.png", minutes=5)
        place.have_result("newer.jpg.png", minutes=4.9)

        place.tick()

        assert place.queued() == ["newer.jpg"]

    def test_result_older_than_instructions_does_not_count(self, place: Place) -> None:
        place.have("a.jpg", "b.jpg")
        place.have("a.jpg.json", minutes=7)
        place.have("b.jpg.json", minutes=0)
        place.have_result("a.jpg.png", "b.jpg.error.json", minutes=5)

        place.tick()

        assert place.queued() == ["a.jpg"]

    def test_instructions_on_page_behind_their_image_are_found(self, place: Place) -> None:
        place.s3.at_most[IN] = 1
        place.have("a.jpg")
        place.have("a.jpg.json", minutes=7)
        place.have_result("a.jpg.png", minutes=5)

        place.tick()

        [taken] = place.taken()
        assert (taken.key, taken.sidecar) == ("a.jpg", True)

    def test_instructions_without_image_are_not_queued(self, place: Place) -> None:
        place.have("report.json", "a.jpg.json")

        place.tick()

        assert place.queued() == []

    def test_what_starts_nothing_is_not_queued(self, place: Place) -> None:
        place.have(".image-drop.json", "photos/", "photos/.DS_Store", "p/_layers/mask.png", ".x/y")

        done = place.tick()

        assert place.queued() == []
        assert done is not None
        assert done.seen == 0

    def test_image_with_variants_is_always_queued_again(self, place: Place) -> None:
        place.have("a.jpg")
        place.have_result("a.jpg.cutout.png", "a.jpg.studio.png")

        place.tick()

        assert place.queued() == ["a.jpg"]

    @pytest.mark.parametrize(
        "foreign", ["a.b.png", "a", "a.pn", "a.png.bak", "a.PNG", "a.original.png", "A.png"]
    )
    def test_foreign_object_does_not_make_image_done(self, place: Place, foreign: str) -> None:
        place.have("a")
        place.have_result(foreign)

        place.tick()

        assert place.queued() == ["a"]

    def test_only_prefix_is_looked_at(self, place: Place) -> None:
        place.have("photo.jpg", "photos/a.jpg", "photos/b.jpg", "photos2/c.jpg")
        place.have_result("photos/b.jpg.png")
        place.services.scans.start("photos/", place.world.now())

        place.tick()

        assert place.queued() == ["photos/a.jpg"]

    def test_results_cut_because_of_their_length_are_found(self, place: Place) -> None:
        long, longest = "l" * 1015 + ".jpg", "m" * 1020 + ".jpg"  # the report alone; both
        place.have("k.jpg", long, longest, "z.jpg")
        for key in (long, longest):
            *_, report = backfill.result_keys("{key}.png", key)
            assert len(report) == 1024
            place.have_result(report)
        place.have_result("z.jpg.png")

        place.tick()

        assert place.queued() == ["k.jpg"]


class TestOtherFormats:
    @pytest.mark.parametrize(
        ("key_format", "result"),
        [
            ("{folder}{stem}.png", "photos/a.png"),
            ("edited/{key}.png", "edited/photos/a.jpg.jpg"),
            ("{mode}/{key}.png", "background-remove/photos/a.jpg.webp"),
            ("{key}.{mode}.png", "photos/a.jpg.multi-edit.png"),
            ("{key}-edited", "photos/a.jpg-edited.png"),
        ],
    )
    def test_results_are_found_wherever_format_puts_them(
        self, place: Place, key_format: str, result: str
    ) -> None:
        place.have("photos/a.jpg", "photos/b.jpg", "photos/c.jpg")
        place.have_result(result, "photos/c.jpg.error.json")
        place.deploy(OUTPUT_KEY_FORMAT=key_format)

        place.tick()

        assert place.queued() == ["photos/b.jpg"]

    def test_pages_are_smaller_where_each_image_needs_requests(self, place: Place) -> None:
        place.have(*(f"{number:03}.jpg" for number in range(250)))
        place.deploy(OUTPUT_KEY_FORMAT="out/{key}.png")

        place.tick()

        assert len(place.queued()) == 250
        assert place.s3.requests[IN, "list"] == 3
        assert place.s3.requests[OUT, "list"] == 0
        assert place.s3.requests[OUT, "head"] == 250 * 4


NAMES = st.text("ab.", min_size=1, max_size=4).filter(lambda name: not uploads.starts_nothing(name))
TAILS = st.sampled_from([".png", ".jpg", ".error.json", ".b.png", "a", ""])


class TestTheWalk:
    @given(
        inputs=st.dictionaries(NAMES, st.sampled_from([1, 3]), max_size=12),
        results=st.lists(st.tuples(NAMES, TAILS, st.sampled_from([0, 2, 4])), max_size=24),
        sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    )
    def test_exactly_missing_images_are_found_in_any_order_and_pages(
        self,
        inputs: dict[str, int],
        results: list[tuple[str, str, int]],
        sizes: tuple[int, int],
    ) -> None:
        s3: Any = buckets(**dict(zip((IN, OUT), sizes, strict=True)))
        for key, minutes in inputs.items():
            s3.have(IN, key, minutes)
        for name, tail, minutes in results:
            s3.have(OUT, name + tail, minutes)
        walked = Outputs(Listing(s3, OUT, ""))

        missing, cursor, more = set(), "", True
        while more:
            page, more = Listing(s3, IN, "").after(cursor)
            wanted = {key: backfill.result_keys("{key}.png", key) for key, _, _ in page}
            found = walked.find_results(wanted, page[-1].key) if page else {}
            for key, changed_at, _ in page:
                cursor = key
                if not any(found.get(each, time(-1)) >= changed_at for each in wanted[key]):
                    missing.add(key)

        assert missing == {
            key
            for key, minutes in inputs.items()
            if not any(
                (result := s3.current(OUT, each)) and result.at >= time(minutes).timestamp()
                for each in backfill.result_keys("{key}.png", key)
            )
        }

    def test_foreign_objects_between_two_images_are_stepped_over(self, place: Place) -> None:
        place.have("a.jpg", "z.jpg")
        place.have_result("a.jpg.png", "z.jpg.png", *(f"m/{n:06}.pdf" for n in range(20_000)))

        place.tick()

        assert place.queued() == []
        assert place.s3.requests[OUT, "list"] <= 3

    def test_result_too_far_behind_is_not_looked_for(self, place: Place) -> None:
        place.have("a")  # its result comes behind all of a.b/…
        place.have_result("a.png", *(f"a.b/{n:06}.png" for n in range(50_000)))

        place.tick()

        assert place.queued() == ["a"]
        assert place.s3.requests[OUT, "list"] <= AHEAD / 1000 + 1


class TestTheCap:
    def test_queue_is_filled_to_day_of_work_and_no_further(self, place: Place) -> None:
        place.allow(1)
        place.have(*(f"{number:04}.jpg" for number in range(2000)))

        first = place.tick()

        assert place.services.queue.depth().total == 1440  # 24 h × 60 min × 1
        assert first is not None
        assert (first.cursor, first.seen, first.running) == ("1439.jpg", 1440, True)

    def test_larger_limit_counts(self, place: Place) -> None:
        place.services.limiter.set_limits({"background-remove": 2})
        place.services.limiter.set_limits({"firered-image-edit": 1})

        assert backfill.capacity(place.services) == 2 * 1440

    def test_queue_that_is_more_than_half_full_is_left_alone(self, place: Place) -> None:
        place.allow(1)
        place.services.queue.send_all(Upload(IN, f"{number}.jpg") for number in range(721))
        place.have("a.jpg")

        place.tick()

        assert place.services.queue.depth().total == 721
        assert place.s3.requests[IN, "list"] == 0
        place.taken(1)
        place.tick()
        assert "a.jpg" in place.queued()

    def test_queue_of_two_thousand_images_never_exceeds_cap(self, place: Place) -> None:
        place.allow(1)
        place.have(*(f"photos/{number:04}.jpg" for number in range(2000)))
        cap = backfill.capacity(place.services)
        edited: list[str] = []
        most = 0
        while len(edited) < 2000:
            assert place.world.now() < 1_800_000_000 + 2 * DAY, f"{len(edited)} after two days"
            place.tick()
            most = max(most, place.services.queue.depth().total)
            place.world.sleep(300)
            for upload in place.taken(5):  # one a minute
                edited.append(upload.key)
                place.have_result(upload.key + ".png", minutes=1)

        assert sorted(edited) == place.s3.keys(IN)
        assert most == cap == 1440
        done = place.tick()
        assert done is not None
        assert (done.running, done.queued) == (False, 2000)


class TestCuts:
    def test_tick_ends_when_its_time_is_up_and_next_goes_on(self, place: Place) -> None:
        place.s3.at_most[IN] = 2
        place.have("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")

        stopped = place.tick(seconds=[200, 61, 60])

        assert stopped is not None
        assert (stopped.cursor, stopped.running) == ("d.jpg", True)
        assert place.queued() == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
        place.tick()
        assert place.queued() == ["e.jpg"]

    def test_cancelled_scan_goes_no_further(self, place: Place) -> None:
        place.s3.at_most[IN] = 2
        place.have("a.jpg", "b.jpg", "c.jpg")

        def cancel() -> Iterable[float]:
            yield 200
            place.services.scans.cancel()
            yield 200

        stopped = place.tick(seconds=cancel())

        assert stopped is not None
        assert stopped.cancelled
        assert place.tick() == stopped
        assert "a.jpg" in place.queued()

    def test_of_two_ticks_at_once_one_goes_on_and_nothing_is_lost(self, place: Place) -> None:
        place.s3.at_most[IN] = 2
        keys = [f"{number}.jpg" for number in range(9)]
        place.have(*keys)

        def twin() -> Iterable[float]:
            yield 200
            place.tick(seconds=[200, 0])
            yield 200

        place.tick(seconds=twin())
        place.tick()

        assert set(place.queued()) == set(keys)

    def test_crash_before_cursor_is_kept_loses_nothing(self, place: Place) -> None:
        place.have("a.jpg", "b.jpg")
        place.queue.full = True
        with pytest.raises(StorageBusyError):
            place.tick()

        place.queue.full = False
        place.tick()

        assert sorted(set(place.queued())) == ["a.jpg", "b.jpg"]


class TestPasses:
    def test_scan_is_kept_as_it_was_begun(self, scans: ScanStore) -> None:
        begun = scans.start("photos/", 1000.0)

        assert scans.current() == begun
        assert begun == Scan(prefix="photos/", started=1000.0)
        assert begun.running

    def test_only_one_scan_runs_at_once(self, scans: ScanStore) -> None:
        scans.start("photos/", 1000.0)

        with pytest.raises(AlreadyRunningError, match="photos/"):
            scans.start("", 1001.0)

    def test_cancelled_scan_can_be_followed_by_another(self, scans: ScanStore) -> None:
        scans.start("photos/", 1000.0)
        cancelled = scans.cancel()

        assert cancelled is not None
        assert not cancelled.running
        assert scans.cancel() == cancelled
        assert scans.start("", 1002.0) == scans.current()

    def test_there_may_be_nothing_to_cancel(self, scans: ScanStore) -> None:
        assert scans.cancel() is None

    def test_only_one_of_two_who_read_same_may_write(self, scans: ScanStore) -> None:
        begun = scans.start("", 1000.0)
        near, far = moved(begun, "b"), moved(begun, "x")

        assert scans.advance(begun, far)
        assert not scans.advance(begun, near)
        assert scans.current() == far


class TestSchedule:
    def test_whole_bucket_is_looked_through_every_week(self, place: Place) -> None:
        place.tick()
        place.have("lost.jpg")
        place.world.sleep(7 * DAY - 301)
        place.tick()
        assert place.queued() == []

        place.world.sleep(301)
        found = place.tick()

        assert place.queued() == ["lost.jpg"]
        assert found is not None
        assert found.automatic

    def test_scans_of_prefix_do_not_delay_weekly_scan(self, place: Place) -> None:
        place.have("lost.jpg")
        place.have_result("lost.jpg.png")
        place.tick()
        place.s3.delete(OUT, "lost.jpg.png")
        for _ in range(6):
            place.world.sleep(DAY)
            place.services.scans.start("photos/", place.world.now())
            place.tick()

        place.world.sleep(DAY)
        place.tick()

        assert place.queued() == ["lost.jpg"]

    def test_with_zero_days_nothing_begins_by_itself(self, place: Place) -> None:
        place.have("a.jpg")
        place.deploy(BACKFILL_DAYS="0")

        assert place.tick() is None
        place.services.scans.start("", place.world.now())
        place.tick()
        place.world.sleep(100 * DAY)
        place.tick()

        assert place.queued() == ["a.jpg"]

    def test_old_images_of_bucket_from_before_start_nothing(self, place: Place) -> None:
        place.deploy(BACKFILL_OLD="false")
        place.have("old.jpg", minutes=-1)
        place.world.sleep(301)
        place.tick()
        assert place.queued() == []

        place.have("new.jpg", minutes=10)
        place.world.sleep(7 * DAY)
        place.tick()
        assert place.queued() == ["new.jpg"]

        place.services.scans.start("", place.world.now())
        place.tick()
        assert place.queued() == ["new.jpg", "old.jpg"]


def moved(one: Scan, cursor: str) -> Scan:
    return msgspec.structs.replace(one, cursor=cursor)
