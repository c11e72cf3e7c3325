"""`image-drop destroy`: delete a stack, and say what stays."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from image_drop_cli.connection import Exit, Target, console, fail, on_account, say
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from image_drop_cli.deploying.stacks import Resource

RETAINED = ("InputBucket", "OutputBucket", "StateTable")  # DeletionPolicy in the template


@on_account
def destroy(
    target: Target,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking first.")] = False,
) -> None:
    """Delete a stack. Your images, the results and the record of what was paid stay.

    The command lists what it deletes and what it keeps, and asks. A later `image-drop deploy` of
    the same name takes up what was kept.
    """
    from image_drop_cli.deploying import showing
    from image_drop_cli.deploying.stacks import FailedError, Stacks, is_ours

    if not yes and not sys.stdin.isatty():
        fail("Nobody is there to confirm this. Confirm it with --yes.", Exit.USAGE)
    stacks = Stacks(target.aws)
    stack = stacks.describe(target.stack)
    if stack is None:
        fail(f"There is no stack {target.stack} in {target.place}.", Exit.UNUSABLE)
    if not is_ours(stack):
        fail(f"The stack {target.stack} is not an Image Drop stack.", Exit.UNUSABLE)
    resources = stacks.resources(stack["StackId"])
    say(f"In {target.place}, this deletes the stack {target.stack}:")
    say(*(f"  {line}" for line in _deleted(target, resources)))
    say("It keeps:", *(f"  {line}" for line in _kept(target, resources, stack)))
    if not yes and not typer.confirm(f"Delete the stack {target.stack}?"):
        raise typer.Exit(Exit.NEEDS_YOU)
    try:
        showing.progress(stacks.delete(stack["StackId"]), len(resources), console())
    except FailedError as error:
        fail(f"{error}\nFix the causes, then run the command again.", Exit.NEEDS_YOU)
    except KeyboardInterrupt:
        say("", "Stopped waiting. CloudFormation goes on deleting the stack.", err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None
    say(
        f"Deleted the stack {target.stack}. Uploads to its bucket start nothing now.",
        f"`image-drop deploy{target.options}` takes up what was kept.",
    )


def _deleted(target: Target, resources: "Sequence[Resource]") -> "Iterator[str]":
    """Yield what is deleted, by type, and what is lost with it."""
    from image_drop.storage.retry_queue import depth_of

    sqs = target.aws.client("sqs")
    types = Counter(each.type for each in resources if each.name not in RETAINED)
    yield from (f"{count} × {type_}" for type_, count in sorted(types.items()))
    for name, noun in (("RetryQueue", "queued image"), ("DeadLetterQueue", "dead letter")):
        urls = [each.id for each in resources if each.name == name]
        if count := sum(depth_of(sqs, url).total for url in urls):
            yield f"{counted(count, noun)} in {name}, which will not be edited"


def _kept(
    target: Target, resources: "Sequence[Resource]", stack: "Mapping[str, Any]"
) -> "Iterator[str]":
    from image_drop_cli.deploying.artifact_bucket import ArtifactBucket

    for each in resources:
        if each.name in RETAINED:
            yield f"{each.id} ({each.type})"
    for parameter in stack.get("Parameters", []):
        if parameter["ParameterKey"] == "VeniceApiKeyParameter":
            yield f"{parameter['ParameterValue']} (your API key in SSM)"
    yield f"{ArtifactBucket(target.aws).name} (archives of all your stacks in this region)"
