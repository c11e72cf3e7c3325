"""`image-drop deploy` and `destroy` at a terminal and in scripts, where something is not right."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from image_drop_cli import app
from image_drop_cli.aws import Aws
from image_drop_cli.deploying.artifact_bucket import ArtifactBucket
from image_drop_cli.deploying.package import RUNTIME_LAYERS, Artifact, runtime_layer
from image_drop_cli.deploying.sources import find
from image_drop_cli.deploying.stacks import GONE, Stacks
from image_drop_local.emulator.stack import bare_aws
from tests.support.installed import uv
from tests.support.waiting import until

EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
KEY = "/image-drop/venice-api-key"
COMMAND = (sys.executable, "-m", "image_drop_cli")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with bare_aws() as url:
        yield url


@pytest.fixture(scope="module")
def aws(url: str) -> Aws:
    """The account. It has a runtime layer without packages, since no function works here."""
    aws = Aws.connect(endpoint_url=url)
    bucket = ArtifactBucket(aws)
    bucket.ensure()
    for architecture in RUNTIME_LAYERS:
        digest = runtime_layer(find(), architecture).digest
        bucket.put(Artifact(digest, lambda: EMPTY_ZIP))
    return aws


@pytest.fixture
def run(url: str) -> Callable[..., Result]:
    def run(*arguments: str, input: str | None = None) -> Result:
        environment = {"AWS_ENDPOINT_URL": url, "COLUMNS": "200", "UV": uv()}
        return CliRunner().invoke(app, arguments, env=environment, input=input)

    return run


def keys(aws: Aws) -> list[str]:
    found = aws.client("ssm").describe_parameters()["Parameters"]
    return [each["Name"] for each in found]


@pytest.mark.parametrize("command", ["deploy", "destroy"])
def test_nothing_happens_where_nobody_can_confirm(run: Callable[..., Result], command: str) -> None:
    done = run(command)
    assert done.exit_code == 2
    assert "Confirm" in done.stderr
    assert "--yes" in done.stderr


def test_name_that_buckets_cannot_have_is_refused(run: Callable[..., Result]) -> None:
    done = run("deploy", "--yes", "--stack", "My_Stack")
    assert done.exit_code == 3
    assert "lower-case letters" in done.stderr


def test_unknown_parameter_is_refused_before_anything_is_stored(
    run: Callable[..., Result], aws: Aws
) -> None:
    given = "--parameter=DailySpendLimit=5"
    done = run("deploy", "--yes", "--api-key-stdin", given, input="key")
    assert done.exit_code == 3
    assert "Did you mean DailySpendLimitUSD?" in done.stderr
    assert keys(aws) == []


def test_missing_key_is_said_before_anything_is_deployed(
    run: Callable[..., Result], aws: Aws
) -> None:
    done = run("deploy", "--yes")
    assert done.exit_code == 2
    assert f"There is no Venice API key in the SSM parameter {KEY}." in done.stderr
    assert "--api-key-stdin" in done.stderr
    assert Stacks(aws).status("image-drop") == GONE


def test_value_that_template_refuses_is_explained(run: Callable[..., Result], aws: Aws) -> None:
    done = run("deploy", "--dry-run", "--parameter=DefaultMode=paint")
    assert done.exit_code == 3
    assert "DefaultMode" in done.stderr
    assert Stacks(aws).status("image-drop") == GONE


@pytest.mark.parametrize("command", ["deploy", "destroy"])
def test_stack_of_somebody_else_is_left_alone(
    run: Callable[..., Result], aws: Aws, command: str
) -> None:
    queue = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(StackName="shop", TemplateBody=queue)
    cloudformation.get_waiter("stack_create_complete").wait(StackName="shop")

    done = run(command, "--yes", "--stack", "shop")

    assert done.exit_code == 3
    assert "The stack shop is not an Image Drop stack." in done.stderr
    assert Stacks(aws).status("shop") == "CREATE_COMPLETE"
    cloudformation.delete_stack(StackName="shop")


def test_failed_deployment_is_cleared_away_and_not_in_dry_run(
    run: Callable[..., Result], aws: Aws
) -> None:
    """A stack of ours that was rolled back; the new deployment then fails for want of a key."""
    resources = {
        "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
        "Never": {
            "Type": "AWS::CloudFormation::WaitCondition",
            "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "1"},
        },
    }
    parameters = {"VeniceApiKeyParameter": {"Type": "String", "Default": "/key"}}
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName="failed",
        TemplateBody=json.dumps({"Parameters": parameters, "Resources": resources}),
    )
    stacks = Stacks(aws)
    assert until(lambda: stacks.status("failed") == "ROLLBACK_COMPLETE", 10)

    dry = run("deploy", "--dry-run", "--stack", "failed")
    assert (dry.exit_code, stacks.status("failed")) == (1, "ROLLBACK_COMPLETE")
    assert "An earlier deployment failed (ROLLBACK_COMPLETE)." in dry.stderr

    done = run("deploy", "--yes", "--stack", "failed")
    assert "Deleting what a deployment that failed left (ROLLBACK_COMPLETE)." in done.stdout
    assert stacks.status("failed") == GONE


def test_one_bucket_for_both_needs_folders_apart(run: Callable[..., Result], aws: Aws) -> None:
    aws.client("s3").create_bucket(Bucket="photos")
    both = ["--parameter=ExistingInputBucket=photos", "--parameter=ExistingOutputBucket=photos"]

    for given in ([], ["--parameter=InputPrefix=in/", "--parameter=OutputPrefix=in/out/"]):
        done = run("deploy", "--dry-run", *both, *given)
        assert done.exit_code == 3
        assert "two folders of which neither contains the other" in done.stderr
    assert Stacks(aws).status("image-drop") == GONE


def test_dry_run_says_that_events_of_bucket_are_off(run: Callable[..., Result], aws: Aws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="silent")

    done = run("deploy", "--dry-run", "--parameter=ExistingInputBucket=silent")

    assert "does not send its events to EventBridge" in done.stdout
    found = s3.get_bucket_notification_configuration(Bucket="silent")
    assert "EventBridgeConfiguration" not in found


def test_missing_key_is_said_before_bucket_is_changed(run: Callable[..., Result], aws: Aws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="untouched")

    done = run("deploy", "--yes", "--parameter=ExistingInputBucket=untouched")

    assert done.exit_code == 2
    assert f"There is no Venice API key in the SSM parameter {KEY}." in done.stderr
    found = s3.get_bucket_notification_configuration(Bucket="untouched")
    assert "EventBridgeConfiguration" not in found


def test_habits_of_bucket_are_said_and_nothing_stops(run: Callable[..., Result], aws: Aws) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    s3.put_object_lock_configuration(
        Bucket="locked", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )

    done = run("deploy", "--dry-run", "--parameter=ExistingOutputBucket=locked")

    assert "The bucket locked locks each new object for 30 days (Object Lock)." in done.stdout
    assert done.exit_code == 0, done.output


def test_missing_bucket_is_named(run: Callable[..., Result]) -> None:
    done = run("deploy", "--dry-run", "--parameter=ExistingOutputBucket=no-such-bucket")

    assert done.exit_code == 3
    assert "There is no bucket no-such-bucket. Correct ExistingOutputBucket." in done.stderr


def test_missing_stack_is_not_destroyed(run: Callable[..., Result]) -> None:
    done = run("destroy", "--yes")
    assert done.exit_code == 3
    assert "There is no stack image-drop in account 000000000000" in done.stderr


def test_questions_are_asked_and_key_is_never_shown(url: str, aws: Aws, tmp_path: Path) -> None:
    """At a terminal: bucket, address (wrong, then right), limit, key, and no to the changes."""
    answers = ["", "me", "me@example.com", "12.50", "secret-key", "n"]
    code, shown = at_terminal([*COMMAND, "deploy"], answers, url, tmp_path)

    assert "It must be empty or an e-mail address." in shown
    assert "[50]" in shown  # the default of the limit
    assert "secret-key" not in shown
    assert re.search(r"create +RetryFunction", shown)
    assert code == 1
    assert Stacks(aws).status("image-drop") == GONE
    stored = aws.client("ssm").get_parameter(Name=KEY, WithDecryption=True)["Parameter"]
    assert (stored["Type"], stored["Value"]) == ("SecureString", "secret-key")


def test_ctrl_c_says_what_goes_on(url: str, aws: Aws) -> None:
    with subprocess.Popen(
        [*COMMAND, "deploy", "--yes", "--stack", "stopped"],
        env=os.environ | {"AWS_ENDPOINT_URL": url, "UV": uv()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        for line in process.stdout:
            if line.startswith("create"):
                break
        os.kill(process.pid, signal.SIGINT)
        process.stdout.read()
        said = process.stderr.read()
        assert process.wait(timeout=30) == 130, said
    assert "Run the same command again to wait for it" in said
    assert "aws cloudformation describe-stack-events --stack-name stopped" in said


def at_terminal(command: list[str], answers: list[str], url: str, folder: Path) -> tuple[int, str]:
    """Run a command at a terminal that answers each question; exit code, and what is shown."""
    main, terminal = pty.openpty()
    environment = os.environ | {"AWS_ENDPOINT_URL": url, "UV": uv(), "TERM": "dumb"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        shown = ""
        while chunk := _read(main):
            shown += chunk
            if answers and re.search(r"(: |\[y/N\]: )$", shown):
                os.write(main, f"{answers.pop(0)}\n".encode())
        os.close(main)
        return process.wait(timeout=30), shown


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 4096).decode()
    except OSError:  # the other end is closed
        return ""
