"""Venice's refusal of a call, kept until its report is written.

A refusal is known before its report is stored, and storing can fail. So the refusal goes into the
record with the settlement of its call, and the next try writes the report without a new call.

What the account is refused during a pause says little about the image. It is set aside, so that
the trials of that pause take other images first.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from image_drop.edits import Edit
from image_drop.errors import Charge, ProcessingPausedError, RefusedError, subclasses
from image_drop.job import Job
from image_drop.state.billing import Settlement
from image_drop.state.edit_record import Call, CallState, Record, Refusal

ASIDE = 240.0  # seconds; the account watch runs every 300
MAX_ASIDE = 6  # times as long
UNAWARE = 5.0  # seconds in which functions may call that do not know of a pause; clocks differ


def note(error: RefusedError, call: Call, job: Job) -> None:
    """Settle a refused call and keep the refusal. A call that may be charged stays open."""
    refusal = Refusal(
        digest=call.digest,
        drop=call.drop,
        code=error.code,
        detail=error.detail,
        status=error.status,
        request_id=error.request_id,
    )
    settlement = None
    if error.charge is Charge.YES:
        settlement = Settlement(call.id, CallState.PAID, call.micro_usd, job.services.now())
    elif error.charge is Charge.NO:
        settlement = Settlement(call.id, CallState.FREE, 0, job.services.now())

    def noted(record: Record) -> Record:
        new = msgspec.structs.replace(record, refusal=refusal)
        return settlement.change(new) if settlement else new

    def move(record: Record) -> Mapping[str, Any] | None:
        return settlement.move(record) if settlement else None

    job.hold.update_or_owe("refusal not noted", noted, move)


def require_none(edit: Edit, job: Job) -> None:
    """Raise the same error again if Venice has already refused this call."""
    refusal = job.hold.record.refusal
    if refusal and (refusal.digest, refusal.drop) == (edit.call_digest, job.drop(edit.image)):
        known = {each.code: each for each in subclasses(RefusedError)}
        raise known.get(refusal.code, RefusedError)(
            refusal.detail, status=refusal.status, request_id=refusal.request_id
        )


def require_untried(edit: Edit, job: Job) -> None:
    """Raise `ProcessingPausedError` if this pause has tried the same call in vain.

    Each time it stays aside for another round, so that others come first. An image may have many
    messages, so this goes by its calls.
    """
    began = job.seen.status.since + UNAWARE
    tried = [
        call.at
        for call in job.hold.record.calls
        if call.digest == edit.call_digest and call.at > began
    ]
    if not tried:
        return
    until = max(tried) + ASIDE * min(len(tried), MAX_ASIDE)
    if until > job.services.now():
        raise ProcessingPausedError("This image was tried in vain.", retry_at=until)
