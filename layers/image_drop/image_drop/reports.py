"""What a person reads when there is no result."""

from image_drop import results
from image_drop.edits import Edit
from image_drop.errors import ImageDropError, PermanentError, RetriesExhaustedError
from image_drop.events import ImageEditFailed, Place
from image_drop.services import Invocation, Services
from image_drop.telemetry import logger, measure
from image_drop.uploads import Upload


def write(
    error: PermanentError,
    upload: Upload,
    edit: Edit | None,
    services: Services,
    invocation: Invocation,
) -> bool:
    """Write a report and tell the event bus; false where a newer upload makes it pointless."""
    if edit is not None:
        current = services.originals.find(upload.bucket, upload.key)
        if current is not None and current.etag != edit.original.etag:
            return False
    mode = edit.mode if edit else None
    final = edit is not None and not isinstance(error, RetriesExhaustedError)
    services.results.write_report(
        results.report_on(
            error,
            key=upload.key,
            variant=upload.variant,
            mode=mode,
            attempts=invocation.attempt,
            now=services.now(),
        ),
        edit.id if edit and final else None,
    )
    logger.warning("reported", key=upload.key, code=error.code, status=error.status)
    measure({"Failed": 1}, code=error.code)
    services.bus.announce(
        ImageEditFailed(
            input=Place(upload.bucket, upload.key),
            output=Place(
                services.settings.output_bucket, results.report_key(upload.key, upload.variant)
            ),
            mode=mode,
            variant=upload.variant,
            model=edit.instructions.model if edit else None,
            edit_id=edit.id if edit else None,
            request_id=error.request_id,
            code=error.code,
            title=error.title,
            duration=0.0,
            attempts=invocation.attempt,
        )
    )
    return True


def give_up(
    error: ImageDropError, upload: Upload, services: Services, invocation: Invocation
) -> None:
    """Report that the last try failed; the message itself goes to the dead-letter queue."""
    last = RetriesExhaustedError(
        f"The last of {invocation.attempt} tries failed: {error.title}. {error.detail}",
        status=error.status,
        request_id=error.request_id,
    )
    write(last, upload, None, services, invocation)
