"""Images that are retried: those that were named, and those that failed in some way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from image_drop.errors import ImageDropError, subclasses
from image_drop.state.edit_record import Outcome, OutcomeKind
from image_drop.uploads import FRESH, Upload
from image_drop_cli.dead_letters import DeadLetters
from image_drop_cli.image_records import scan_records
from image_drop_cli.upload.plan import Plan, plan_images

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

SEARCHED = 100_000  # dead letters that are searched for an image; 10,000 requests
CODES = frozenset(error.code for error in subclasses(ImageDropError))


@dataclass(frozen=True)
class Filter:
    """Which failed images are meant: with a report, dead letters, or with the report's `code`."""

    code: str = ""
    reports: bool = False
    dead: bool = False

    @property
    def is_given(self) -> bool:
        """Whether it chooses anything."""
        return bool(self.code) or self.reports or self.dead

    def takes(self, outcome: Outcome | None) -> bool:
        """Return whether an image with this outcome is meant; without a choice, all that failed."""
        kind = outcome.kind if outcome else None
        if outcome is None or kind not in (OutcomeKind.REPORT, OutcomeKind.DEAD_LETTER):
            return False
        if self.code and outcome.code != self.code:
            return False
        both = self.reports == self.dead
        return both or self.dead is (kind is OutcomeKind.DEAD_LETTER)


@dataclass(frozen=True)
class Failed:
    """An image, or a variant of it, that is retried. `dead`: it is a dead letter."""

    key: str
    variant: str | None
    dead: bool = False


def failed_images(
    deployment: "Deployment", names: Sequence[str] = (), wanted: Filter | None = None
) -> list[Failed]:
    """Return the images that failed, in the order of their keys.

    `names`: keys, and prefixes with a slash at their end; without one, the whole bucket. The whole
    state table is read.
    """
    wanted = wanted or Filter()
    prefixes = tuple(name for name in names if name.endswith("/"))
    keys = frozenset(names)
    common = prefixes[0] if len(names) == 1 and prefixes else ""
    found = [
        Failed(each.key, each.variant, outcome.kind is OutcomeKind.DEAD_LETTER)
        for each in scan_records(deployment, common)
        if (outcome := each.record.outcome) and wanted.takes(outcome)
        if not names or each.key in keys or each.key.startswith(prefixes)
    ]
    return sorted(found, key=lambda image: (image.key, image.variant or ""))


def plan_retry(images: Sequence[Failed], deployment: "Deployment", *, fresh: bool = False) -> Plan:
    """Return what retrying these images will do, projected from up to 500 of them.

    `fresh`: each is paid for, also one that has a result.
    """
    return plan_images(dict.fromkeys(image.key for image in images), deployment, fresh=fresh)


def retry_images(images: Sequence[Failed], deployment: "Deployment", *, fresh: bool = False) -> int:
    """Queue images; return how many messages that takes.

    A dead letter leaves its queue, with a fresh set of attempts. What has its result by now is not
    paid again, unless a `fresh` draw is asked for.
    """
    queued = _redrive({(image.key, image.variant) for image in images if image.dead}, deployment)
    services, bucket = deployment.services, deployment.input_bucket
    retry_id = (FRESH if fresh else "") + services.new_id()
    rest = [
        Upload(bucket, image.key, image.variant, retry=retry_id)
        for image in images
        if (image.key, image.variant) not in queued
    ]
    services.queue.send_all(rest)
    return len(queued) + len(rest)


def _redrive(
    images: set[tuple[str, str | None]], deployment: "Deployment"
) -> set[tuple[str, str | None]]:
    """Move the letters of these images to the queue; return the images that had one."""
    if not images:
        return set()
    dead = DeadLetters(deployment)
    with dead.held(SEARCHED) as letters:
        chosen = [
            each
            for each in letters
            if each.upload and (each.upload.key, each.upload.variant) in images
        ]
        dead.redrive(chosen)
    return {(each.upload.key, each.upload.variant) for each in chosen if each.upload}
