"""Venice's refusal of a call, kept until its report is written.

A refusal is known before its report is stored, and storing can fail. So the refusal goes into the
record with the settlement of its call, and the next try writes the report without a new call.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from image_drop.edits import Edit
from image_drop.errors import Charge, RefusedError, subclasses
from image_drop.job import Job
from image_drop.state.billing import Settlement
from image_drop.state.edit_record import Call, CallState, Record, Refusal


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
