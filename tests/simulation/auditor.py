"""The end of a run, as an auditor sees it: what the checks of all promises need."""

from dataclasses import dataclass
from urllib.parse import unquote

import msgspec

from image_drop.state.edit_record import Record
from image_drop.storage import output_bucket
from tests.simulation.aws.s3 import Version
from tests.simulation.deployment import OUTPUT, Cloud
from tests.simulation.workload import People

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
class Auditor:
    """The buckets, the table, Venice's book, and what people and the journal have noted."""

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
        # An account that is away fails no image.
        if self.cloud.faults.struck or self.people.poisoned or self.people.s3_was_busy:
            self.explained |= {"retries_exhausted", "outcome_unknown"}
        self.trouble = bool(
            self.cloud.venice.met
            or self.cloud.faults.struck
            or self.people.away
            or self.people.poisoned
            or self.people.s3_was_busy
        )

    def histories(self) -> list[tuple[str, list[Version]]]:
        """Return the keys of the output bucket, each with its versions, oldest first."""
        return [
            (key, history)
            for (bucket, key), history in self.cloud.s3.versions.items()
            if bucket == OUTPUT
        ]

    def report(self, key: str, variant: str | None) -> Version | None:
        """Return the report about an image, if there is one."""
        for place in output_bucket.report_keys(key, variant):
            found = self.cloud.s3.current(OUTPUT, place)
            if found and source_of(found) == key:
                return found
        return None


def source_of(version: Version) -> str:
    """Return the key of the image that an object was made from; empty if it is not ours."""
    return unquote(version.metadata.get("source-key", ""))
