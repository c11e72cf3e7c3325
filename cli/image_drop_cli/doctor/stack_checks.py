"""Checks of what AWS runs: the stack, its functions, roles, events and alarms."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from image_drop.storage.queue_trigger import MOST
from image_drop_cli.dead_events import DeadEvents
from image_drop_cli.deploying import existing_buckets
from image_drop_cli.deploying.stacks import Stacks
from image_drop_cli.doctor.finding import Finding, fine, note, problem
from image_drop_cli.wording import counted, duration, how_it_resumes

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

FUNCTIONS = ("UploadFunction", "RetryFunction", "AccountWatchFunction", "BackfillFunction")
EDITING = ("UploadFunction", "RetryFunction")
MAX_SKEW = 60.0  # seconds; AWS refuses signatures from 5 minutes on
ENOUGH = 10  # functions: 20 edits a minute, Venice's usual limit, of 30 s each
REDEPLOY = "Run `image-drop deploy`."


def stack(deployment: "Deployment") -> Iterator[Finding]:
    """Look at the stack's state and version."""
    found = Stacks(deployment.aws).describe(deployment.name) or {}
    status = str(found.get("StackStatus"))
    if status.endswith("_IN_PROGRESS"):
        yield note("stack", f"CloudFormation is working on it ({status}).", "Wait for it.")
    elif "FAILED" in status:
        yield problem(
            "stack",
            f"The last operation of CloudFormation failed ({status}).",
            f"See why: `aws cloudformation describe-stack-events --stack-name {deployment.name}`.",
        )
    else:
        yield fine("stack", f"{deployment.name} is complete.")
    mine, its = version("image-drop"), deployment.outputs.get("Version", "older than 0.1.0")
    if its == mine:
        yield fine("version", f"Stack and command line are {mine}.")
    else:
        yield note(
            "version",
            f"The stack is {its}, the command line {mine}.",
            f"{REDEPLOY} Or install the stack's version: `uv tool install image-drop=={its}`.",
        )


def clock(deployment: "Deployment") -> Iterator[Finding]:
    """Compare this machine's clock with that of AWS."""
    answer = deployment.client("sts").get_caller_identity()
    sent = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    skew = (datetime.now(UTC) - parsedate_to_datetime(sent)).total_seconds() if sent else 0.0
    if abs(skew) < MAX_SKEW:
        yield fine("clock", "This machine and AWS agree on the time.")
    else:
        way = "ahead of" if skew > 0 else "behind"
        yield problem(
            "clock",
            f"This machine's clock is {duration(abs(skew))} {way} that of AWS.",
            "Set the clock; AWS refuses requests that are five minutes off.",
        )


def events(deployment: "Deployment") -> Iterator[Finding]:
    """Look whether the input bucket tells the upload function of new images."""
    if deployment.parameters.get(existing_buckets.INPUT):
        yield from _events_of_existing_bucket(deployment)
        return
    found = deployment.client("s3").get_bucket_notification_configuration(
        Bucket=deployment.input_bucket, ExpectedBucketOwner=deployment.aws.account
    )
    function = deployment.function("UploadFunction")
    told = [
        each
        for each in found.get("LambdaFunctionConfigurations", [])
        if each["LambdaFunctionArn"] == function["FunctionArn"]
        and "s3:ObjectCreated:*" in each["Events"]
    ]
    if told:
        yield fine("events", f"The bucket {deployment.input_bucket} announces new images.")
    else:
        yield problem(
            "events",
            f"The bucket {deployment.input_bucket} does not tell UploadFunction of new images.",
            "Somebody changed the bucket's event notifications. Add one for all object create "
            f"events and for added tags to the function {function['FunctionName']}, then start a "
            "backfill.",
        )


def _events_of_existing_bucket(deployment: "Deployment") -> Iterator[Finding]:
    name = deployment.input_bucket
    rule = deployment.client("events").describe_rule(
        Name=deployment.physical_id("ExistingBucketRule").rpartition("/")[2]
    )
    if not existing_buckets.sends_events(deployment.aws, name):
        yield problem(
            "events",
            f"The bucket {name} does not send its events to EventBridge, so nothing starts.",
            f"{REDEPLOY} It turns that on and leaves the bucket's other notifications as they are. "
            "Then start a backfill for what was uploaded meanwhile.",
        )
    elif rule["State"] != "ENABLED":
        yield problem(
            "events",
            f"The rule {rule['Name']}, which tells UploadFunction of new images, is disabled.",
            f"Enable it: `aws events enable-rule --name {rule['Name']}`. Then start a backfill.",
        )
    else:
        yield fine("events", f"The bucket {name} announces new images through EventBridge.")


def buckets(deployment: "Deployment") -> Iterator[Finding]:
    """Look whether buckets that existed before can be used."""
    value = deployment.parameters.get
    existing = existing_buckets.names(lambda name: value(name, ""))
    usable = dict.fromkeys(existing.values())
    for parameter, name in existing.items():
        found = existing_buckets.obstacles(deployment.aws, name, parameter, value("KmsKeyArn", ""))
        for each in found:
            usable.pop(name, None)
            yield problem("buckets", each.text, each.cure)
    for name in usable:
        habits = existing_buckets.habits(deployment.aws, name)
        yield from (note("buckets", each.text, each.cure) for each in habits)


def functions(deployment: "Deployment") -> Iterator[Finding]:
    """Look whether the functions can run: their state, and their concurrency."""
    stopped, found = [], [deployment.function(name) for name in FUNCTIONS]
    for each in found:
        if each.get("State") == "Failed":
            yield problem("functions", f"{each['FunctionName']}: {each['StateReason']}", REDEPLOY)
        reserved = deployment.client("lambda").get_function_concurrency(
            FunctionName=each["FunctionName"]
        )
        if reserved.get("ReservedConcurrentExecutions") == 0:
            stopped.append(each["FunctionName"])
    if stopped:
        yield problem(
            "functions",
            f"Lambda may not run {', '.join(stopped)}: the reserved concurrency is 0.",
            "Resume with `aws lambda delete-function-concurrency --function-name NAME`.",
        )
    elif all(each.get("State") != "Failed" for each in found):
        yield fine("functions", "All functions can run.")


def concurrency(deployment: "Deployment") -> Iterator[Finding]:
    """Look whether the account lets enough functions run: half of them are for queued edits."""
    most = deployment.services.queue_trigger.concurrency(MOST)
    text = (
        f"The account runs {most.account:,} functions at a time; queued edits take at most "
        f"{most.allowed:,}."
    )
    if most.allowed >= ENOUGH:
        yield fine("concurrency", text)
    else:
        yield note(
            "concurrency",
            f"{text} Slow edits may need more.",
            "Ask AWS for more (Service Quotas, Lambda, concurrent executions), or raise "
            "MaximumConcurrency.",
        )


def queue(deployment: "Deployment") -> Iterator[Finding]:
    """Look whether the retry queue is worked off, and for dead letters."""
    mappings = deployment.client("lambda").list_event_source_mappings(
        FunctionName=deployment.function("RetryFunction")["FunctionName"]
    )["EventSourceMappings"]
    status = deployment.services.circuit_breaker.status()
    if status.stopped:
        yield problem(
            "processing",
            f"Processing is paused ({status.reason}): {status.detail}",
            how_it_resumes(status),
        )
    elif not any(each["State"] in ("Enabled", "Enabling", "Creating") for each in mappings):
        yield problem(
            "processing",
            "Lambda does not read the retry queue: its event source mapping is disabled.",
            "Enable it: `aws lambda update-event-source-mapping --enabled --uuid "
            f"{mappings[0]['UUID'] if mappings else 'UUID'}`.",
        )
    else:
        yield fine("processing", "Processing is running.")
    if dead := deployment.services.queue.dead().total:
        yield note(
            "dead letters",
            f"There are {counted(dead, 'dead letter')}.",
            "See why with `image-drop dead list`. Retry them with `image-drop dead redrive --all`.",
        )
    events = DeadEvents.of(deployment)
    if events and (count := events.count()):
        yield note(
            "webhook",
            f"The webhook did not take {counted(count, 'event')}.",
            "See why with `image-drop dead events`. Send them again with --redeliver.",
        )


def roles(deployment: "Deployment") -> Iterator[Finding]:
    """Ask IAM whether the editing functions may do what they have to."""
    iam = deployment.client("iam")
    denied = []
    for name in EDITING:
        role = deployment.function(name)["Role"]
        for resource, actions in _needed(deployment).items():
            results = iam.simulate_principal_policy(
                PolicySourceArn=role, ActionNames=actions, ResourceArns=[resource]
            )["EvaluationResults"]
            denied += [
                f"{name} may not do {each['EvalActionName']} on {resource}"
                for each in results
                if each["EvalDecision"] != "allowed"
            ]
    if denied:
        yield problem(
            "roles",
            "; ".join(denied) + ".",
            "Somebody changed the role, or a permissions boundary or a policy of your "
            "organization forbids it. Undo that.",
        )
    else:
        yield fine("roles", "The functions may do what they have to.")


def alarms(deployment: "Deployment") -> Iterator[Finding]:
    """Look whether somebody is told of alarms."""
    email = deployment.parameters.get("AlarmEmail", "")
    if not email:
        yield note(
            "alarms",
            "Nobody is told of alarms.",
            "Run `image-drop deploy --parameter AlarmEmail=you@example.com`.",
        )
        return
    subscriptions = deployment.client("sns").list_subscriptions_by_topic(
        TopicArn=deployment.physical_id("AlarmTopic")
    )["Subscriptions"]
    if any(each["SubscriptionArn"].startswith("arn:") for each in subscriptions):
        yield fine("alarms", f"{email} is told of alarms.")
    else:
        yield note(
            "alarms",
            f"{email} has not confirmed the subscription to alarms.",
            "Open the mail of AWS Notifications and confirm it.",
        )


def _needed(deployment: "Deployment") -> dict[str, list[str]]:
    """Return what an editing function has to do, by resource."""
    aws = deployment.aws
    partition = aws.session.get_partition_for_region(aws.region)
    here = f"{aws.region}:{aws.account}"
    table, key = deployment.outputs["StateTableName"], deployment.services.api_key.name
    queue = deployment.outputs["RetryQueueUrl"].rpartition("/")[2]
    inputs = deployment.input_place("*")
    outputs = deployment.services.output_bucket.place("*")
    return {
        f"arn:{partition}:s3:::{inputs.bucket}/{inputs.key}": ["s3:GetObject"],
        f"arn:{partition}:s3:::{outputs.bucket}/{outputs.key}": ["s3:GetObject", "s3:PutObject"],
        f"arn:{partition}:dynamodb:{here}:table/{table}": ["dynamodb:UpdateItem"],
        f"arn:{partition}:sqs:{here}:{queue}": ["sqs:SendMessage"],
        f"arn:{partition}:ssm:{here}:parameter{key}": ["ssm:GetParameter"],
    }
