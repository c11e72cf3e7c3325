"""What design, AWS and Venice demand of template.yaml."""

import json
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from image_drop.settings import FORMS, REQUIRED, Settings
from image_drop_cli.deploying.package import RUNTIME_LAYERS

Resource = dict[str, Any]

PROJECT = Path(__file__).parents[2]
EDITING = ["UploadFunction", "RetryFunction", "AccountWatchFunction"]
FUNCTIONS = [*EDITING, "BackfillFunction"]
BUCKETS = ["InputBucket", "OutputBucket"]
QUEUES = ["RetryQueue", "DeadLetterQueue"]
DAY = 86_400
OF_PARAMETERS = [name for name in FORMS if name != "BACKFILL_OLD"]  # that one is a condition


def functions_of(resources: dict[str, Resource]) -> list[str]:
    return [
        name for name, resource in resources.items() if resource["Type"].endswith("less::Function")
    ]


def statements(resource: Resource) -> list[dict[str, Any]]:
    """The statements of a role's own policies, or of a managed policy."""
    properties = resource["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    return [statement for document in documents for statement in document["Statement"]]


def allowed(resources: dict[str, Resource], function: str) -> list[dict[str, Any]]:
    """The statements of a function's role and of the policies that it shares with others."""
    role = resources[resources[function]["Properties"]["Role"]["Fn::GetAtt"][0]]
    shared = role["Properties"].get("ManagedPolicyArns", [])
    policies = [resources[policy["Ref"]] for policy in shared]
    return [statement for each in (role, *policies) for statement in statements(each)]


def granted(resources: dict[str, Resource], function: str) -> list[tuple[str, Any]]:
    """(action, resource) pairs that a function is allowed."""
    return [
        (action, target)
        for statement in allowed(resources, function)
        for action in listed(statement["Action"])
        for target in listed(statement["Resource"])
    ]


BOUNDS = ("MinValue", "Default", "MaxValue")
AWS_NAMES = {  # lengths of what is no parameter
    "INPUT_BUCKET": 63,
    "OUTPUT_BUCKET": 63,
    "RETRY_QUEUE_URL": 150,
    "DEAD_LETTER_QUEUE_URL": 150,
    "STATE_TABLE": 60,
    "POWERTOOLS_SERVICE_NAME": 28,
    "POWERTOOLS_METRICS_NAMESPACE": 9,
    "RETRY_EVENT_SOURCE_MAPPING": 36,
}


def parameter_of(template: dict[str, Any], variable: str) -> dict[str, Any]:
    """The template's parameter that a variable of the functions holds."""
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    parameter: dict[str, Any] = template["Parameters"][variables[variable]["Ref"]]
    return parameter


def longest_value(template: dict[str, Any], variable: str) -> int:
    """Characters that a variable may have."""
    if variable in AWS_NAMES:
        return AWS_NAMES[variable]
    parameter = parameter_of(template, variable)
    if "AllowedValues" in parameter:
        return max(map(len, parameter["AllowedValues"]))
    return parameter["MaxLength"] if parameter["Type"] == "String" else 16


def either(condition: str, own: Any, parameter: str) -> Any:
    """What the stack makes itself, or what the parameter names."""
    return {"Fn::If": [condition, own, {"Ref": parameter}]}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def texts(node: Any) -> Iterator[str]:
    """Every string below a node, keys included."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


class TestContract:
    def test_logical_ids_are_those_of_design(self, resources: dict[str, Resource]) -> None:
        wanted = {*BUCKETS, *QUEUES, *FUNCTIONS, "StateTable", "RuntimeLayer", "ImageDropLayer"}
        assert wanted <= resources.keys()

    def test_outputs_are_those_of_design(self, template: dict[str, Any]) -> None:
        assert {name: output["Value"] for name, output in template["Outputs"].items()} == {
            "InputBucketName": either("OwnInput", {"Ref": "InputBucket"}, "ExistingInputBucket"),
            "OutputBucketName": either(
                "OwnOutput", {"Ref": "OutputBucket"}, "ExistingOutputBucket"
            ),
            "RetryQueueUrl": {"Ref": "RetryQueue"},
            "DeadLetterQueueUrl": {"Ref": "DeadLetterQueue"},
            "StateTableName": {"Ref": "StateTable"},
            "Version": version("image-drop"),
        }

    def test_functions_get_environment_of_design(self, template: dict[str, Any]) -> None:
        variables = template["Globals"]["Function"]["Environment"]["Variables"]
        output = either("OwnOutput", {"Ref": "OutputBucket"}, "ExistingOutputBucket")
        assert variables["OUTPUT_BUCKET"] == output
        assert variables["RETRY_QUEUE_URL"] == {"Ref": "RetryQueue"}
        assert variables["STATE_TABLE"] == {"Ref": "StateTable"}
        assert variables["VENICE_API_KEY_PARAMETER"] == {"Ref": "VeniceApiKeyParameter"}
        assert variables["VENICE_BASE_URL"] == {"Ref": "VeniceBaseUrl"}
        default = template["Parameters"]["VeniceBaseUrl"]["Default"]
        assert default == "https://api.venice.ai/api/v1"

    def test_input_bucket_has_name_that_functions_are_given(self, template: dict[str, Any]) -> None:
        variables = template["Globals"]["Function"]["Environment"]["Variables"]
        bucket = template["Resources"]["InputBucket"]["Properties"]["BucketName"]
        assert variables["INPUT_BUCKET"] == either("OwnInput", bucket, "ExistingInputBucket")

    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_bucket_names_fit_s3_for_stack_name_of_28_characters(
        self, resources: dict[str, Resource], bucket: str
    ) -> None:
        name = resources[bucket]["Properties"]["BucketName"]["Fn::Sub"]
        longest = {"StackName": 28, "AccountId": 12, "Region": len("ap-southeast-1")}
        filled = re.sub(r"\$\{AWS::(\w+)\}", lambda match: "x" * longest[match[1]], name)
        assert len(filled) <= 63
        assert re.fullmatch(r"[a-z0-9-]+", filled)

    def test_every_function_runs_handler_of_app_on_python_3_13(
        self, template: dict[str, Any]
    ) -> None:
        shared = template["Globals"]["Function"]
        assert shared["Handler"] == "app.handler"
        assert shared["Runtime"] == "python3.13"
        assert shared["Layers"][1] == {"Ref": "ImageDropLayer"}

    def test_architecture_is_parameter_and_arm64_by_default(self, template: dict[str, Any]) -> None:
        parameter = template["Parameters"]["Architecture"]
        assert parameter["Default"] == "arm64"
        assert set(parameter["AllowedValues"]) == {"arm64", "x86_64"}
        assert template["Globals"]["Function"]["Architectures"] == [{"Ref": "Architecture"}]

    @pytest.mark.parametrize("architecture", RUNTIME_LAYERS)
    def test_functions_get_runtime_layer_of_their_architecture(
        self, template: dict[str, Any], architecture: str
    ) -> None:
        condition = {"arm64": "IsArm", "x86_64": "IsX86"}[architecture]
        layer = template["Resources"][RUNTIME_LAYERS[architecture]]
        assert layer["Condition"] == condition
        assert layer["Metadata"]["BuildArchitecture"] == architecture
        assert layer["Properties"]["CompatibleArchitectures"] == [architecture]
        chosen = template["Globals"]["Function"]["Layers"][0]["Fn::If"]
        names = [each["Ref"] for each in chosen[1:]]
        assert chosen[0] == "IsArm"
        assert names[0 if condition == "IsArm" else 1] == RUNTIME_LAYERS[architecture]


class TestParameters:
    @pytest.mark.parametrize("variable", OF_PARAMETERS)
    def test_value_that_functions_refuse_is_refused_at_deployment(
        self, template: dict[str, Any], variable: str
    ) -> None:
        parameter = parameter_of(template, variable)
        form = FORMS[variable][0]
        if parameter["Type"] == "Number":
            bounds = [parameter.get(bound, parameter["Default"]) for bound in BOUNDS]
            assert all(re.fullmatch(form, str(each)) for each in bounds)
        elif "AllowedValues" in parameter:
            assert parameter["AllowedValues"] == sorted(form.split("|"))
        else:
            optional = parameter["Default"] == ""
            assert parameter["AllowedPattern"] == (f"({form})?" if optional else form)

    def test_defaults_are_those_of_functions(self, template: dict[str, Any]) -> None:
        given = {name: name for name in REQUIRED}
        told = {name: str(parameter_of(template, name)["Default"]) for name in OF_PARAMETERS}
        assert Settings.from_env(given | told) == Settings.from_env(given)

    @pytest.mark.parametrize(
        ("parameter", "text"),
        [
            ("AlarmEmail", "a@b.example\n"),
            ("AlarmEmail", "a@b\nc"),
            ("VeniceApiKeyParameter", "/key\n"),
            ("DailySpendLimitUSD", "1\n"),
            ("KmsKeyArn", "arn:aws:kms:us-east-1:123456789012:key/1234\n"),
            ("KmsKeyArn", "arn:aws:kms:us-east-1:123456789012:alias/mine"),
            ("KmsKeyArn", "*"),
        ],
    )
    def test_what_is_no_value_is_refused(
        self, template: dict[str, Any], parameter: str, text: str
    ) -> None:
        pattern = template["Parameters"][parameter]["AllowedPattern"]
        assert "$" not in pattern  # it accepts a newline at the end
        assert not re.fullmatch(pattern, text)

    @pytest.mark.parametrize(
        ("parameter", "text"),
        [
            ("AlarmEmail", ""),
            ("AlarmEmail", "me@shop.example"),
            ("KmsKeyArn", ""),
            ("KmsKeyArn", "arn:aws:kms:us-east-1:123456789012:key/mrk-12ab"),
            ("KmsKeyArn", "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/12ab-34"),
        ],
    )
    def test_what_is_value_is_taken(
        self, template: dict[str, Any], parameter: str, text: str
    ) -> None:
        assert re.fullmatch(template["Parameters"][parameter]["AllowedPattern"], text)

    def test_all_variables_together_fit_into_4_kb_of_lambda(self, template: dict[str, Any]) -> None:
        variables = dict(template["Globals"]["Function"]["Environment"]["Variables"])
        variables["RETRY_EVENT_SOURCE_MAPPING"] = "x" * 36
        longest = {name: "x" * longest_value(template, name) for name in variables}
        assert len(json.dumps(longest)) <= 4096


def invocations(resources: dict[str, Resource]) -> dict[str, dict[str, Any]]:
    """What is done about failed asynchronous invocations, by function."""
    return {
        config["FunctionName"]["Ref"]: config
        for config in of_type(resources, "AWS::Lambda::EventInvokeConfig")
    }


class TestFlow:
    def test_every_created_or_tagged_object_starts_upload_function(
        self, resources: dict[str, Resource]
    ) -> None:
        assert resources["UploadFunction"]["Properties"]["Events"] == {
            "Uploaded": {
                "Type": "S3",
                "Properties": {
                    "Bucket": {"Ref": "InputBucket"},
                    "Events": ["s3:ObjectCreated:*", "s3:ObjectTagging:Put"],
                },
            }
        }

    def test_upload_whose_function_died_goes_to_retry_queue(
        self, expanded: dict[str, Resource]
    ) -> None:
        config = invocations(expanded)["UploadFunction"]
        assert config["MaximumRetryAttempts"] == 2
        target = config["DestinationConfig"]["OnFailure"]["Destination"]
        assert target == {"Fn::GetAtt": ["RetryQueue", "Arn"]}

    @pytest.mark.parametrize("function", ["AccountWatchFunction", "BackfillFunction"])
    def test_outage_is_one_error_of_frequent_function(
        self, expanded: dict[str, Resource], function: str
    ) -> None:
        assert invocations(expanded)[function]["MaximumRetryAttempts"] == 0

    def test_retry_function_takes_one_message_and_reports_failures(
        self, expanded: dict[str, Resource]
    ) -> None:
        [mapping] = of_type(expanded, "AWS::Lambda::EventSourceMapping")
        assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["RetryQueue", "Arn"]}
        assert mapping["FunctionName"] == {"Ref": "RetryFunction"}
        assert mapping["BatchSize"] == 1
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "MaximumConcurrency"}}

    def test_message_stays_hidden_for_six_function_timeouts(
        self, resources: dict[str, Resource]
    ) -> None:
        hidden = resources["RetryQueue"]["Properties"]["VisibilityTimeout"]
        assert hidden == 6 * resources["RetryFunction"]["Properties"]["Timeout"]

    def test_functions_count_failures_and_queue_only_ends_crash_loop(
        self, template: dict[str, Any]
    ) -> None:
        redrive = template["Resources"]["RetryQueue"]["Properties"]["RedrivePolicy"]
        variables = template["Globals"]["Function"]["Environment"]["Variables"]
        assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
        assert redrive["maxReceiveCount"] == 100
        assert variables["MAX_FAILURES"] == {"Ref": "MaxFailures"}
        assert template["Parameters"]["MaxFailures"]["MaxValue"] <= redrive["maxReceiveCount"] / 2

    @pytest.mark.parametrize("queue", QUEUES)
    def test_messages_are_kept_for_fourteen_days(
        self, resources: dict[str, Resource], queue: str
    ) -> None:
        assert resources[queue]["Properties"]["MessageRetentionPeriod"] == 14 * DAY

    def test_maximum_concurrency_is_in_range_that_sqs_takes(self, template: dict[str, Any]) -> None:
        parameter = template["Parameters"]["MaximumConcurrency"]
        assert (parameter["MinValue"], parameter["Default"], parameter["MaxValue"]) == (
            2,
            1000,
            1000,
        )

    def test_account_is_watched_regularly_and_when_it_changes(
        self, resources: dict[str, Resource]
    ) -> None:
        events = resources["AccountWatchFunction"]["Properties"]["Events"].values()
        schedule, rule = sorted(events, key=lambda event: event["Type"], reverse=True)
        assert schedule["Properties"]["Schedule"] == "rate(5 minutes)"
        assert rule["Properties"]["Pattern"] == {
            "source": ["image-drop"],
            "detail-type": ["Venice Account Unavailable", "Venice Limit Changed"],
        }

    def test_only_account_watch_can_pause_queue_and_only_this_one(
        self, resources: dict[str, Resource]
    ) -> None:
        who = {
            name: [target for action, target in granted(resources, name) if "Mapping" in action]
            for name in FUNCTIONS
        }
        assert who["UploadFunction"] == who["RetryFunction"] == who["BackfillFunction"] == []
        [target] = who["AccountWatchFunction"]
        assert target["Fn::Sub"].endswith(":event-source-mapping:${RetryFunctionMessages}")

    def test_nothing_refers_in_circle(self, expanded: dict[str, Resource]) -> None:
        needs = {
            name: references(resource) & expanded.keys() for name, resource in expanded.items()
        }
        order = list(TopologicalSorter(needs).static_order())
        assert order.index("UploadFunction") < order.index("InputBucket")


class TestState:
    def test_table_has_names_that_powertools_expects(self, resources: dict[str, Resource]) -> None:
        table = resources["StateTable"]["Properties"]
        assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expiration", "Enabled": True}

    @pytest.mark.parametrize("name", [*BUCKETS, "StateTable"])
    def test_images_and_state_survive_stack(
        self, resources: dict[str, Resource], name: str
    ) -> None:
        assert resources[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resources[name]["UpdateReplacePolicy"] == "Retain"

    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_buckets_forget_unfinished_uploads_and_old_versions(
        self, resources: dict[str, Resource], bucket: str
    ) -> None:
        properties = resources[bucket]["Properties"]
        rules = properties["LifecycleConfiguration"]["Rules"]
        assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)
        assert any("NoncurrentVersionExpiration" in rule for rule in rules)

    def test_paid_answers_that_nobody_came_back_for_expire(
        self, resources: dict[str, Resource]
    ) -> None:
        rules = resources["OutputBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
        expiring = {
            rule["Prefix"]["Fn::Sub"]: rule["ExpirationInDays"]
            for rule in rules
            if "Prefix" in rule
        }
        assert expiring == {"${OutputPrefix}.image-drop/": 30}
        assert all("ExpirationInDays" not in rule for rule in rules if "Prefix" not in rule)

    def test_log_groups_have_retention_and_functions_log_groups(
        self, resources: dict[str, Resource]
    ) -> None:
        groups = {n: r for n, r in resources.items() if r["Type"] == "AWS::Logs::LogGroup"}
        for group in groups.values():
            assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        used = [resources[f]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"] for f in FUNCTIONS]
        assert sorted(used) == sorted(groups)


class TestSecurity:
    def test_every_function_has_role_that_is_written_out(
        self, resources: dict[str, Resource], expanded: dict[str, Resource]
    ) -> None:
        written = {n for n, r in resources.items() if r["Type"] == "AWS::IAM::Role"}
        made = {n for n, r in expanded.items() if r["Type"] == "AWS::IAM::Role"}
        assert made == written  # SAM adds roles with AWS's managed policies where one is missing
        assert len(written - {"WebhookRole"}) == len(functions_of(resources))

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_permissions_name_their_actions_and_resources(
        self, resources: dict[str, Resource], function: str
    ) -> None:
        for action, target in granted(resources, function):
            assert re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", action)
            if action == "lambda:GetAccountSettings":  # it has no resource
                continue
            arn = target if "Fn::GetAtt" in target else target["Fn::Sub"]
            assert arn != "*"
            # Objects have keys of all sorts; everything else is named to its end.
            assert "*" not in str(arn) or action.startswith("s3:"), (action, arn)

    @pytest.mark.parametrize("function", EDITING)
    def test_functions_announce_under_their_own_name_only(
        self, resources: dict[str, Resource], function: str
    ) -> None:
        [statement] = [
            each for each in allowed(resources, function) if each["Action"] == "events:PutEvents"
        ]
        assert statement["Condition"] == {
            "ForAllValues:StringEquals": {"events:source": "image-drop"}
        }

    def test_backfill_looks_and_queues_and_neither_edits_nor_stores(
        self, resources: dict[str, Resource]
    ) -> None:
        assert {action for action, _ in granted(resources, "BackfillFunction")} == {
            "s3:ListBucket",
            "s3:GetObject",
            "dynamodb:GetItem",
            "dynamodb:BatchGetItem",
            "dynamodb:PutItem",
            "sqs:SendMessage",
            "sqs:GetQueueAttributes",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        }

    def test_api_key_is_readable_by_its_name_alone(self, template: dict[str, Any]) -> None:
        [target] = {
            str(target)
            for function in FUNCTIONS
            for action, target in granted(template["Resources"], function)
            if action.startswith("ssm:")
        }
        assert ":parameter${VeniceApiKeyParameter}" in target
        slash = template["Parameters"]["VeniceApiKeyParameter"]
        assert slash["Default"].startswith("/")
        assert not re.fullmatch(slash["AllowedPattern"], "no-leading-slash")

    def test_template_holds_no_secret(self, template: dict[str, Any]) -> None:
        assert not any(parameter.get("NoEcho") for parameter in template["Parameters"].values())
        resources = template["Resources"]
        environments = [template["Globals"]["Function"]["Environment"]["Variables"]]
        environments += [
            resources[name]["Properties"]["Environment"]["Variables"]
            for name in functions_of(resources)
            if "Environment" in resources[name]["Properties"]
        ]
        secret = re.compile("KEY|SECRET|TOKEN|PASSWORD")
        named = {name for variables in environments for name in variables if secret.search(name)}
        assert named == {"VENICE_API_KEY_PARAMETER", "OUTPUT_KEY_FORMAT"}
        resolved = [text for text in texts(template) if "{{resolve:" in text]
        assert resolved == ["{{resolve:ssm:${WebhookSecretParameter}}}"]

    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_buckets_are_private_and_encrypted(
        self, resources: dict[str, Resource], bucket: str
    ) -> None:
        properties = resources[bucket]["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(properties["PublicAccessBlockConfiguration"]) == 4
        [ownership] = properties["OwnershipControls"]["Rules"]
        assert ownership["ObjectOwnership"] == "BucketOwnerEnforced"
        assert "BucketEncryption" in properties

    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_buckets_use_your_own_key_where_there_is_one(
        self, resources: dict[str, Resource], bucket: str
    ) -> None:
        encryption = resources[bucket]["Properties"]["BucketEncryption"]
        [rule] = encryption["ServerSideEncryptionConfiguration"]
        no_value = {"Ref": "AWS::NoValue"}
        assert rule == {
            "ServerSideEncryptionByDefault": {
                "SSEAlgorithm": {"Fn::If": ["HasKmsKey", "aws:kms", "AES256"]},
                "KMSMasterKeyID": {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, no_value]},
            },
            "BucketKeyEnabled": {"Fn::If": ["HasKmsKey", True, no_value]},
        }

    def test_every_function_may_use_your_own_key_and_no_other(
        self, template: dict[str, Any]
    ) -> None:
        policy, resources = template["Resources"]["KmsKeyPolicy"], template["Resources"]
        assert policy["Condition"] == "HasKmsKey"
        assert template["Parameters"]["KmsKeyArn"]["Default"] == ""
        roles = [resources[each]["Properties"]["Role"]["Fn::GetAtt"][0] for each in FUNCTIONS]
        assert policy["Properties"]["Roles"] == [{"Ref": role} for role in roles]
        [statement] = statements(policy)
        assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
        assert statement["Resource"] == {"Ref": "KmsKeyArn"}
        assert not any(
            action.startswith("kms:")
            for function in FUNCTIONS
            for action, _ in granted(resources, function)
        )

    @pytest.mark.parametrize("queue", QUEUES)
    def test_queues_are_encrypted(self, resources: dict[str, Resource], queue: str) -> None:
        assert resources[queue]["Properties"]["SqsManagedSseEnabled"] is True

    def test_policies_of_buckets_and_queues_only_demand_tls(
        self, resources: dict[str, Resource]
    ) -> None:
        covered = set()
        for resource in resources.values():
            if resource["Type"] not in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
                continue
            if resource.get("Condition") == "HasWebhook":
                continue
            properties = resource["Properties"]
            covered |= {ref["Ref"] for ref in properties.get("Queues", [properties.get("Bucket")])}
            [statement] = statements(resource)
            assert statement["Effect"] == "Deny"
            assert statement["Principal"] == "*"
            assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}
        assert covered == {*BUCKETS, *QUEUES}

    def test_nothing_is_open_to_world(self, expanded: dict[str, Resource]) -> None:
        kinds = {resource["Type"] for resource in expanded.values()}
        assert "AWS::Lambda::Url" not in kinds
        for permission in of_type(expanded, "AWS::Lambda::Permission"):
            assert permission["Principal"] in ("s3.amazonaws.com", "events.amazonaws.com")
            assert permission.keys() & {"SourceAccount", "SourceArn"}
        for name in functions_of(expanded):
            role = expanded[expanded[name]["Properties"]["Role"]["Fn::GetAtt"][0]]["Properties"]
            [trust] = role["AssumeRolePolicyDocument"]["Statement"]
            assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


class TestAlarms:
    @pytest.mark.parametrize(
        ("alarm", "metric", "of", "threshold"),
        [
            ("ProcessingPausedAlarm", "ProcessingPaused", {"Ref": "AWS::StackName"}, 0),
            (
                "DeadLetterAlarm",
                "ApproximateNumberOfMessagesVisible",
                {"Fn::GetAtt": ["DeadLetterQueue", "QueueName"]},
                0,
            ),
            (
                "OldestMessageAlarm",
                "ApproximateAgeOfOldestMessage",
                {"Fn::GetAtt": ["RetryQueue", "QueueName"]},
                10 * DAY,
            ),
            ("LowBalanceAlarm", "Balance", {"Ref": "AWS::StackName"}, {"Ref": "LowBalanceUsd"}),
            ("WatchFailingAlarm", "Errors", {"Ref": "AccountWatchFunction"}, 1),
            ("BackfillFailingAlarm", "Errors", {"Ref": "BackfillFunction"}, 1),
            (
                "WebhookAlarm",
                "ApproximateNumberOfMessagesVisible",
                {"Fn::GetAtt": ["WebhookDeadLetterQueue", "QueueName"]},
                0,
            ),
        ],
    )
    def test_alarm_watches_metric(
        self, resources: dict[str, Resource], alarm: str, metric: str, of: Any, threshold: Any
    ) -> None:
        properties = resources[alarm]["Properties"]
        assert properties["MetricName"] == metric
        assert [dimension["Value"] for dimension in properties["Dimensions"]] == [of]
        assert properties["Threshold"] == threshold
        assert properties["AlarmActions"] == properties["OKActions"] == [{"Ref": "AlarmTopic"}]

    def test_each_alarm_says_in_sentence_what_is_matter(
        self, resources: dict[str, Resource]
    ) -> None:
        alarms = of_type(resources, "AWS::CloudWatch::Alarm")
        assert len(alarms) == 7
        for alarm in alarms:
            assert re.fullmatch(r"[A-Z].{20,}\.", alarm["AlarmDescription"])

    def test_without_address_nothing_is_mailed(self, template: dict[str, Any]) -> None:
        assert template["Parameters"]["AlarmEmail"]["Default"] == ""
        assert "Condition" not in template["Resources"]["AlarmTopic"]
        mail = template["Resources"]["AlarmSubscription"]
        assert mail["Condition"] == "HasAlarmEmail"
        assert mail["Properties"] == {
            "TopicArn": {"Ref": "AlarmTopic"},
            "Protocol": "email",
            "Endpoint": {"Ref": "AlarmEmail"},
        }


def of_type(resources: dict[str, Resource], kind: str) -> list[dict[str, Any]]:
    return [r["Properties"] for r in resources.values() if r["Type"] == kind]


def references(node: Any) -> set[str]:
    """The logical ids that Ref, GetAtt, Sub and DependsOn name below a node."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    found = set(listed(node.get("DependsOn", [])))
    for key, value in node.items():
        if key == "Ref":
            found.add(value)
        elif key == "Fn::GetAtt":
            found.add(value[0] if isinstance(value, list) else value.partition(".")[0])
        elif key == "Fn::Sub":
            found |= set(re.findall(r"\$\{(\w+)", " ".join(texts(value))))
            found |= references(value)
        else:
            found |= references(value)
    return found
