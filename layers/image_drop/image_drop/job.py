"""An upload whose record this invocation holds: what the steps of the pipeline work with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)

from image_drop.edits import Edit, instructions_for, plan_edit
from image_drop.errors import CrashedError, ImageDropError, InProgressError, StorageBusyError
from image_drop.invocation import Invocation
from image_drop.services import Services
from image_drop.state.atomic_item import Found
from image_drop.state.circuit_breaker import Status
from image_drop.state.edit_record import Attempt, record_id
from image_drop.state.orders import Orders
from image_drop.state.rates import Rates
from image_drop.state.records import Hold, Stored, stored
from image_drop.storage.input_bucket import InputObject
from image_drop.telemetry import never_failing
from image_drop.uploads import Upload

BUSY = ("SlowDown", "Throttling", "ThrottlingException", "ProvisionedThroughputExceededException")


@dataclass(frozen=True)
class Seen:
    """What all functions share, as it was `at`, in seconds since 1970."""

    status: Status
    rates: Found[Rates]
    orders: Orders
    at: float


@dataclass(frozen=True)
class Job:
    """An upload whose record this invocation holds, so that no other one writes for it.

    `seen`: read together with the record.
    """

    upload: Upload
    hold: Hold
    seen: Seen
    services: Services
    invocation: Invocation

    def drop(self, image: InputObject | None) -> str:
        """Return the id of what asked for the edit: an explicit retry, or the image's version."""
        return self.upload.retry or (image.version if image else "")

    @property
    def asked_at(self) -> float:
        """When the edit was asked for, in seconds since 1970; 0 if that is not known."""
        return self.invocation.asked_at(self.upload)

    def cancelled(self, key: str, asked_at: float) -> str:
        """Return the sentence that an image was cancelled since it was asked for; "" if not.

        `asked_at`: in seconds since 1970.
        """
        order = self.seen.orders.cancelled(key, asked_at)
        if order is None:
            return ""
        at = datetime.fromtimestamp(order.at, UTC)
        return (
            f"The edits below {order.prefix or 'the whole bucket'!r} that were queued before "
            f"{at:%Y-%m-%d %H:%M:%S} UTC were cancelled."
        )

    def plan(self, before: InputObject | None = None) -> Edit:
        """Return the edit as it should be now; used again before anything is written.

        `before`: the image as it was seen before. Raises what `instructions_for` and `plan_edit`
        raise.
        """
        image = self.services.input_bucket.find_object(self.upload.bucket, self.upload.key, before)
        wanted = instructions_for(image, self.upload, self.services)
        return plan_edit(wanted, self.upload.variant, self.services)


@contextmanager
def in_hand(upload: Upload, services: Services, invocation: Invocation) -> Iterator[Job]:
    """Claim the upload's record, and release it at the end.

    The claim of a holder that dies ends with its invocation. Raise `InProgressError`, or
    `CrashedError` when the last holder died, which counts as a failure like any other.
    """
    until = services.now() + invocation.context.get_remaining_time_in_millis() / 1000
    record, seen = _read(upload, services)
    hold = services.records.claim(record, services.new_id(), until)
    try:
        if hold.died:
            raise CrashedError("The last invocation stopped before it finished this image.")
        yield Job(upload, hold, seen, services, invocation)
    except Exception as error:
        _release(hold, _attempt(error, upload, services.now(), invocation))
        raise
    if hold.later:
        _release_and_write(hold)
    else:
        _release(hold)


def _read(upload: Upload, services: Services) -> tuple[Stored, Seen]:
    """Return the upload's record and what all functions share, read in one request."""
    id = record_id(upload.bucket, upload.key, upload.variant)
    rates, breaker, at = services.limiter.item, services.circuit_breaker.item, services.now()
    orders = services.orders.item
    items = services.records.read_with(id, rates.id, breaker.id, orders.id)
    seen = Seen(
        breaker.decoded(items.get(breaker.id))[0],
        rates.decoded(items.get(rates.id)),
        orders.decoded(items.get(orders.id))[0],
        at,
    )
    return stored(id, items.get(id)), seen


def _attempt(error: Exception, upload: Upload, now: float, invocation: Invocation) -> Attempt:
    """Return what the record says of an attempt that ended with an error."""
    known = error if isinstance(error, ImageDropError) else ImageDropError("")
    return Attempt(
        at=now,
        code=known.code,
        retry_at=known.retry_at or 0.0,
        message_id=invocation.message_id,
        failures=upload.failures,
    )


def _release(hold: Hold, attempt: Attempt | None = None) -> None:
    # A hold that is not released expires with this invocation's time.
    with never_failing("record not released"):
        hold.release(attempt)


def _release_and_write(hold: Hold) -> None:
    """Release the record with what is left to write.

    Raise `InProgressError` when AWS fails: who comes after the time of this hold finds what is
    left, and counts that as a failure. It is none yet.
    """
    try:
        hold.release()
    except (ClientError, BotoCoreError) as error:
        raise InProgressError(
            "The record could not be released.", retry_at=hold.record.held_until
        ) from error


@contextmanager
def busy_storage_is_retryable() -> Iterator[None]:
    """Raise `StorageBusyError` instead of AWS's errors that may be over at the next try."""
    try:
        yield
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise StorageBusyError(f"AWS did not answer: {type(error).__name__}.") from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if status >= 500 or status == 429 or code in BUSY:
            raise StorageBusyError(f"AWS answered {code}.") from error
        raise
