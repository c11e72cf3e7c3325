"""What the images below a prefix have cost so far, and how many have no outcome yet."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched, islice
from typing import TYPE_CHECKING

from image_drop import edits
from image_drop.errors import PermanentError
from image_drop.state.billing import MICRO
from image_drop.state.edit_record import CallState, OutcomeKind, Record
from image_drop.uploads import SIDECAR_SUFFIX, Upload, starts_nothing
from image_drop_cli.image_records import READ_TOGETHER, read_records

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

MAX_IMAGES = 100_000  # that are counted: 100 listings and 1,000 reads of the state table


@dataclass(frozen=True)
class Tally:
    """Images below a prefix, and their calls since a time, in US dollars.

    `open_results`: results without an outcome yet, or with another attempt to come.
    `unconfirmed_usd`: calls in progress, and calls without an answer, which may have been charged.
    `complete`: false if there are more images than were counted.
    """

    images: int
    open_results: int
    paid_calls: int
    paid_usd: float
    unconfirmed_calls: int
    unconfirmed_usd: float
    complete: bool


def tally(prefix: str, deployment: "Deployment", since: float) -> Tally:
    """Count the images below a prefix and their calls since a time, in seconds since 1970."""
    keys = list(islice(_images(prefix, deployment), MAX_IMAGES + 1))
    counted = keys[:MAX_IMAGES]
    records = _records_of(counted, deployment)
    calls = [call for record in records for call in record.calls if call.at >= since]
    return Tally(
        images=len(counted),
        open_results=sum(each.outcome is None or each.attempt is not None for each in records),
        paid_calls=sum(call.state is CallState.PAID for call in calls),
        paid_usd=sum(each.paid_micro_usd(since) for each in records) / MICRO,
        unconfirmed_calls=sum(call.state is CallState.OPEN for call in calls),
        unconfirmed_usd=sum(each.unconfirmed_micro_usd(since) for each in records) / MICRO,
        complete=len(keys) <= MAX_IMAGES,
    )


def _images(prefix: str, deployment: "Deployment") -> Iterator[str]:
    """Yield the keys below a prefix that may start an edit, whatever their files are."""
    place = deployment.input_place(prefix)
    own = len(place.key) - len(prefix)
    pages = deployment.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=place.bucket, Prefix=place.key):
        for each in page.get("Contents", ()):
            key = each["Key"][own:]
            if not starts_nothing(key) and not key.endswith(SIDECAR_SUFFIX):
                yield key


def _records_of(keys: Sequence[str], deployment: "Deployment") -> list[Record]:
    """Return the records of images and of their variants; an empty one where there is none."""
    whole = list(_records(((key, None) for key in keys), deployment))
    in_variants = [
        key
        for key, record in zip(keys, whole, strict=True)
        if record.outcome and record.outcome.kind is OutcomeKind.VARIANTS
    ]
    variants = ((key, each) for key in in_variants for each in _variants(key, deployment))
    return [*whole, *_records(variants, deployment)]


def _records(
    images: Iterable[tuple[str, str | None]], deployment: "Deployment"
) -> Iterator[Record]:
    for some in batched(images, READ_TOGETHER, strict=False):
        found = read_records(deployment, some)
        yield from (found.get(image, Record()) for image in some)


def _variants(key: str, deployment: "Deployment") -> tuple[str | None, ...]:
    try:
        upload = Upload(deployment.input_bucket, key)
        return edits.load_instructions(upload, deployment.services).variants
    except PermanentError:
        return ()
