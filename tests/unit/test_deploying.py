"""What is decided before anything is deployed: parameters, the template's text, archives."""

import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from cfnlint.decode import cfn_yaml

from image_drop_cli.aws import Aws, DeploymentError
from image_drop_cli.deploying import api_key, existing_buckets, kept, sources, template, webhook
from image_drop_cli.deploying.archives import sha256, zipped
from image_drop_cli.deploying.layer_build import LayerBuildError
from image_drop_cli.deploying.package import CODE_LAYER, RUNTIME_LAYERS, runtime_layer
from image_drop_cli.deploying.parameters import QUESTIONS, check_stack_name, parse, problem
from image_drop_cli.deploying.sources import Sources

TEXT = sources.find().template
RETAINED = ("InputBucket", "OutputBucket", "StateTable")


def parsed(text: str) -> dict[str, Any]:
    return dict(cfn_yaml.loads(text))


class TestTemplate:
    def test_defaults_are_those_of_parsed_template(self) -> None:
        parameters = parsed(TEXT)["Parameters"]
        expected = {name: str(each["Default"]) for name, each in parameters.items()}
        assert template.defaults(TEXT) == expected

    def test_each_piece_of_code_is_found(self) -> None:
        code = template.code(TEXT)
        assert set(RUNTIME_LAYERS.values()) < set(code)
        assert CODE_LAYER in code
        resources = parsed(TEXT)["Resources"].values()
        places = [
            each["Properties"][name]
            for each in resources
            for name in ("CodeUri", "ContentUri")
            if name in each.get("Properties", {})
        ]
        assert sorted(code.values()) == sorted(places)

    def test_code_is_moved_and_nothing_else_changes(self) -> None:
        moved = template.with_code_at(TEXT, {"RuntimeLayerX86": "s3://bucket/key.zip"})
        before, after = parsed(TEXT), parsed(moved)
        properties = after["Resources"]["RuntimeLayerX86"]["Properties"]
        assert properties["ContentUri"] == "s3://bucket/key.zip"
        properties["ContentUri"] = "layers/runtime/"
        assert after == before

    def test_webhook_is_left_out_where_there_is_none(self) -> None:
        whole = parsed(TEXT)
        less = parsed(template.without(TEXT, "HasWebhook"))
        webhook = {
            name
            for name, each in whole["Resources"].items()
            if each.get("Condition") == "HasWebhook"
        }
        assert set(whole["Resources"]) - set(less["Resources"]) == webhook
        assert all(name.startswith("Webhook") for name in webhook)
        assert {**whole, "Resources": None} == {**less, "Resources": None}

    def test_import_has_kept_resources_and_no_outputs(self) -> None:
        alone = parsed(template.only(TEXT, RETAINED))
        whole = parsed(TEXT)
        assert set(alone) == {
            *("AWSTemplateFormatVersion", "Parameters", "Conditions", "Resources")
        }
        assert alone["Resources"] == {name: whole["Resources"][name] for name in RETAINED}

    def test_what_is_called_kept_has_policy_to_be_kept(self) -> None:
        resources = parsed(TEXT)["Resources"]
        kept = {n for n, each in resources.items() if "Retain" in each.get("DeletionPolicy", "")}
        assert kept == set(RETAINED)


class TestParameters:
    def test_given_counts_before_previous_before_default(self) -> None:
        previous = {"MaxEditUSD": "2", "Architecture": "x86_64"}
        chosen = parse(TEXT, previous, ["MaxEditUSD=3"])
        assert (chosen["MaxEditUSD"], chosen["Architecture"]) == ("3", "x86_64")
        assert chosen["DailySpendLimitUSD"] == "50"

    def test_update_sends_previous_values_and_leaves_new_ones_out(self) -> None:
        chosen = parse(TEXT, {"MaxEditUSD": "2", "OfOlderVersion": "x"}, ["AlarmEmail=a@b.c"])
        assert chosen.to_send() == [
            {"ParameterKey": "MaxEditUSD", "UsePreviousValue": True},
            {"ParameterKey": "AlarmEmail", "ParameterValue": "a@b.c"},
        ]

    def test_value_may_have_equals_sign(self) -> None:
        assert parse(TEXT, {}, ["DefaultPrompt=a=b"])["DefaultPrompt"] == "a=b"

    def test_unknown_name_is_refused_with_nearest(self) -> None:
        with pytest.raises(DeploymentError, match="Did you mean DailySpendLimitUSD"):
            parse(TEXT, {}, ["DailySpendLimitUsd=1"])

    def test_missing_value_is_refused(self) -> None:
        with pytest.raises(DeploymentError, match="NAME=VALUE"):
            parse(TEXT, {}, ["MaxEditUSD"])

    def test_only_first_deployment_asks(self) -> None:
        assert [q.parameter for q in parse(TEXT, {}, ["AlarmEmail=a@b.c"]).questions()] == [
            "ExistingInputBucket",
            "DailySpendLimitUSD",
        ]
        assert parse(TEXT, {"MaxEditUSD": "1"}, []).questions() == []

    @pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each.parameter)
    def test_default_answer_of_question_is_right(self, question: Any) -> None:
        default = template.defaults(TEXT)[question.parameter]
        assert problem(TEXT, question.parameter, default) is None

    def test_wrong_answer_is_explained_in_words_of_template(self) -> None:
        assert problem(TEXT, "AlarmEmail", "me") == "It must be empty or an e-mail address."
        assert problem(TEXT, "DailySpendLimitUSD", "ten") is not None

    @pytest.mark.parametrize("name", ["image-drop", "a", "shop2", "a" * 28])
    def test_stack_name_that_fits_buckets(self, name: str) -> None:
        check_stack_name(name)

    @pytest.mark.parametrize("name", ["Image-Drop", "a" * 29, "2shop", "my_stack", "shop-", ""])
    def test_stack_name_that_does_not_fit_buckets(self, name: str) -> None:
        with pytest.raises(DeploymentError, match="at most 28"):
            check_stack_name(name)


class TestArchives:
    def folder(self, place: Path, names: list[str]) -> Path:
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(f"# {name}")
        return place

    def test_same_files_give_same_bytes(self, tmp_path: Path) -> None:
        one = self.folder(tmp_path / "one", ["a.py", "b/c.py"])
        other = self.folder(tmp_path / "other", ["b/c.py", "a.py"])
        (other / "a.py").chmod(0o600)
        assert zipped(one) == zipped(other)

    def test_leftover_bytecode_is_left_out(self, tmp_path: Path) -> None:
        clean = self.folder(tmp_path / "clean", ["a.py"])
        run = self.folder(tmp_path / "run", ["a.py", "__pycache__/a.cpython-313.pyc"])
        assert zipped(clean) == zipped(run)
        assert zipped(run, bytecode=True) != zipped(run)


class TestPrebuiltLayer:
    @pytest.fixture
    def release(self) -> Iterator[Callable[[bytes], str]]:
        """A web server with one file; its URL."""
        served: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path in served else 404)
                self.end_headers()
                self.wfile.write(served.get(self.path, b""))

            def log_message(self, *_: Any) -> None: ...

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()

            def publish(data: bytes) -> str:
                served["/layer.zip"] = data
                return f"http://127.0.0.1:{server.server_port}/layer.zip"

            yield publish
            server.shutdown()
            thread.join()

    def wheel(self, folder: Path, url: str, sha256: str) -> Sources:
        layers = f'{{"arm64": {{"url": "{url}", "sha256": "{sha256}"}}}}'
        (folder / "layers.json").write_text(layers)
        return Sources(folder, folder)

    def test_is_downloaded_and_checked(
        self, tmp_path: Path, release: Callable[[bytes], str]
    ) -> None:
        layer = runtime_layer(
            self.wheel(tmp_path, release(b"a layer"), sha256(b"a layer")), "arm64"
        )
        assert (layer.digest, layer.read()) == (sha256(b"a layer"), b"a layer")

    def test_other_content_is_refused(
        self, tmp_path: Path, release: Callable[[bytes], str]
    ) -> None:
        layer = runtime_layer(
            self.wheel(tmp_path, release(b"changed"), sha256(b"a layer")), "arm64"
        )
        with pytest.raises(LayerBuildError, match="is not the runtime layer of this release"):
            layer.read()

    def test_missing_file_is_explained(
        self, tmp_path: Path, release: Callable[[bytes], str]
    ) -> None:
        url = release(b"").replace("layer", "other")
        layer = runtime_layer(self.wheel(tmp_path, url, sha256(b"")), "arm64")
        with pytest.raises(LayerBuildError, match="could not be downloaded: 404"):
            layer.read()


@pytest.fixture
def account(aws: None, boto_client: Callable[[str], Any]) -> Aws:
    names = ("s3", "dynamodb", "ssm", "sts", "cloudformation")
    return Aws(boto3.Session(), None, {name: boto_client(name) for name in names})


class TestApiKey:
    def test_is_stored_encrypted_and_found(self, account: Aws) -> None:
        assert not api_key.is_stored(account, "/a/key")
        api_key.store(account, "/a/key", " secret\n")
        assert api_key.is_stored(account, "/a/key")
        found = account.client("ssm").get_parameter(Name="/a/key", WithDecryption=True)["Parameter"]
        assert (found["Type"], found["Value"]) == ("SecureString", "secret")

    def test_replaces_older_one(self, account: Aws) -> None:
        api_key.store(account, "/a/key", "old")
        api_key.store(account, "/a/key", "new")
        found = account.client("ssm").get_parameter(Name="/a/key", WithDecryption=True)["Parameter"]
        assert found["Value"] == "new"

    @pytest.mark.parametrize("key", ["", "\n", "two words", "schlüssel", "tab\tkey"])
    def test_what_cannot_be_key_is_refused(self, account: Aws, key: str) -> None:
        with pytest.raises(DeploymentError, match="not an API key"):
            api_key.store(account, "/a/key", key)
        assert not api_key.is_stored(account, "/a/key")

    def test_key_without_encryption_is_refused(self, account: Aws) -> None:
        account.client("ssm").put_parameter(Name="/a/key", Value="secret", Type="String")
        with pytest.raises(DeploymentError, match="not encrypted"):
            api_key.is_stored(account, "/a/key")


class TestKept:
    def table(self, account: Aws, name: str) -> None:
        account.client("dynamodb").create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def found(self, account: Aws) -> Mapping[str, str]:
        return {each.resource: each.name for each in kept.find(account, "shop", ())}

    def test_nothing_is_found_where_nothing_was(self, account: Aws) -> None:
        self.table(account, "shopping-StateTable-1")
        assert self.found(account) == {}

    def test_buckets_and_newest_table_are_found(self, account: Aws) -> None:
        bucket = f"shop-input-{account.account}-{account.region}"
        account.client("s3").create_bucket(Bucket=bucket)
        self.table(account, "shop-StateTable-OLD")
        self.table(account, "shop-StateTable-NEW")
        assert self.found(account) == {"InputBucket": bucket, "StateTable": "shop-StateTable-NEW"}

    def test_what_another_bucket_replaces_is_not_taken_up(self, account: Aws) -> None:
        account.client("s3").create_bucket(Bucket=f"shop-input-{account.account}-{account.region}")
        assert kept.find(account, "shop", ["InputBucket"]) == ()


class TestExistingBuckets:
    @pytest.fixture
    def bucket(self, account: Aws) -> str:
        account.client("s3").create_bucket(Bucket="photos")
        return "photos"

    def obstacles(self, account: Aws, name: str, kms_key: str = "") -> list[str]:
        found = existing_buckets.obstacles(account, name, "ExistingInputBucket", kms_key)
        return [each.text for each in found]

    def encrypt(self, account: Aws, name: str, key: str) -> None:
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
        account.client("s3").put_bucket_encryption(
            Bucket=name,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
            },
        )

    def test_bucket_of_this_account_and_region_is_good(self, account: Aws, bucket: str) -> None:
        assert self.obstacles(account, bucket) == []

    def test_bucket_of_another_region_is_named(self, account: Aws) -> None:
        account.client("s3").create_bucket(
            Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        [text] = self.obstacles(account, "far")
        assert text == "The bucket far is in the region eu-west-1, and the stack in us-east-1."

    @pytest.mark.parametrize("status", [403, 301])
    def test_bucket_of_another_account_or_region_is_named(
        self, account: Aws, bucket: str, status: int
    ) -> None:
        s3 = account.client("s3")
        headers = {"x-amz-bucket-region": "eu-west-1"}
        with Stubber(s3) as stubber:
            stubber.add_client_error(
                "head_bucket",
                str(status),
                http_status_code=status,
                response_meta={"HTTPHeaders": headers},
            )
            [text] = self.obstacles(account, bucket)
        told = {403: "belongs to another account", 301: "is in the region eu-west-1"}
        assert told[status] in text

    def test_key_that_functions_may_not_use_is_named(self, account: Aws, bucket: str) -> None:
        key = "arn:aws:kms:us-east-1:123456789012:key/1234"
        self.encrypt(account, bucket, key)

        [text] = self.obstacles(account, bucket)
        assert key in text
        assert self.obstacles(account, bucket, key) == []

    def test_key_of_aws_itself_is_good(self, account: Aws, bucket: str) -> None:
        self.encrypt(account, bucket, "arn:aws:kms:us-east-1:123456789012:alias/aws/s3")
        assert self.obstacles(account, bucket) == []

    def habits(self, account: Aws, name: str) -> list[str]:
        return [each.text for each in existing_buckets.habits(account, name)]

    def test_bucket_without_versions_is_usable_and_named(self, account: Aws, bucket: str) -> None:
        [text] = self.habits(account, bucket)
        assert "keeps no versions" in text
        assert self.obstacles(account, bucket) == []

        s3 = account.client("s3")
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        assert self.habits(account, bucket) == []
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
        assert self.habits(account, bucket) == [text]

    @pytest.mark.parametrize(
        ("retention", "words"),
        [({"Days": 1}, "for 1 day (Object Lock)"), ({"Years": 7}, "for 7 years (Object Lock)")],
    )
    def test_default_retention_is_named_and_lock_alone_is_not(
        self, account: Aws, retention: dict[str, int], words: str
    ) -> None:
        s3 = account.client("s3")
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        assert self.habits(account, "locked") == []

        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", **retention}}
        s3.put_object_lock_configuration(
            Bucket="locked",
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule},
        )
        [text] = self.habits(account, "locked")
        assert words in text
        assert self.obstacles(account, "locked") == []

    def test_requester_pays_is_named(self, account: Aws, bucket: str) -> None:
        s3 = account.client("s3")
        with Stubber(s3) as stubber:  # moto has no request payment
            stubber.add_response("get_bucket_request_payment", {"Payer": "Requester"})
            stubber.add_client_error(
                "get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"
            )
            stubber.add_response("get_bucket_versioning", {"Status": "Enabled"})
            [text] = self.habits(account, bucket)
        assert "is Requester Pays" in text
        assert "the owner pays" in text

    def test_stacks_own_bucket_for_results_counts_as_well(self, account: Aws, bucket: str) -> None:
        own = f"shop-output-{account.account}-{account.region}"
        values = template.defaults(TEXT) | {"ExistingInputBucket": own}
        with pytest.raises(DeploymentError, match="neither contains the other"):
            existing_buckets.check(account, "shop", values.__getitem__)


class TestWebhook:
    URL = "https://shop.example/hook"

    def test_without_url_nothing_is_needed(self, account: Aws) -> None:
        webhook.check(account, "", "/a/secret")

    def test_missing_secret_is_named_with_its_cure(self, account: Aws) -> None:
        with pytest.raises(DeploymentError, match="put-parameter --name /a/secret --type String"):
            webhook.check(account, self.URL, "/a/secret")

    def test_secret_that_cloudformation_cannot_read_is_named(self, account: Aws) -> None:
        account.client("ssm").put_parameter(Name="/a/secret", Value="x", Type="SecureString")
        with pytest.raises(DeploymentError, match="is a SecureString"):
            webhook.check(account, self.URL, "/a/secret")

    def test_string_is_good(self, account: Aws) -> None:
        account.client("ssm").put_parameter(Name="/a/secret", Value="x", Type="String")
        webhook.check(account, self.URL, "/a/secret")
