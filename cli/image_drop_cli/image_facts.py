"""The facts about one image: from its record, both buckets, the queues and the circuit breaker."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from image_drop import edits
from image_drop.edits import Edit, Wanted
from image_drop.errors import PermanentError
from image_drop.state.edit_record import OutcomeKind, Record, record_id
from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import Report
from image_drop.storage.output_bucket import Stored as StoredOutput
from image_drop.venice.known_models import DEFAULT_EDIT_MODEL
from image_drop_cli.dead_letters import DeadLetters
from image_drop_cli.image_state import WAITS, Facts, FoundReport
from image_drop_cli.planning import VariantPlan

if TYPE_CHECKING:
    from image_drop.services import Services
    from image_drop_cli.deployment import Deployment

SEARCHED = 1000  # dead letters; 100 requests


def records_of(
    key: str, variants: tuple[str | None, ...], deployment: "Deployment"
) -> Mapping[str | None, Record]:
    """Return the records of an image as a whole (None) and of its variants, as they are now."""
    bucket, records = deployment.input_bucket, deployment.services.records
    wanted = dict.fromkeys((None, *variants))
    return {each: records.read_record(record_id(bucket, key, each)).record for each in wanted}


def gather(
    key: str,
    plan: VariantPlan,
    record: Record,
    deployment: "Deployment",
    *,
    in_bucket: bool,
    changed_at: float = 0.0,
    obstacle: PermanentError | None = None,
) -> Facts:
    """Return what is known about one variant now.

    `changed_at`: of the image and its instructions. `obstacle`: why its edit would not be made.
    """
    services, outcome = deployment.services, plan.outcome
    edit = outcome if isinstance(outcome, Edit) else None
    log, _ = services.limiter.peek(edit.rate_model if edit else DEFAULT_EDIT_MODEL)
    return Facts(
        now=services.now(),
        in_bucket=in_bucket,
        edit=edit,
        error=obstacle if isinstance(outcome, Edit) else outcome,
        record=record,
        result=services.output_bucket.find_output(edit.output_key) if edit else None,
        report=_report(key, plan.variant, services),
        dead=_is_dead(key, plan.variant, record, deployment),
        failures=_failures(record, services),
        max_failures=services.settings.max_failures,
        breaker=services.circuit_breaker.status(),
        queued=services.queue.depth().total,
        limit=log.limit,
        cancelled=services.orders.current().cancelled(
            key, max(changed_at, record.attempt.at if record.attempt else 0.0)
        ),
    )


def obstacle_to(edit: Edit, wanted: Wanted, services: "Services") -> PermanentError | None:
    """Return why the stack would not make this edit, before any call; None if it would."""
    try:
        edits.require_allowed(edit, wanted, services)
    except PermanentError as error:
        return error
    return None


def _report(key: str, variant: str | None, services: "Services") -> FoundReport | None:
    for report_key in output_bucket.report_keys(key, variant):
        found = services.output_bucket.read_output(report_key)
        if found and found[0].is_of(key, variant):
            return _read(found[0], found[2])
    return None


def _read(stored: StoredOutput, body: bytes) -> FoundReport | None:
    try:
        report = msgspec.json.decode(body, type=Report)
    except msgspec.MsgspecError:
        return None  # somebody else's file
    return FoundReport(report, stored.edit_id, stored.stored_at.timestamp())


def _is_dead(
    key: str, variant: str | None, record: Record, deployment: "Deployment"
) -> bool | None:
    """Look for the dead letter that the record speaks of; None if there are too many to look."""
    if not record.outcome or record.outcome.kind is not OutcomeKind.DEAD_LETTER:
        return None
    with DeadLetters(deployment).held(SEARCHED) as letters:
        there = any(
            (each.upload.key, each.upload.variant) == (key, variant)
            for each in letters
            if each.upload
        )
        return there if there or len(letters) < SEARCHED else None


def _failures(record: Record, services: "Services") -> int:
    attempt = record.attempt
    if attempt is None:
        return 0
    if attempt.message_id:
        return attempt.failures + services.failures.count(attempt.message_id)
    return attempt.failures + (attempt.code not in WAITS)
