"""The promises about reuse: the same picture only, within its borders, for nothing, and counted."""

from collections.abc import Iterator
from urllib.parse import unquote

from image_drop.state.billing import MICRO, micro
from image_drop.state.edit_record import Record
from tests.simulation.auditor import Auditor
from tests.simulation.aws.s3 import Version
from tests.simulation.deployment import INPUT, OUTPUT
from tests.simulation.words import UNTRUSTED


class Reuse(Auditor):
    """What was served from an earlier call."""

    def broken(self) -> Iterator[str]:
        """Yield every promise that is broken, in words."""
        served = [
            (key, version)
            for key, history in self.histories()
            for version in history
            if version.metadata.get("saved-usd")  # for its first call, its second one, or both
        ]
        for key, version in served:
            if "reused-from" not in version.metadata:
                continue
            source = unquote(version.metadata["reused-from"])
            if round(float(version.metadata["cost-usd"]) * MICRO) != self._enlarging(version):
                yield f"{key} was reused from {source}, and paid for"
            if key.startswith(UNTRUSTED) is not source.startswith(UNTRUSTED):
                yield f"{key} was reused from {source}, across the border of trust"
            if not self._same_picture(version, source):
                yield f"{key} was reused from {source}, which was made from another picture"
        told = list(filter(None, map(self._told, self.records.values())))
        for name, least, most in (
            ("reused", len(told), len(served)),
            ("saved", sum(told), sum(_saved(version) for _, version in served)),
        ):
            days = [i for id, i in self.cloud.dynamodb.items.items() if id.startswith("spend#")]
            count = sum(int(day.get(name, {"N": "0"})["N"]) for day in days)
            if not least <= count <= most:
                yield f"the days have {count} {name}; {least} to {most} are right"

    def _told(self, record: Record) -> int:
        """Return what the result of an outcome has saved, in millionths of a dollar, at least."""
        outcome = record.outcome
        if outcome is None:
            return 0
        history = self.cloud.s3.versions.get((OUTPUT, outcome.key), ())
        made = [each for each in history if each.metadata.get("edit-id") == outcome.edit_id]
        return min((_saved(each) for each in made if each.etag == outcome.etag), default=0)

    def _enlarging(self, version: Version) -> int:
        """Return what the second call of its edit has cost, in millionths: that may be its own."""
        id = version.metadata.get("call")
        calls = [call for record in self.records.values() for call in record.calls]
        return sum(call.micro_usd for call in calls if call.id == id and "-" in call.digest)

    def _same_picture(self, version: Version, source: str) -> bool:
        """Whether an object that was at `source` was made from the bytes of this image."""
        ours = self._pictures(version)
        return any(
            ours & self._pictures(earlier)
            for earlier in self.cloud.s3.versions.get((OUTPUT, source), ())
            if earlier.body is not None
        )

    def _pictures(self, version: Version) -> set[bytes | None]:
        """Return the bytes from which it may have been made; an original names no version."""
        key = unquote(version.metadata.get("source-key", ""))
        etag = version.metadata.get("source-etag")
        history = self.cloud.s3.versions.get((INPUT, key), [])
        return {each.body for each in history if etag in (None, each.etag.strip('"'))} - {None}


def _saved(version: Version) -> int:
    return micro(float(version.metadata.get("saved-usd", "0")))
