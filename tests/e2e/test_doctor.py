"""What `image-drop doctor` finds when something is broken, and its cures."""

import json
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from image_drop_cli import app
from image_drop_cli.commands.doctor import findings
from image_drop_cli.deployment import Deployment
from image_drop_cli.doctor import round_trip, stack_checks, venice_checks
from image_drop_cli.doctor.finding import Check, Finding, Level, examine
from image_drop_local.emulator.stack import STACK_NAME, Stack
from image_drop_local.simulator import Simulator


@pytest.fixture
def deployment(stack: Stack) -> Deployment:
    return Deployment.find(STACK_NAME, endpoint_url=stack.endpoint_url)


def problems(deployment: Deployment, check: Check) -> list[Finding]:
    return [each for each in examine(deployment, [check]) if each.level == Level.PROBLEM]


def left(stack: Stack) -> list[str]:
    """Keys of all objects and versions of the doctor's, in both buckets."""
    found: list[str] = []
    for bucket in ("InputBucketName", "OutputBucketName"):
        page = stack.client("s3").list_object_versions(
            Bucket=stack.outputs[bucket], Prefix=round_trip.FOLDER
        )
        found += [each["Key"] for each in page.get("Versions", [])]
    return found


def spent(venice: Simulator) -> float:
    return sum(call.charged_usd for call in venice.calls)


def test_sound_stack_has_no_problems_and_costs_nothing(
    deployment: Deployment, stack: Stack, venice: Simulator
) -> None:
    found = list(findings(deployment))
    assert [each for each in found if each.level == Level.PROBLEM] == []
    assert {each.check for each in found} >= {
        *("stack", "version", "clock", "API key", "balance", "events", "functions"),
        *("processing", "roles", "concurrency", "alarms", "round trip"),
    }
    assert spent(venice) == 0
    assert left(stack) == []


def test_empty_balance_is_found(deployment: Deployment, venice: Simulator) -> None:
    before = venice.settings.balance_usd
    venice.change(balance_usd=1.0)
    try:
        [problem] = problems(deployment, venice_checks.key)
    finally:
        venice.change(balance_usd=before)
    assert (problem.check, problem.text) == ("balance", "$1.00 is left at Venice.")


def test_paid_round_makes_one_edit(deployment: Deployment, stack: Stack, venice: Simulator) -> None:
    before = spent(venice)
    assert problems(deployment, round_trip.paid()) == []
    assert spent(venice) == pytest.approx(before + 0.03)
    assert left(stack) == []


def test_findings_are_printed_with_their_cures(deployment: Deployment, stack: Stack) -> None:
    environment = {"AWS_ENDPOINT_URL": stack.endpoint_url, "COLUMNS": "200"}
    done = CliRunner().invoke(app, ["doctor"], env=environment)
    assert done.exit_code == 0
    assert "note" in done.output
    assert "Run `image-drop deploy --parameter AlarmEmail=you@example.com`." in done.output

    told = json.loads(CliRunner().invoke(app, ["doctor", "--json"], env=environment).output)
    assert {"check": "alarms", "level": "note"}.items() <= told[-2].items()


def test_wrong_key_is_found(deployment: Deployment, stack: Stack, venice: Simulator) -> None:
    venice.change(bad_keys=["local"])
    try:
        [problem] = problems(deployment, venice_checks.key)
    finally:
        venice.change(bad_keys=[])
    assert problem.check == "API key"
    assert "image-drop deploy --api-key-stdin" in problem.cure


def test_missing_key_is_found(deployment: Deployment, stack: Stack) -> None:
    ssm, name = stack.client("ssm"), "/image-drop/venice-api-key"
    ssm.delete_parameter(Name=name)
    try:
        [problem] = problems(deployment, venice_checks.key)
    finally:
        ssm.put_parameter(Name=name, Value="local", Type="SecureString")
    assert "ParameterNotFound" in problem.text


def test_bucket_without_events_is_found(deployment: Deployment, stack: Stack) -> None:
    s3, bucket = stack.client("s3"), stack.outputs["InputBucketName"]
    before = s3.get_bucket_notification_configuration(Bucket=bucket)
    before.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    try:
        [problem] = problems(deployment, stack_checks.events)
        patience_is_over = round_trip.free(patience=0.5)
        [nothing] = problems(deployment, patience_is_over)
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=before)
    assert "does not tell UploadFunction" in problem.text
    assert "Nothing came back" in nothing.text


def test_nothing_is_sent_where_nothing_can_come_back(
    deployment: Deployment, stack: Stack, venice: Simulator
) -> None:
    s3, bucket = stack.client("s3"), stack.outputs["InputBucketName"]
    before = s3.get_bucket_notification_configuration(Bucket=bucket)
    before.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    try:
        *_, last = findings(deployment)
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=before)
    assert (last.check, last.level) == ("round trip", Level.NOTE)
    assert last.text == "No test image was sent, because of the problem with events."
    assert left(stack) == []


def test_function_that_cannot_start_is_named_at_once(deployment: Deployment, stack: Stack) -> None:
    lambda_, name = stack.client("lambda"), stack.physical_id("UploadFunction")
    lambda_.update_function_configuration(FunctionName=name, Handler="missing.handler")
    try:
        [problem] = problems(deployment, round_trip.free())
    finally:
        lambda_.update_function_configuration(FunctionName=name, Handler="app.handler")
    assert problem.text.startswith("UploadFunction cannot start: ")
    assert "No module named 'missing'" in problem.text
    assert left(stack) == []


def test_pause_meanwhile_ends_wait(deployment: Deployment, stack: Stack) -> None:
    services, told = deployment.services, list[str]()

    def tell(text: str) -> None:
        told.append(text)
        services.circuit_breaker.stop("account_unavailable", "Venice answered 402.", 0.0)

    try:
        [note] = [
            each
            for each in examine(deployment, [round_trip.paid(tell=tell)])
            if each.level == Level.NOTE
        ]
    finally:
        services.circuit_breaker.resume(services.now())
    assert "Processing was paused" in note.text
    assert "S3 may take a minute" in told[-1]


def test_stopped_function_is_found(deployment: Deployment, stack: Stack) -> None:
    lambda_, name = stack.client("lambda"), stack.physical_id("RetryFunction")
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        [problem] = problems(deployment, stack_checks.functions)
    finally:
        lambda_.delete_function_concurrency(FunctionName=name)
    assert name in problem.text
    assert "delete-function-concurrency" in problem.cure


def test_disabled_queue_is_found(deployment: Deployment, stack: Stack) -> None:
    lambda_ = stack.client("lambda")
    uuid = stack.physical_id("RetryFunctionMessages")
    lambda_.update_event_source_mapping(UUID=uuid, Enabled=False)
    try:
        [problem] = problems(deployment, stack_checks.queue)
    finally:
        lambda_.update_event_source_mapping(UUID=uuid, Enabled=True)
    assert uuid in problem.cure


def test_role_without_permission_is_named_with_its_action(
    deployment: Deployment, stack: Stack
) -> None:
    iam, role = stack.client("iam"), stack.physical_id("UploadRole")
    deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    iam.put_role_policy(RoleName=role, PolicyName="forbidden", PolicyDocument=document)
    try:
        [problem] = problems(deployment, stack_checks.roles)
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="forbidden")
    assert "UploadFunction may not do s3:PutObject on arn:aws:s3:::" in problem.text
    assert "RetryFunction" not in problem.text


def test_check_that_is_forbidden_is_note_and_not_end(deployment: Deployment) -> None:
    def forbidden(_: Deployment) -> Iterator[Finding]:
        raise denied("iam:SimulatePrincipalPolicy")
        yield

    first, *rest = examine(deployment, [forbidden, stack_checks.clock])
    assert first.level == Level.NOTE
    assert "iam:SimulatePrincipalPolicy" in first.cure
    assert [each.level for each in rest] == [Level.FINE]


def denied(action: str) -> ClientError:
    message = f"User: you is not authorized to perform: {action}"
    return ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, action)
