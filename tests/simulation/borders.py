"""The promises about strangers, about other people's objects, and about everybody's time."""

import io
from collections.abc import Iterator
from itertools import pairwise

from PIL import Image

from image_drop.state.billing import MICRO
from image_drop.state.edit_record import Record, record_id
from image_drop.storage.output_bucket import ANSWERS
from tests.simulation.auditor import Auditor, source_of
from tests.simulation.aws.s3 import Version
from tests.simulation.deployment import INPUT, OUTPUT
from tests.simulation.journal import HIDDEN, ROUND, Pause
from tests.simulation.words import UNTRUSTED

IN_FLIGHT = 120.0  # seconds from reading the orders to the call: a slot may be awaited
PATIENCE = 5 * ROUND  # in which a pause ends when the account works and an image waits
TOGETHER = 120.0  # seconds between calls for the same instructions, if nothing goes wrong
REFUSED_TRIES = 3  # of an image whose model Venice refuses while it accepts others


class Borders(Auditor):
    """What Image Drop must not touch, and whom it must not keep waiting."""

    def broken(self) -> Iterator[str]:
        """Yield every promise that is broken, in words."""
        yield from self.strangers()
        yield from self.instructions()
        yield from self.objects()
        yield from self.kept_answers()
        yield from self.tries()
        yield from self.cancelled()
        for pause in self.cloud.journal.pauses:
            yield from self.held_up(pause)

    def strangers(self) -> Iterator[str]:
        for id, record in self.records.items():
            below = f"#{INPUT}/{UNTRUSTED}" in id
            if below and record.calls and (INPUT, ".image-drop.json") not in self.cloud.s3.versions:
                yield f"{id} was edited, and only strangers said how"

    def instructions(self) -> Iterator[str]:
        """What the template's parameters allow."""
        settings = self.services.settings
        for call in self.cloud.venice.api.calls.snapshot():
            if call.model and settings.allowed_models and call.model not in settings.allowed_models:
                yield f"Venice was called with the model {call.model}, which is not allowed"
        if settings.max_edit_usd:
            yield from self.dear_variants(round(settings.max_edit_usd * MICRO))

    def dear_variants(self, most: int) -> Iterator[str]:
        """Variants that were called together, and cost more than an upload may."""
        for key in self.cloud.s3.keys(INPUT):
            cut, pink = (
                self.records.get(record_id(INPUT, key, variant), Record()).calls
                for variant in ("cut", "pink")
            )
            for one in cut:
                for other in pink:
                    together = one.drop == other.drop and abs(one.at - other.at) < TOGETHER
                    if together and one.micro_usd + other.micro_usd > most:
                        yield f"the variants of {key} cost more than MaxEditUSD"

    def objects(self) -> Iterator[str]:
        """Objects of others, results of other images, and delete markers."""
        for key, history in self.histories():
            for old, new in pairwise(history):
                ours = new.id not in self.people.foreign | self.people.markers
                if ours and old.id in self.people.foreign:
                    yield f"somebody else's object {key} was replaced or removed"
                elif key.startswith(ANSWERS) or not (_owner(old) and _owner(new)):
                    continue
                elif _owner(old) != _owner(new):
                    yield f"{key} of {_owner(old)} was replaced by {_owner(new)}"
            for before, new in zip([None, *history], history, strict=False):
                nothing = before is None or before.body is None
                if new.body is None and nothing and new.id not in self.people.markers:
                    yield f"{key} got a delete marker, and there was nothing"
            last = history[-1]
            if last.metadata.get("code") == "image_deleted" and self._has_result(last):
                yield f"{key} says that the image was deleted, and its result is there"

    def _has_result(self, report: Version) -> bool:
        return any(
            history[-1].metadata.get("source-etag") and _owner(history[-1]) == _owner(report)
            for _, history in self.histories()
        )

    def kept_answers(self) -> Iterator[str]:
        for key in self.cloud.s3.keys(OUTPUT, ANSWERS):
            kept = self.cloud.s3.current(OUTPUT, key)
            try:
                Image.open(io.BytesIO(kept.body or b"" if kept else b"")).load()
            except OSError:
                yield f"{key} is kept as a paid answer, and is no image"

    def tries(self) -> Iterator[str]:
        """The last try of an image was not its first ones: waits are no failures."""
        # Once others were accepted, what an account refuses counts as the model's for an hour.
        met = any("40" in kind for kind in self.cloud.venice.met)
        refused = met or self.people.poisoned or self.people.away
        most = self.services.settings.max_failures
        for key, history in self.histories():
            for version in history:
                if version.metadata.get("code") == "retries_exhausted":
                    failed = self.cloud.journal.failures[source_of(version)]
                    if failed < (min(most, REFUSED_TRIES) if refused else most):
                        yield f"{key} was given up after {failed} failures of {most}"

    def cancelled(self) -> Iterator[str]:
        """No call begins for what was cancelled, and nobody has asked for since."""
        for at, prefix in self.people.cancelled:
            for id, record in self.records.items():
                key = id.partition(f"{INPUT}/")[2]
                if not key.startswith(prefix) or self.people.asked_since(key, at - 1):
                    continue
                for call in record.calls:
                    if call.at > at + IN_FLIGHT:
                        yield f"{key} was called {call.at - at:.0f} s after it was cancelled"

    def held_up(self, pause: Pause) -> Iterator[str]:
        """A pause ends soon when the account works and an image waits that Venice accepts."""
        replaced = any(each.begin == pause.end for each in self.cloud.journal.pauses)
        if pause.spent or pause.by_hand or replaced:
            return
        back = [at for at in self.people.away_until if at < pause.end]
        for each in self.cloud.announcements:
            if each.name != "Image Edited" or each.at < pause.end - ROUND:
                continue
            key = each.detail["input"]["key"]
            since = max(pause.begin, self.people.begun.get(key, pause.end), *back)
            until = min(pause.end, each.at)
            patience = PATIENCE + ROUND * len(self.people.poisoned)
            most = patience + self.cloud.journal.delay(key, since - HIDDEN, until)
            late = since + most < until and each.at < pause.end + ROUND
            if late and not self.people.has_layer(key):
                yield f"{key} waited {pause.end - since:.0f} s for a pause to end"
                return


def _owner(version: Version) -> tuple[str, str] | None:
    """Return the image and variant that an object was made for; None if it is not ours."""
    source = source_of(version)
    return (source, version.metadata.get("variant", "")) if source else None
