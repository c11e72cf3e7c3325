"""What Image Drop promises, checked when everything has come to its end."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

import msgspec

from image_drop import edits
from image_drop.edits import Edit
from image_drop.errors import ImageDropError, PermanentError
from image_drop.state.edit_record import CallState, OutcomeKind, Record, record_id
from image_drop.storage import output_bucket
from image_drop.uploads import Upload, starts_nothing
from tests.simulation.aws.s3 import Version
from tests.simulation.deployment import INPUT, OUTPUT, Cloud
from tests.simulation.faults import Fault
from tests.simulation.workload import UNKNOWN_MODEL, UNTRUSTED, People

MICRO = 1_000_000
SINGLETONS = ("rate", "circuit-breaker", "backfill", "catalogue")


# Which trouble at Venice, by a part of its name, may end in which reports.
REPORTS = {
    "400": ("refused",),
    "413": ("refused",),
    "422": ("refused", "content_refused"),
    "violation": ("content_refused",),
    "html": ("unusable_answer",),
    "empty": ("unusable_answer",),
    "truncated": ("unusable_answer",),
    "": ("retries_exhausted", "outcome_unknown"),
}


@dataclass
class Promises:
    """The end of a run, as an auditor sees it."""

    cloud: Cloud
    people: People

    def __post_init__(self) -> None:
        self.services = self.cloud.onlooker()
        self.records = {
            id: msgspec.json.decode(item["record"]["S"], type=Record)
            for id, item in self.cloud.dynamodb.items.items()
            if id.startswith("edit#")
        }
        self.explained = {"output_taken", "edit_too_dear"}
        for kind in self.cloud.venice.met:
            self.explained |= {
                code for word, codes in REPORTS.items() if word in kind for code in codes
            }
        if self.cloud.faults.struck:  # an account that is away fails no image
            self.explained |= {"retries_exhausted", "outcome_unknown"}
        self.trouble = bool(self.cloud.venice.met or self.cloud.faults.struck or self.people.away)

    def broken(self) -> list[str]:
        """Return every promise that is broken, in words."""
        return [
            *self.outcomes(),
            *self.nothing_waits(),
            *self.paid_once(),
            *self.not_made_again(),
            *self.money(),
            *self.limits(),
            *self.announcements(),
            *self.state(),
        ]

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
            if found and unquote(found.metadata.get("source-key", "")) == key:
                return
        yield f"{key} has no outcome at all"

    def _reported(
        self, key: str, variant: str | None, error: ImageDropError, edit: Edit | None
    ) -> Iterator[str]:
        report = self._report(key, variant)
        code = error.code if isinstance(error, PermanentError) else "not permanent"
        there = report and report.metadata.get("code")
        if there == "retries_exhausted" and self.trouble:
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
        report = self._report(edit.image.key, edit.variant)
        if self._is_made(edit):
            if report:
                yield f"{what} has a result and a report {report.metadata.get('code')}"
            return
        if report:
            about, code = report.metadata.get("edit-id"), report.metadata.get("code")
            if about not in (None, edit.id):
                yield f"{what} has a report {code} about something older"
            elif code not in self.explained and not (
                # As long as Venice's list is not known, Venice itself refuses a model.
                edit.instructions.model == UNKNOWN_MODEL and code in ("refused", "model_not_found")
            ):
                yield f"{what} has a report {code}, and nothing explains it"
            return
        record = self.records.get(record_id(INPUT, edit.image.key, edit.variant))
        outcome = record.outcome if record else None
        its_own = outcome and outcome.edit_id in (edit.id, "")  # "": of a dead letter
        if outcome and its_own and outcome.key in self.people.removed:
            return
        yield f"{what} has neither a result nor a report"

    def _report(self, key: str, variant: str | None) -> Version | None:
        for place in output_bucket.report_keys(key, variant):
            found = self.cloud.s3.current(OUTPUT, place)
            if found and unquote(found.metadata.get("source-key", "")) == key:
                return found
        return None

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

    # --- money ----------------------------------------------------------------------------------

    def paid_once(self) -> Iterator[str]:
        drops = {call.id: call.drop for r in self.records.values() for call in r.calls}
        for (bucket, key), history in self.cloud.s3.versions.items():
            for old, new in pairwise(history if bucket == OUTPUT else ()):
                one, other = (
                    (version.metadata.get("edit-id"), drops.get(version.metadata.get("call", "")))
                    for version in (old, new)
                )
                if all(one) and one == other and old.metadata["call"] != new.metadata["call"]:
                    yield f"{key} was paid twice for the same edit {one[0]} and drop {one[1]}"
        for id, record in self.records.items():
            if f"input/{UNTRUSTED}" in id and record.calls and not self._has_root_file():
                yield f"{id} was edited, and only strangers said how"
        for id, record in self.records.items():
            left = Counter((c.digest, c.drop) for c in record.calls if c.state is CallState.OPEN)
            for (_, drop), count in left.items():
                if count > 2:
                    yield f"{id} has {count} calls without an answer for the drop {drop}"

    def not_made_again(self) -> Iterator[str]:
        calls = {c.id: c.state for record in self.records.values() for c in record.calls}
        for (bucket, key), history in self.cloud.s3.versions.items():
            made: dict[str, float] = {}
            lost: dict[str, str] = {}  # the call of each, which a death may have left open
            removed = False
            for version in history if bucket == OUTPUT else ():
                edit_id = version.metadata.get("edit-id")
                if version.body is None:
                    removed = True
                elif edit_id and "call" in version.metadata:
                    source = unquote(version.metadata["source-key"])
                    since = made.get(edit_id)
                    known = calls.get(lost.get(edit_id, "")) is not CallState.OPEN
                    if removed and since is not None and known and not self._asked(source, since):
                        yield f"{key} was made again after somebody had removed it, unasked"
                    made[edit_id], removed = version.at, False
                    lost[edit_id] = version.metadata["call"]

    def _asked(self, key: str, since: float) -> bool:
        return any(at >= since - 1 and key.startswith(what) for at, what in self.people.asked)

    def _has_root_file(self) -> bool:
        return (INPUT, ".image-drop.json") in self.cloud.s3.versions

    def money(self) -> Iterator[str]:
        calls = [call for record in self.records.values() for call in record.calls]
        paid = [call for call in calls if call.state is CallState.PAID]
        left = [call for call in calls if call.state is CallState.OPEN]
        days = [i for id, i in self.cloud.dynamodb.items.items() if id.startswith("spend#")]
        usd = sum(int(day.get("usd", {"N": "0"})["N"]) for day in days)
        unconfirmed = sum(int(day.get("unconfirmed", {"N": "0"})["N"]) for day in days)
        committed = sum(int(day.get("committed", {"N": "0"})["N"]) for day in days)
        book = sum(round(call.charged_usd * MICRO) for call in self.cloud.venice.book)
        if usd != sum(call.micro_usd for call in paid):
            yield f"the days have ${usd / MICRO}, the records {sum(c.micro_usd for c in paid)}"
        if unconfirmed != sum(call.micro_usd for call in left):
            sums = [call.micro_usd for call in left]
            yield f"the days have {unconfirmed} unconfirmed, the records {sums}"
        if committed != usd + unconfirmed:
            yield f"committed {committed} is not {usd} + {unconfirmed}"
        shown = {
            found.metadata.get("call")
            for key in self.cloud.s3.keys(OUTPUT)
            if (found := self.cloud.s3.current(OUTPUT, key))
        }
        for call in left:
            if call.id in shown:
                yield f"call {call.id} is unconfirmed, and its result is there"
        if not usd <= book <= usd + unconfirmed:
            yield f"Venice's book says {book}, ours {usd} and {unconfirmed} unconfirmed"
        if not self.trouble and unconfirmed:
            yield f"{unconfirmed} are unconfirmed, and nothing went wrong"

    # --- limits ---------------------------------------------------------------------------------

    def limits(self) -> Iterator[str]:
        if self.cloud.venice.api.lock_out.begun:
            yield f"the key was locked out {self.cloud.venice.api.lock_out.begun} times"
        jumped = Fault.CLOCK_JUMP in self.cloud.faults.struck
        refused = [
            call.at
            for call in self.cloud.venice.api.calls.snapshot()
            if call.refused == "rate_limit"
            and not any(since <= call.at < since + 600 for since in self.people.limits)
        ]
        if refused and not jumped:
            yield f"{len(refused)} calls were above the limit"
        limit = self.services.settings.daily_spend_limit_usd
        by_day: dict[int, float] = defaultdict(float)
        for call in self.cloud.venice.book:
            by_day[int(call.at // 86_400)] += call.charged_usd
        if limit and max(by_day.values(), default=0.0) > limit + 1e-9:
            yield f"a day cost ${max(by_day.values()):.2f} of ${limit:.2f}"

    # --- announcements --------------------------------------------------------------------------

    def announcements(self) -> Iterator[str]:
        stored = {
            (key, version.metadata.get("edit-id"))
            for (bucket, key), history in self.cloud.s3.versions.items()
            if bucket == OUTPUT
            for version in history
        }
        told = set()
        for each in self.cloud.announcements:
            if each.name == "Image Edited":
                place = each.detail["output"]["key"], each.detail["edit_id"]
                told.add(place)
                if place not in stored:
                    yield f"an event tells of {place[0]}, which was never made"
            elif each.name == "Image Edit Failed":
                key = each.detail["output"]["key"]
                told.add((key, each.detail["code"]))
                if not any(key == place for place, _ in stored):
                    yield f"an event tells of {key}, which was never written"
        for id, record in self.records.items():
            outcome = record.outcome
            if record.outbox:
                yield f"{id} has an event that was not sent"
            if outcome is None or outcome.kind is OutcomeKind.VARIANTS:
                continue
            what = outcome.edit_id if outcome.kind is OutcomeKind.RESULT else outcome.code
            if (outcome.key, what) not in told:
                yield f"nobody was told of {outcome.key} ({outcome.kind} {outcome.code})"

    # --- state ----------------------------------------------------------------------------------

    def state(self) -> Iterator[str]:
        for id, item in self.cloud.dynamodb.items.items():
            record = self.records.get(id)
            if "expiration" in item or id in SINGLETONS or (record and record.report):
                continue
            yield f"the item {id} never expires"
        for id, record in self.records.items():
            variant, _, place = id.removeprefix("edit#").partition("#")
            key = place.removeprefix(f"{INPUT}/")
            if not (record.report or record.holder) and self._report(key, variant or None):
                yield f"{id} does not know of its report"
        for id, record in self.records.items():
            outcome = record.outcome
            if outcome is None or outcome.kind is OutcomeKind.VARIANTS:
                continue
            history = self.cloud.s3.versions.get((OUTPUT, outcome.key), [])
            if outcome.etag not in {version.etag for version in history}:
                yield f"{id} names a version of {outcome.key} that never was"
