"""What the functions of the embedded stack asked IAM for, and what the emulator answered."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from ministack.core import iam_evaluator

from tests.simulation.permissions import Need, allows

_ROLE = re.compile(r":assumed-role/[^/]*?(Upload|Retry|AccountWatch|Backfill)Role")
_KEYS = ("s3:prefix", "events:source")  # condition keys that the template has


@dataclass(frozen=True)
class Asked:
    """A request of a function. `role`: whose role, such as `Upload`."""

    role: str
    need: Need
    allowed: bool


@dataclass
class Requests:
    """Each request once, with the statements of its role as they are deployed."""

    made: dict[Asked, list[dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def recorded(cls, patch: pytest.MonkeyPatch) -> "Requests":
        """Record from now on until the patch is undone."""
        requests, evaluate = cls(), iam_evaluator.evaluate

        def recording(context: Any, policies: Any, *limits: Any) -> Any:
            answer = evaluate(context, policies, *limits)
            requests.add(context, policies, answer.decision == "Allow")
            return answer

        patch.setattr(iam_evaluator, "evaluate", recording)
        return requests

    def add(self, context: Any, policies: Any, allowed: bool) -> None:
        """Note a request. The policies of buckets and queues, which only deny, are no role's."""
        ours = all(each.effect == "Allow" for policy in policies for each in policy)
        if ours and (role := _ROLE.search(context.principal_arn)):
            keys = tuple(
                (name, value)
                for name in _KEYS
                for value in _values(context.service_context.get(name))
            )
            asked = Asked(role[1], Need(context.action, context.resource_arn, keys), allowed)
            if asked not in self.made:
                self.made[asked] = [_as_written(each) for policy in policies for each in policy]

    def otherwise(self) -> list[Asked]:
        """The requests of which our own reading of the statements says something else."""
        return [
            asked
            for asked, statements in self.made.items()
            if asked.allowed != any(allows(each, asked.need) for each in statements)
        ]

    def used(self) -> Iterator[tuple[str, str]]:
        """Yield each statement that allowed something, by its Sid, with the action."""
        for asked, statements in self.made.items():
            for each in statements:
                if allows(each, asked.need):
                    yield each["Sid"], asked.need.action


def _values(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else sorted(set(value or ()))


def _as_written(statement: Any) -> dict[str, Any]:
    assert not statement.not_actions
    assert not statement.not_resources
    return {
        "Sid": statement.sid,
        "Effect": statement.effect,
        "Action": statement.actions,
        "Resource": statement.resources,
        "Condition": statement.conditions,
    }
