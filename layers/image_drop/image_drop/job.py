"""An upload whose record this invocation holds: what the steps of the pipeline work with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
)

from image_drop.edits import Edit, load_instructions, plan_edit
from image_drop.errors import CrashedError, StorageBusyError
from image_drop.invocation import Invocation
from image_drop.services import Services
from image_drop.state.edit_record import record_id
from image_drop.state.records import Hold
from image_drop.storage.input_bucket import InputObject
from image_drop.telemetry import never_failing
from image_drop.uploads import Upload

BUSY = ("SlowDown", "Throttling", "ThrottlingException", "ProvisionedThroughputExceededException")


@dataclass(frozen=True)
class Job:
    """An upload whose record this invocation holds, so that no other one writes for it."""

    upload: Upload
    hold: Hold
    services: Services
    invocation: Invocation

    def drop(self, image: InputObject | None) -> str:
        """Return the id of what asked for the edit: an explicit retry, or the image's version."""
        return self.upload.retry or (image.version if image else "")

    @property
    def asked_at(self) -> float:
        """When the edit was asked for, in seconds since 1970; 0 if that is not known."""
        return self.invocation.asked_at(self.upload)

    def plan(self) -> Edit:
        """Return the edit as it should be now; used again before anything is written.

        Raises what `load_instructions` and `plan_edit` raise.
        """
        wanted = load_instructions(self.upload, self.services)
        return plan_edit(wanted, self.upload.variant, self.services)


@contextmanager
def in_hand(upload: Upload, services: Services, invocation: Invocation) -> Iterator[Job]:
    """Claim the upload's record, and release it at the end.

    The claim of a holder that dies ends with its invocation. Raise `InProgressError`, or
    `CrashedError` when the last holder died, which counts as a failure like any other.
    """
    remaining = invocation.context.get_remaining_time_in_millis() / 1000
    hold = services.records.claim(
        record_id(upload.bucket, upload.key, upload.variant),
        services.new_id(),
        services.now() + remaining,
    )
    try:
        if hold.died:
            raise CrashedError("The last invocation stopped before it finished this image.")
        yield Job(upload, hold, services, invocation)
    except Exception:
        _release(hold)
        raise
    _release(hold)


def _release(hold: Hold) -> None:
    # A hold that is not released expires with this invocation's time.
    with never_failing("record not released"):
        hold.release()


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
