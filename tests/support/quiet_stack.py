"""A stack without functions, in moto: what is dropped stays as it is until the test acts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import msgspec

from image_drop import edits
from image_drop.edits import Edit
from image_drop.errors import NotAnImageError, PermanentError
from image_drop.storage import output_bucket
from image_drop.uploads import Upload, from_message
from image_drop_cli.aws import Aws
from image_drop_cli.deployment import PARAMETERS, Deployment
from image_drop_cli.upload.events import Event, NotSent
from image_drop_cli.upload.folders import LocalFile
from image_drop_cli.upload.run import UploadRun
from tests.support.account import INPUT_BUCKET, OUTPUT_BUCKET, TABLE
from tests.support.account_settings import answer_account_settings


@dataclass(frozen=True)
class QuietStack:
    """The deployment, and what a test does in the place of its functions."""

    deployment: Deployment

    @property
    def s3(self) -> Any:
        return self.deployment.client("s3")

    def send(self, *files: LocalFile | NotSent, **options: Any) -> list[Event]:
        """What happens when these are sent and nobody waits for results."""
        run = UploadRun(self.deployment, options.pop("out", None), follow=False, **options)
        return [event for event in run.events(files) if event]

    def edit(self, key: str) -> Edit:
        """What the functions would make of a key."""
        services = self.deployment.services
        wanted = edits.load_instructions(Upload(INPUT_BUCKET, key), services)
        return edits.plan_edit(wanted, None, services)

    def make(self, key: str, data: bytes = b"a picture") -> str:
        """Store the result of a key; where."""
        edit = self.edit(key)
        self.deployment.services.output_bucket.store_output(
            edit.output_key, data, "image/png", {"edit-id": edit.id}, None
        )
        return edit.output_key

    def report(self, key: str, edit_id: str | None, error: PermanentError | None = None) -> None:
        """Store a report on a key."""
        report = output_bucket.report_on(
            error or NotAnImageError("It is a text."),
            key=key,
            variant=None,
            mode=None,
            attempts=1,
            now=0.0,
        )
        metadata = output_bucket.as_metadata({"code": report.code, "edit-id": edit_id})
        self.s3.put_object(
            Bucket=OUTPUT_BUCKET,
            Key=output_bucket.report_key(key, None),
            Body=output_bucket.encoded(report),
            Metadata=metadata,
        )

    def queued(self) -> list[Upload]:
        """What waits in the retry queue; it is taken out."""
        found = self.deployment.client("sqs").receive_message(
            QueueUrl=self.deployment.outputs["RetryQueueUrl"], MaxNumberOfMessages=10
        )
        return [
            upload for each in found.get("Messages", []) for upload in from_message(each["Body"])
        ]

    def versions(self, key: str) -> int:
        """How often something was put under a key."""
        found = self.s3.list_object_versions(Bucket=INPUT_BUCKET, Prefix=key)
        return sum(each["Key"] == key for each in found.get("Versions", []))

    def body(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=INPUT_BUCKET, Key=key)["Body"].read())


def quiet_stack(client: Callable[[str], Any], **parameters: str) -> QuietStack:
    """Expects the buckets and the table of `tests.conftest` to be there.

    `parameters`: the template's; without one, the functions' own defaults count.
    """
    sqs = client("sqs")
    outputs = {
        "InputBucketName": INPUT_BUCKET,
        "OutputBucketName": OUTPUT_BUCKET,
        "RetryQueueUrl": sqs.create_queue(QueueName="retry")["QueueUrl"],
        "DeadLetterQueueUrl": sqs.create_queue(QueueName="dead")["QueueUrl"],
        "StateTableName": TABLE,
    }
    given = dict.fromkeys(PARAMETERS.values(), "") | {"VeniceApiKeyParameter": "/key"} | parameters
    clients = {name: client(name) for name in ("s3", "sqs", "dynamodb", "ssm", "events", "lambda")}
    answer_account_settings(clients["lambda"])
    return QuietStack(Deployment("image-drop", Aws(boto3.Session(), None, clients), outputs, given))


def file(folder: Path, name: str, content: bytes | dict[str, Any] = b"a photo") -> Path:
    """A file with its folders; a dict is written as JSON."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else msgspec.json.encode(content))
    return path
