"""Results and reports: which ones an image will have, whether they are there, and fetching them."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from image_drop.edits import Edit
from image_drop.errors import PermanentError, RetryableError
from image_drop.services import Services
from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import Report
from image_drop.uploads import Upload
from image_drop_cli.planning import VariantPlan, plan_image
from image_drop_cli.saving import moved_into_place
from image_drop_cli.upload.events import Arrived, NotSentError, Sent
from image_drop_cli.upload.objects import StoredObject, find_object
from image_drop_cli.upload.steps import Step
from image_drop_cli.upload.waiting_list import PendingResult


@dataclass(frozen=True)
class Follower:
    """Finds the results and reports of images, and fetches them.

    `bucket`: the input bucket. `out`: the folder for results and reports; None leaves them in the
    output bucket.
    """

    services: Services
    s3: Any
    bucket: str
    out: Path | None

    def expected(self, key: str) -> Iterator[PendingResult]:
        """Return what the pipeline will make of an image, by its own reckoning."""
        try:
            plans = list(plan_image(key, self.services, self.bucket))
        except (PermanentError, RetryableError):
            image = find_object(self.s3, key, self.services.input_bucket.place(self.bucket, key))
            yield PendingResult(key, None, image.changed_at if image else 0.0)  # a report
            return
        for plan in plans:
            yield _pending(key, plan)

    def resume(self, sent: Sent, instructions_changed_at: float) -> Step:
        """Continue with an image that the bucket had already, and start its edit if need be.

        `instructions_changed_at`: when its sidecar was replaced; 0 if it was not.
        """
        steps = [
            self._resume_one(pending, instructions_changed_at)
            for pending in self.expected(sent.key)
        ]
        events = [event for step in steps for event in step.events]
        return Step((sent, *events), tuple(each for step in steps for each in step.pending))

    def check(self, pending: PendingResult) -> Step:
        """Look for a result or its report, and fetch it if it is there."""
        if not pending.edit_id:
            planned = [
                replace(each, since=pending.since)
                for each in self.expected(pending.key)
                if each.edit_id and pending.variant in (None, each.variant)
            ]
            if planned:
                return Step(pending=tuple(planned), done=pending)
        found = self._result(pending) or self._report(pending)
        return Step((self._arrived(pending, found),), done=pending) if found else Step()

    def _resume_one(self, pending: PendingResult, instructions_changed_at: float) -> Step:
        if instructions_changed_at > pending.since:
            return Step(pending=(replace(pending, since=instructions_changed_at),))
        result, report = self._result(pending), self._report(pending)
        if result and result.edit_id == pending.edit_id:
            return Step((self._arrived(pending, result, already=True),))
        if report and report.edit_id == (pending.edit_id or None):
            return Step((self._arrived(pending, report, already=True),))
        if report:  # about something else: wrong instructions, or a Venice that was unavailable
            pending = replace(pending, since=report.changed_at + 0.001)
        if report or self.services.queue.depth().total == 0:
            retry = self.services.new_id()
            self.services.queue.send(Upload(self.bucket, pending.key, pending.variant, retry=retry))
        return Step(pending=(pending,))

    def _result(self, pending: PendingResult) -> StoredObject | None:
        """Return its result, or a newer one: somebody may have sent the image again since."""
        found = self._find(pending.output_key) if pending.output_key else None
        if found and (found.edit_id == pending.edit_id or found.changed_at > pending.since):
            return found
        return None

    def _report(self, pending: PendingResult) -> StoredObject | None:
        found = self._find(output_bucket.report_key(pending.key, pending.variant))
        return found if found and found.changed_at >= pending.since else None

    def _arrived(
        self, pending: PendingResult, found: StoredObject, *, already: bool = False
    ) -> Arrived:
        report = None
        if found.key == output_bucket.report_key(pending.key, pending.variant):
            report = msgspec.json.decode(self._body(found).read(), type=Report)
        return Arrived(
            key=pending.key,
            variant=pending.variant,
            output_key=found.key,
            size=found.size,
            seconds=max(0.0, found.changed_at - pending.since),
            path=self._fetch(found, self.out) if self.out else None,
            report=report,
            already=already,
        )

    def _fetch(self, found: StoredObject, out: Path) -> Path:
        """Return the object as a file below `out`; one that is there already stays as it is."""
        path = out / found.key
        if not path.resolve().is_relative_to(out.resolve()):
            raise NotSentError(
                f"Its result {found.key} would be saved outside {out}. Download it from the output "
                "bucket instead."
            )
        if path.exists() and (path.stat().st_size, path.stat().st_mtime) == (
            found.size,
            found.changed_at,
        ):
            return path
        with moved_into_place(path) as part:
            with part.open("xb") as file:
                shutil.copyfileobj(self._body(found), file)
            os.utime(part, (found.changed_at, found.changed_at))
        return path

    def _find(self, key: str) -> StoredObject | None:
        return find_object(self.s3, key, self.services.output_bucket.place(key))

    def _body(self, found: StoredObject) -> Any:
        return self.s3.get_object(Bucket=found.place.bucket, Key=found.place.key)["Body"]


def _pending(key: str, plan: VariantPlan) -> PendingResult:
    since, edit = plan.image.changed_at.timestamp(), plan.outcome
    if isinstance(edit, Edit):
        return PendingResult(key, plan.variant, since, edit.output_key, edit.id, edit.rate_model)
    return PendingResult(key, plan.variant, since)  # a report, or a layer that is still to come
