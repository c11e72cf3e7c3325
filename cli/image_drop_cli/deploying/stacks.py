"""A stack and its change sets: make one, show it, run it, and follow what happens."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from image_drop_cli.aws import Aws, DeploymentError

# CloudFormation's own words for a change set without a change.
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
_CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")  # roles, and SAM's transform
_CANCELLED = "cancelled"  # "Resource creation cancelled", "update": because another one failed
STACK = "AWS::CloudFormation::Stack"
GONE = "DELETE_COMPLETE"
REVIEW = "REVIEW_IN_PROGRESS"  # a stack that has nothing but change sets


class FailedError(DeploymentError):
    """When CloudFormation could not do what was asked; its text has a reason for each resource."""


@dataclass(frozen=True)
class Change:
    """What happens to a resource. `action`: Add, Modify, Remove or Import.

    `replaced`: a new one takes its place. `properties`: those that change.
    """

    action: str
    resource: str
    type: str
    replaced: bool
    properties: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """What CloudFormation did with a resource."""

    resource: str
    type: str
    status: str
    reason: str


@dataclass(frozen=True)
class Resource:
    """A resource of a stack. `name`: what the template calls it; `id`: what AWS calls it."""

    name: str
    type: str
    id: str


@dataclass(frozen=True)
class ChangeSet:
    """A change set that can be run. `is_new`: its stack does not exist yet."""

    id: str
    stack_id: str
    changes: tuple[Change, ...]
    is_new: bool


@dataclass(frozen=True)
class Stacks:
    """CloudFormation, as far as deploying needs it. `sleep` waits between two looks."""

    aws: Aws
    sleep: Callable[[float], None] = time.sleep

    def status(self, stack: str) -> str:
        """Return a stack's status; GONE if there is no such stack. Raise `ClientError`."""
        described = self.describe(stack)
        return str(described["StackStatus"]) if described else GONE

    def describe(self, stack: str) -> dict[str, Any] | None:
        """Return CloudFormation's description of a stack, or None if there is none."""
        try:
            [found] = self._cloudformation.describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return dict(found)

    def resources(self, stack: str) -> list[Resource]:
        """Return the resources of a stack. Raise `ClientError`."""
        pages = self._cloudformation.get_paginator("list_stack_resources")
        return [
            Resource(
                each["LogicalResourceId"], each["ResourceType"], each.get("PhysicalResourceId", "")
            )
            for page in pages.paginate(StackName=stack)
            for each in page["StackResourceSummaries"]
        ]

    def change_set(
        self,
        stack: str,
        template_url: str,
        parameters: Sequence[Mapping[str, Any]],
        imports: Sequence[Mapping[str, Any]] = (),
    ) -> ChangeSet | None:
        """Make a change set, and return it when it is complete; None if nothing would change.

        `imports`: the resources of an import, as CloudFormation wants them. Raise `FailedError`.
        """
        is_new = self.status(stack) in (GONE, REVIEW)
        kind = "IMPORT" if imports else "CREATE" if is_new else "UPDATE"
        made = self._cloudformation.create_change_set(
            StackName=stack,
            ChangeSetName=f"image-drop-{time.time_ns()}",
            ChangeSetType=kind,
            TemplateURL=template_url,
            Parameters=list(parameters),
            Capabilities=list(_CAPABILITIES),
            **({"ResourcesToImport": list(imports)} if imports else {}),
        )
        described = self._complete(made["Id"])
        change_set = ChangeSet(made["Id"], made["StackId"], (), is_new)
        if described["Status"] == "FAILED":
            reason = described.get("StatusReason", "")
            self.discard(change_set)
            if any(words in reason for words in _NO_CHANGES):
                return None
            raise FailedError(f"CloudFormation refuses the change set: {reason}")
        return ChangeSet(made["Id"], made["StackId"], tuple(self._changes(made["Id"])), is_new)

    def discard(self, change_set: ChangeSet) -> None:
        """Delete a change set, and the empty stack that CloudFormation made for it."""
        if change_set.is_new:
            self._cloudformation.delete_stack(StackName=change_set.stack_id)
        else:
            self._cloudformation.delete_change_set(ChangeSetName=change_set.id)

    def execute(self, change_set: ChangeSet) -> Iterator[Event]:
        """Run a change set, and yield what CloudFormation does until it is done.

        Raise `FailedError`.
        """
        seen = self._seen(change_set.stack_id)
        self._cloudformation.execute_change_set(ChangeSetName=change_set.id)
        yield from self._follow(change_set.stack_id, seen)

    def delete(self, stack_id: str) -> Iterator[Event]:
        """Delete a stack, and yield what CloudFormation does. Raise `FailedError`."""
        seen = self._seen(stack_id)
        self._cloudformation.delete_stack(StackName=stack_id)
        yield from self._follow(stack_id, seen)

    def join(self, stack_id: str) -> Iterator[Event]:
        """Yield what CloudFormation does from now on, if it is at work. Raise `FailedError`."""
        seen = self._seen(stack_id)
        if self.status(stack_id).endswith("_IN_PROGRESS"):
            yield from self._follow(stack_id, seen)

    def _follow(self, stack_id: str, seen: set[str]) -> Iterator[Event]:
        """Yield events until the stack's own says that it is done. Raise `FailedError`.

        Its status would not do: just after the start it may still be that of the last operation.
        `seen`: ids of events that belong to earlier operations.
        """
        failures: list[Event] = []
        status = ""
        while not status:
            for event in self._new_events(stack_id, seen):
                if event.type == STACK:
                    status = "" if event.status.endswith("_IN_PROGRESS") else event.status
                elif event.status.endswith("FAILED") and _CANCELLED not in event.reason:
                    failures.append(event)
                yield event
            if not status:
                self.sleep(self._pause)
        if "ROLLBACK" in status or status.endswith("FAILED"):
            raise FailedError(_reasons(status, failures))

    def _complete(self, change_set: str) -> dict[str, Any]:
        while True:
            found = self._cloudformation.describe_change_set(ChangeSetName=change_set)
            if not found["Status"].endswith(("_PENDING", "_IN_PROGRESS")):
                return dict(found)
            self.sleep(self._pause)

    def _changes(self, change_set: str) -> Iterator[Change]:
        pages = self._cloudformation.get_paginator("describe_change_set")
        for page in pages.paginate(ChangeSetName=change_set):
            for each in page["Changes"]:
                change = each["ResourceChange"]
                targets = [detail["Target"] for detail in change.get("Details", [])]
                names = {target.get("Name") or target["Attribute"] for target in targets}
                yield Change(
                    change["Action"],
                    change["LogicalResourceId"],
                    change["ResourceType"],
                    change.get("Replacement") == "True",
                    tuple(sorted(names)),
                )

    def _seen(self, stack_id: str) -> set[str]:
        seen: set[str] = set()
        if self.describe(stack_id):
            for _ in self._new_events(stack_id, seen):
                pass
        return seen

    def _new_events(self, stack_id: str, seen: set[str]) -> Iterator[Event]:
        """Yield events that are not in `seen`, oldest first, and add them to it."""
        pages = self._cloudformation.get_paginator("describe_stack_events")
        new = []
        for page in pages.paginate(StackName=stack_id):
            fresh = [each for each in page["StackEvents"] if each["EventId"] not in seen]
            new += fresh
            if len(fresh) < len(page["StackEvents"]):  # the newest come first
                break
        seen.update(each["EventId"] for each in new)
        for each in reversed(new):
            yield Event(
                each["LogicalResourceId"],
                each["ResourceType"],
                each["ResourceStatus"],
                each.get("ResourceStatusReason", ""),
            )

    @property
    def _pause(self) -> float:
        return 0.1 if self.aws.is_local else 2.0  # seconds

    @property
    def _cloudformation(self) -> Any:
        return self.aws.client("cloudformation")


def is_ours(stack: Mapping[str, Any]) -> bool:
    """Return whether a stack, as CloudFormation describes it, is an Image Drop."""
    parameters = stack.get("Parameters", [])
    return any(each["ParameterKey"] == "VeniceApiKeyParameter" for each in parameters)


def _reasons(status: str, failures: Sequence[Event]) -> str:
    lines = [f"- {each.resource} ({each.type}): {each.reason}" for each in failures]
    return "\n".join([f"CloudFormation stopped with {status}.", *lines])
