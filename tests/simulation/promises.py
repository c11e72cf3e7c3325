"""What Image Drop promises, checked when everything has come to its end."""

from collections.abc import Iterator
from itertools import zip_longest

from image_drop import edits
from image_drop.edits import Edit
from image_drop.errors import CancelledError, ImageDropError, ImageError, PermanentError, subclasses
from image_drop.state.atomic_item import AtomicItem
from image_drop.state.edit_record import OutcomeKind, record_id
from image_drop.state.rates import Rates
from image_drop.storage import output_bucket
from image_drop.uploads import Upload, starts_nothing
from image_drop_local.simulator.catalogue import MODELS as CATALOGUE
from tests.simulation.auditor import Auditor, source_of
from tests.simulation.borders import Borders
from tests.simulation.deployment import INPUT, OUTPUT, START, Cloud
from tests.simulation.journal import ROUND
from tests.simulation.money import Money
from tests.simulation.reuse import Reuse
from tests.simulation.words import UNKNOWN_MODEL
from tests.simulation.workload import RUBBISH, People

SINGLETONS = ("rate", "circuit-breaker", "orders", "backfill", "backfill-folders", "catalogue")
CANCELLED = CancelledError.code
BAD_IMAGES = [each.code for each in subclasses(ImageError)]
MESSAGES_LIVE = 14 * 86_400.0  # seconds; SQS forgets them then
ROUNDS = 5 * ROUND  # in which a pause is announced, even if faults strike some of them


def broken(cloud: Cloud, people: People) -> list[str]:
    """Return every promise that is broken, in words."""
    return [
        *dict.fromkeys(cloud.journal.broken),
        *Promises(cloud, people).broken(),
        *Money(cloud, people).broken(),
        *Borders(cloud, people).broken(),
        *Reuse(cloud, people).broken(),
    ]


class Promises(Auditor):
    """Every image has its outcome, nothing waits, everybody was told."""

    def broken(self) -> Iterator[str]:
        """Yield every promise that is broken, in words."""
        yield from self.outcomes()
        yield from self.nothing_waits()
        yield from self.announcements()
        yield from self.false_announcements()
        yield from self.pauses_announced()
        yield from self.state()

    # --- every image has exactly one outcome ----------------------------------------------------

    def outcomes(self) -> Iterator[str]:
        for key in self.cloud.s3.keys(INPUT):
            if starts_nothing(key) or key.endswith(".json"):
                continue
            if not self.people.is_current(key):
                yield from self._something(key)
                continue
            try:
                wanted = edits.load_instructions(Upload(INPUT, key), self.services)
            except ImageDropError as error:
                yield from self._reported(key, None, error, None)
                continue
            for variant in wanted.variants:
                edit = None
                try:
                    edit = edits.plan_edit(wanted, variant, self.services)
                    if not self._is_made(edit):
                        edits.require_allowed(edit, wanted, self.services)
                except ImageDropError as error:
                    yield from self._reported(key, variant, error, edit)
                else:
                    yield from self._made(edit)

    def _something(self, key: str) -> Iterator[str]:
        """Where something changed without an event, an older outcome is one, too."""
        if any(place.startswith(f"{key}.") for place in self.people.removed):
            return
        for place in self.cloud.s3.keys(OUTPUT, key):
            found = self.cloud.s3.current(OUTPUT, place)
            if found and source_of(found) == key:
                return
        yield f"{key} has no outcome at all"

    def _reported(
        self, key: str, variant: str | None, error: ImageDropError, edit: Edit | None
    ) -> Iterator[str]:
        report = self.report(key, variant)
        code = error.code if isinstance(error, PermanentError) else "not permanent"
        there = report and report.metadata.get("code")
        if there == "retries_exhausted" and self.trouble:
            return
        if there == CANCELLED and edit and self.people.was_cancelled(key):
            return
        if edit and report and report.metadata.get("edit-id") == edit.id:
            return  # Venice refused it before its catalogue was known
        if there != code and not self._report_was_removed(key, variant):
            yield f"{key} {variant or ''} should have a report {code}, and has {there}"

    def _is_made(self, edit: Edit) -> bool:
        result = self.cloud.s3.current(OUTPUT, edit.output_key)
        return result is not None and result.metadata.get("edit-id") == edit.id

    def _made(self, edit: Edit) -> Iterator[str]:
        what = f"{edit.image.key} {edit.variant or ''}".strip()
        report = self.report(edit.image.key, edit.variant)
        if self._is_made(edit):
            if report and edit.image.key not in self.people.fresh:  # what became of a new draw
                yield f"{what} has a result and a report {report.metadata.get('code')}"
            return
        if report:
            about, code = report.metadata.get("edit-id"), report.metadata.get("code")
            if code == CANCELLED and self.people.was_cancelled(edit.image.key):
                return
            if about not in (None, edit.id):
                yield f"{what} has a report {code} about something older"
            elif (
                code not in self.explained
                and not (
                    # As long as Venice's list is not known, Venice itself refuses a model.
                    edit.instructions.model == UNKNOWN_MODEL
                    and code in ("refused", "model_not_found")
                )
                and not (self._is_rubbish(edit) and code in BAD_IMAGES)
            ):
                yield f"{what} has a report {code}, and nothing explains it"
            return
        record = self.records.get(record_id(INPUT, edit.image.key, edit.variant))
        outcome = record.outcome if record else None
        its_own = outcome and outcome.edit_id in (edit.id, "")  # "": of a dead letter
        if outcome and its_own and outcome.key in self.people.removed:
            return
        yield f"{what} has neither a result nor a report"

    def _is_rubbish(self, edit: Edit) -> bool:
        there = self.cloud.s3.current(INPUT, edit.image.key)
        return there is not None and there.body in RUBBISH

    def _report_was_removed(self, key: str, variant: str | None) -> bool:
        return any(
            place in self.people.removed for place in output_bucket.report_keys(key, variant)
        )

    # --- nothing waits for ever -----------------------------------------------------------------

    def nothing_waits(self) -> Iterator[str]:
        if not self.cloud.is_settled:
            bodies = [message.body for message in self.cloud.sqs.messages]
            yield f"it has not come to an end: {bodies}"
        for id, record in self.records.items():
            # Who died holds it no longer than its invocation would have lasted.
            if record.is_held(self.cloud.world.time + 310.0):
                yield f"{id} is held for ever"
        paused = self.services.circuit_breaker.status().stopped
        if paused:
            yield "processing is paused although the account works"
        if not self.cloud.trigger.changing and self.cloud.trigger.enabled is paused:
            yield f"the queue is {'fed' if paused else 'not fed'}"

    # --- announcements --------------------------------------------------------------------------

    def announced(self) -> set[tuple[str, str]]:
        """Return what events tell of: a key, with the edit of its result or a report's code."""
        return {
            (
                each.detail["output"]["key"],
                each.detail["edit_id"] if each.name == "Image Edited" else each.detail["code"],
            )
            for each in self.cloud.announcements
            if each.name.startswith("Image ")
        }

    def announcements(self) -> Iterator[str]:
        told = self.announced()
        for id, record in self.records.items():
            outcome = record.outcome
            if record.outbox:
                yield f"{id} has an event that was not sent"
            if outcome is None or outcome.kind is OutcomeKind.VARIANTS:
                continue
            what = outcome.edit_id if outcome.kind is OutcomeKind.RESULT else outcome.code
            if (outcome.key, what) not in told:
                yield f"nobody was told of {outcome.key} ({outcome.kind} {outcome.code})"
        for key, history in self.histories():
            for version, after in zip_longest(history, history[1:]):
                theirs = after is not None and after.id in self.people.foreign | self.people.markers
                place = key, version.metadata.get("edit-id", "")
                # A result of a kept answer has no call by which a dead function's work is found.
                call = version.metadata.get("call")
                again = after is not None and after.metadata.get("call") == call  # one request
                if call and not again and not theirs and place not in told:
                    yield f"nobody was told of a result at {key}"

    def false_announcements(self) -> Iterator[str]:
        written = {
            (key, version.metadata.get(name))
            for key, history in self.histories()
            for version in history
            for name in ("edit-id", "code")
        }
        for key, what in self.announced() - written:
            yield f"an event tells of {key}, which was never made ({what})"

    def pauses_announced(self) -> Iterator[str]:
        paused, restored = (
            [each.at for each in self.cloud.announcements if each.name == name]
            for name in ("Venice Account Unavailable", "Venice Account Restored")
        )
        pauses = self.cloud.journal.pauses
        for number, pause in enumerate(pauses):
            if pause.end > pause.begin + ROUNDS and not any(
                pause.begin <= at <= pause.end for at in paused
            ):
                yield "nobody was told that processing was paused"
            later = pauses[number + 1 :]
            until = later[0].begin if later else self.cloud.world.time
            if until > pause.end + ROUNDS and not any(pause.end <= at for at in restored):
                yield "nobody was told that processing resumed"
        for at in paused:
            if not any(pause.begin <= at <= pause.end + ROUND for pause in pauses):
                yield "an event tells of a pause that never was"
        for at in restored:
            if not any(pause.end <= at for pause in pauses):
                yield "an event tells of a resumption that never was"
        if not self.cloud.is_announced:
            yield "the last pause or resumption was not announced"

    # --- state ----------------------------------------------------------------------------------

    def state(self) -> Iterator[str]:
        yield from self._items()
        yield from self._known_reports()
        for id, record in self.records.items():
            outcome = record.outcome
            if outcome is None or outcome.kind is OutcomeKind.VARIANTS:
                continue
            history = self.cloud.s3.versions.get((OUTPUT, outcome.key), [])
            if outcome.etag not in {version.etag for version in history}:
                yield f"{id} names a version of {outcome.key} that never was"

    def _items(self) -> Iterator[str]:
        for id, item in self.cloud.dynamodb.items.items():
            record = self.records.get(id)
            kept = id in SINGLETONS or (record and record.report)
            if "expiration" not in item and not kept:
                yield f"the item {id} never expires"
            if id.startswith("message#"):
                left = int(item["expiration"]["N"]) - self.cloud.world.time
                if left < MESSAGES_LIVE - (self.cloud.world.time - START):
                    yield f"the item {id} expires before its message"
        known = {*CATALOGUE, "unknown", "background-remove", "upscale"}
        rate = AtomicItem(self.services.limiter.dynamodb, "state", "rate", Rates())
        for model in rate.read()[0].logs:
            if model not in known:
                yield f"the rate limiter keeps {model}, which Venice does not have"

    def _known_reports(self) -> Iterator[str]:
        for id, record in self.records.items():
            variant, _, place = id.removeprefix("edit#").partition("#")
            key = place.removeprefix(f"{INPUT}/")
            if not (record.report or record.holder) and self.report(key, variant or None):
                yield f"{id} does not know of its report"
