"""`image-drop deploy`: create or update a stack, without a checkout and without SAM."""

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from image_drop_cli.connection import Exit, Target, console, fail, on_account, say
from image_drop_cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image_drop_cli.deploying.artifact_bucket import ArtifactBucket
    from image_drop_cli.deploying.kept import Kept
    from image_drop_cli.deploying.parameters import Parameters
    from image_drop_cli.deploying.sources import Sources
    from image_drop_cli.deploying.stacks import ChangeSet, Stacks

KEY_PAGE = "https://venice.ai/settings/api"


@on_account
def deploy(
    target: Target,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Set a parameter of the template. Repeat the option for more of them.",
        ),
    ] = None,
    api_key_stdin: Annotated[
        bool,
        typer.Option(
            "--api-key-stdin",
            help="Read the Venice API key from standard input, and store it encrypted.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Deploy without asking first.")] = False,
) -> None:
    """Deploy Image Drop to your AWS account, or update it to this version.

    The command asks for what it needs, shows what will change, and waits until it is done. It
    keeps the parameters of an earlier deployment. Archives go to a private bucket of your own.
    """
    from image_drop_cli.deploying import existing_buckets, sources, webhook
    from image_drop_cli.deploying import parameters as template_parameters
    from image_drop_cli.deploying.stacks import Stacks

    template_parameters.check_stack_name(target.stack)
    if not (yes or dry_run or sys.stdin.isatty()):
        fail("Nobody is there to confirm the changes. Confirm them with --yes.", Exit.USAGE)
    key = sys.stdin.read() if api_key_stdin else None
    say(f"Deploying {target.stack} to {target.place}.")
    files, stacks = sources.find(), Stacks(target.aws)
    with _interruptible(target):
        existing = _settled(target, stacks, dry_run=dry_run)
        chosen = template_parameters.parse(files.template, existing, parameter or ())
        if not (dry_run or yes):
            chosen = chosen.also(_answers(chosen, files.template))
        existing_buckets.check(target.aws, target.stack, chosen.__getitem__)
        webhook.check(target.aws, chosen["WebhookUrl"], chosen["WebhookSecretParameter"])
        if not dry_run:
            _provide_key(target, chosen["VeniceApiKeyParameter"], key, ask=not yes)
        _describe(target, existing_buckets.names(chosen.__getitem__))
        _provide_events(target, chosen[existing_buckets.INPUT], yes=yes, dry_run=dry_run)
        changed = _Deployment(target, stacks, files, chosen, yes=yes, dry_run=dry_run).run()
    if dry_run:
        return
    _conclude(target, changed)


class _Deployment:
    """One deployment under way."""

    def __init__(
        self,
        target: Target,
        stacks: "Stacks",
        files: "Sources",
        parameters: "Parameters",
        *,
        yes: bool,
        dry_run: bool,
    ) -> None:
        from image_drop_cli.deploying.artifact_bucket import ArtifactBucket

        self.target, self.stacks, self.files, self.parameters = target, stacks, files, parameters
        self.yes, self.dry_run = yes, dry_run
        self.bucket = ArtifactBucket(target.aws)
        self.console = console()

    def run(self) -> bool:
        """Return whether anything changed."""
        kept = self._kept()
        self.bucket.ensure()
        if kept and not self._adopt(kept):
            return False
        with self.console.status("Preparing functions and layers …"):
            url = self.bucket.put_text(self._packaged(self.bucket), ".yaml")
        change_set = self.stacks.change_set(self.target.stack, url, self.parameters.to_send())
        if change_set is None:
            say("Nothing changes: this version is deployed with these parameters.")
            return False
        return self._execute(change_set, "Deploy these changes?")

    def _kept(self) -> "tuple[Kept, ...]":
        from image_drop_cli.deploying import kept
        from image_drop_cli.deploying.existing_buckets import names
        from image_drop_cli.deploying.stacks import GONE

        if self.stacks.status(self.target.stack) != GONE:
            return ()
        unwanted = [name.removeprefix("Existing") for name in names(self.parameters.__getitem__)]
        return kept.find(self.target.aws, self.target.stack, unwanted)

    def _adopt(self, kept: "tuple[Kept, ...]") -> bool:
        """Import what an earlier stack left. Return whether the deployment goes on."""
        from image_drop_cli.deploying import template

        say("An earlier stack of this name left these, with everything in them:")
        text = template.only(self.files.template, [each.resource for each in kept])
        imported = self.stacks.change_set(
            self.target.stack,
            self.bucket.put_text(text, ".yaml"),
            self.parameters.to_send(),
            [each.to_import for each in kept],
        )
        assert imported, "an import always has changes"
        if self.dry_run:
            self._show(imported)
            self.stacks.discard(imported)
            say("They would be adopted first. The other resources would then be created.")
            return False
        return self._execute(imported, "Adopt them?")

    def _packaged(self, bucket: "ArtifactBucket") -> str:
        """Upload the archives, and return the template that names them."""
        from image_drop_cli.deploying import template
        from image_drop_cli.deploying.layer_build import LayerBuildError
        from image_drop_cli.deploying.package import artifacts

        architecture = self.parameters["Architecture"]
        try:
            uploaded = {
                name: f"s3://{bucket.name}/{bucket.put(artifact)}"
                for name, artifact in artifacts(self.files, architecture).items()
            }
        except LayerBuildError as error:
            fail(str(error), Exit.UNUSABLE)
        # The layer of the other architecture is never created. Its place explains itself if
        # somebody changes the parameter without this command.
        other = f"s3://{bucket.name}/change-Architecture-with-image-drop-deploy.zip"
        locations = dict.fromkeys(template.code(self.files.template), other) | uploaded
        text = self.files.template
        if not self.parameters["WebhookUrl"]:
            text = template.without(text, "HasWebhook")
        return template.with_code_at(text, locations)

    def _show(self, change_set: "ChangeSet") -> None:
        from image_drop_cli.deploying import showing

        self.console.print(showing.changes(change_set.changes))

    def _execute(self, change_set: "ChangeSet", question: str) -> bool:
        from image_drop_cli.deploying import showing
        from image_drop_cli.deploying.stacks import FailedError

        self._show(change_set)
        if self.dry_run or not (self.yes or typer.confirm(question)):
            self.stacks.discard(change_set)
            if not self.dry_run:
                raise typer.Exit(Exit.NEEDS_YOU)
            return False
        try:
            events = self.stacks.execute(change_set)
            showing.progress(events, len(change_set.changes), self.console)
        except FailedError as error:
            say(str(error), err=True)
            fail(
                "CloudFormation undid the changes. Fix the causes above, then run the command "
                "again.",
                Exit.NEEDS_YOU,
            )
        return True


def _settled(target: Target, stacks: "Stacks", *, dry_run: bool) -> "Mapping[str, str]":
    """Return the parameters of the stack as it is, when nothing else is working on it.

    A stack that was never finished has nothing to keep, and is deleted.
    """
    from image_drop_cli.deploying import showing
    from image_drop_cli.deploying.stacks import REVIEW, FailedError, is_ours

    stack = stacks.describe(target.stack)
    if stack is None:
        return {}
    status = stack["StackStatus"]
    if status != REVIEW and not is_ours(stack):
        fail(
            f"The stack {target.stack} is not an Image Drop stack. Choose another name with "
            "--stack.",
            Exit.UNUSABLE,
        )
    if status.endswith("_IN_PROGRESS") and status != REVIEW:
        say(f"CloudFormation is still working on the stack ({status}). Waiting for it.")
        try:
            showing.progress(stacks.join(stack["StackId"]), 0, console())
        except FailedError as error:
            say(str(error), err=True)
        return _settled(target, stacks, dry_run=dry_run)
    if status in (REVIEW, "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"):
        if dry_run:
            fail(
                f"An earlier deployment failed ({status}). The next one deletes what it left, "
                "and begins anew. Run the command without --dry-run.",
                Exit.NEEDS_YOU,
            )
        say(f"Deleting what a deployment that failed left ({status}).")
        showing.progress(stacks.delete(stack["StackId"]), 0, console())
        return {}
    if status.endswith("FAILED"):
        fail(
            f"The stack {target.stack} is in the state {status}, in which AWS cannot update it. "
            f"See why with `aws cloudformation describe-stack-events --stack-name {target.stack}`. "
            "Continue its rollback or delete it, then run the command again.",
            Exit.NEEDS_YOU,
        )
    return {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}


def _answers(parameters: "Parameters", text: str) -> "dict[str, str]":
    from image_drop_cli.deploying.parameters import problem

    answers = {}
    for question in parameters.questions():
        while True:
            default = parameters[question.parameter]
            answer = typer.prompt(question.text, default=default, show_default=bool(default))
            wrong = problem(text, question.parameter, answer)
            if wrong is None:
                break
            say(wrong, err=True)
        answers[question.parameter] = answer
    return answers


def _describe(target: Target, existing: "Mapping[str, str]") -> None:
    """Say what is different in existing buckets. Nothing of it is in the way."""
    from botocore.exceptions import ClientError

    from image_drop_cli.aws import explained
    from image_drop_cli.deploying import existing_buckets

    for name in dict.fromkeys(existing.values()):
        try:
            for each in existing_buckets.habits(target.aws, name):
                say(each.text, each.cure)
        except ClientError as error:
            say(f"Not all settings of the bucket {name} could be read. {explained(error)}")


def _provide_events(target: Target, bucket: str, *, yes: bool, dry_run: bool) -> None:
    """Let an existing input bucket send its events, after asking; "" is a new bucket."""
    from image_drop_cli.deploying import existing_buckets

    if not bucket or existing_buckets.sends_events(target.aws, bucket):
        return
    say(f"The bucket {bucket} does not send its events to EventBridge, so nothing would start.")
    if dry_run:
        say("A deployment turns that on. The bucket's other notifications stay as they are.")
    elif yes or typer.confirm("Turn that on? The bucket's other notifications stay as they are."):
        existing_buckets.send_events(target.aws, bucket)
        say("EventBridge is on.")


def _provide_key(target: Target, name: str, key: str | None, *, ask: bool) -> None:
    """Store the key from standard input, or ask for one if there is none."""
    from image_drop_cli.deploying import api_key

    if key is None:
        if api_key.is_stored(target.aws, name):
            return
        if not ask:
            fail(
                f"There is no Venice API key in the SSM parameter {name}. Send it to the command's "
                "standard input with --api-key-stdin, or run the command in a terminal.",
                Exit.USAGE,
            )
        key = typer.prompt(f"Venice API key (from {KEY_PAGE})", hide_input=True)
    api_key.store(target.aws, name, key)
    say(f"The Venice API key is in the SSM parameter {name}, encrypted.")


@contextmanager
def _interruptible(target: Target) -> "Iterator[None]":
    try:
        yield
    except KeyboardInterrupt:
        say(
            "",
            "Stopped waiting. If CloudFormation has started, it goes on. Run the same command "
            "again to wait for it, or see what it does with `aws cloudformation "
            f"describe-stack-events --stack-name {target.stack}`.",
            err=True,
        )
        raise typer.Exit(Exit.INTERRUPTED) from None


def _conclude(target: Target, changed: bool) -> None:
    from image_drop_cli.commands import doctor

    deployment = target.deployment()
    if changed:
        say(
            f"Image Drop is deployed as {target.stack}.",
            f"  input bucket   {deployment.input_bucket}",
            f"  output bucket  {deployment.outputs['OutputBucketName']}",
            "",
            "Edit a photo:",
            f"  image-drop put photo.jpg --mode background-remove{target.options}",
            "",
        )
    findings = doctor.show(deployment)
    if findings:
        say(f"{counted(findings, 'problem')} found.")
        raise typer.Exit(Exit.NEEDS_YOU)
