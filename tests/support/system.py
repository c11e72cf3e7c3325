"""The deployed system as people see it: files go in, results and reports come out."""

import hashlib
import io
import json
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote_plus, urlencode

from botocore.exceptions import ClientError
from PIL import Image, ImageDraw

from image_drop.storage.retry_queue import depth_of
from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Call, Simulator
from tests.support.waiting import until

PATIENCE = 60.0  # seconds for what takes less than one on an idle machine, and may share a busy one
CUT_OUT = {"mode": "background-remove"}


def photo(name: str, size: tuple[int, int] = (320, 260)) -> bytes:
    """A product shot on white. Each name gives other pixels, which tell its calls apart."""
    image = Image.new("RGB", size, "white")
    width, height = size
    checksum = zlib.crc32(name.encode())
    box = (width * 0.25, height * 0.25, width * 0.75, height * 0.75)
    draw = ImageDraw.Draw(image)
    draw.rectangle(box, fill=f"#{checksum % 0x808080:06x}")
    for bit in range(32):  # as black and white squares: JPEG makes similar colours the same
        if checksum >> bit & 1:
            draw.rectangle((8 * bit, 0, 8 * bit + 7, 7), fill="black")
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


class System:
    """A stack, the simulated Venice behind it, and the clients of a person who uses them."""

    def __init__(self, stack: Stack, venice: Simulator) -> None:
        self.stack, self.venice = stack, venice
        self.s3 = stack.client("s3")
        self.sqs = stack.client("sqs")
        self.functions = stack.client("lambda")
        self.dynamodb = stack.client("dynamodb")
        self.input = stack.outputs["InputBucketName"]
        self.output = stack.outputs["OutputBucketName"]
        self.table = stack.outputs["StateTableName"]
        self.queue = stack.outputs["RetryQueueUrl"]
        self.dead_letters = stack.outputs["DeadLetterQueueUrl"]

    # --- what people do --------------------------------------------------------------------

    def drop(
        self,
        key: str,
        data: bytes | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        sidecar: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Upload an image, after its sidecar; its bytes."""
        data = photo(key) if data is None else data
        if sidecar is not None:
            self.put_json(f"{key}.json", **sidecar)
        self.s3.put_object(
            Bucket=self.input,
            Key=key,
            Body=data,
            Tagging=urlencode(tags or {}),
            Metadata=dict(metadata or {}),
        )
        return data

    def drop_all(self, instructions: Mapping[str, Mapping[str, str]]) -> None:
        """Upload many photos at once; their tags by their keys."""
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda item: self.drop(item[0], tags=item[1]), instructions.items()))

    def put_json(self, key: str, **content: Any) -> None:
        """Upload a sidecar or folder file."""
        self.s3.put_object(Bucket=self.input, Key=key, Body=json.dumps(content).encode())

    # --- what comes out --------------------------------------------------------------------

    def outputs(self, prefix: str = "") -> set[str]:
        """The keys in the output bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.output, Prefix=prefix)
        return {each["Key"] for page in pages for each in page.get("Contents", [])}

    def head(self, key: str) -> dict[str, Any]:
        """Headers and metadata of an object in the output bucket; {} where there is none."""
        try:
            return self.s3.head_object(Bucket=self.output, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return {}
            raise

    def metadata(self, key: str) -> dict[str, str]:
        """A result's metadata, once it is there."""
        return until(lambda: self.head(key), PATIENCE)["Metadata"]

    def read(self, key: str) -> bytes:
        """The bytes of an object in the output bucket, once it is there."""
        until(lambda: self.head(key), PATIENCE)
        return self.s3.get_object(Bucket=self.output, Key=key)["Body"].read()

    def result(self, key: str) -> Image.Image:
        """A result, decoded, once it is there."""
        image = Image.open(io.BytesIO(self.read(key)))
        image.load()
        return image

    def report(self, key: str) -> dict[str, Any]:
        """The report about an image (or, as `key.variant`, about one variant), once it is there."""
        return json.loads(self.read(f"{key}.error.json"))

    # --- what happens inside ---------------------------------------------------------------

    def calls(self, data: bytes | None = None) -> list[Call]:
        """The edits that Venice was asked for: of these bytes, or all."""
        sha256 = None if data is None else hashlib.sha256(data).hexdigest()
        return [
            call
            for call in self.venice.calls
            if "/image/" in call.path and sha256 in (None, call.image_sha256)
        ]

    def paid(self, data: bytes) -> int:
        """How many edits of these bytes Venice was paid for."""
        return sum(call.paid for call in self.calls(data))

    def waiting(self) -> int:
        """Messages in the retry queue: visible, delayed, or hidden."""
        return depth_of(self.sqs, self.queue).total

    def dead(self) -> int:
        """Messages in the dead-letter queue."""
        return depth_of(self.sqs, self.dead_letters).total

    def runs(self, function: str) -> int:
        """How often a function has come to its end."""
        return sum(line.startswith("END RequestId") for line in self.stack.logs(function))

    def log(self, function: str, key: str) -> list[dict[str, Any]]:
        """What a function has logged about an image."""
        lines = [json.loads(line) for line in self.stack.logs(function) if line.startswith("{")]
        return [line for line in lines if line.get("key") == key]

    def invoke(self, logical_id: str, event: Mapping[str, Any]) -> Any:
        """Run a function; its answer, or `None` where it died."""
        answer = self.functions.invoke(
            FunctionName=self.stack.physical_id(logical_id), Payload=json.dumps(event)
        )
        payload = json.load(answer["Payload"])
        return None if "FunctionError" in answer else payload

    def created(self, key: str) -> dict[str, Any]:
        """The event that S3 sends when an object was uploaded."""
        return {
            "Records": [
                {
                    "eventVersion": "2.6",
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "bucket": {"name": self.input},
                        "object": {"key": quote_plus(key, safe="/")},
                    },
                }
            ]
        }

    def message(self, key: str) -> str:
        """The message of the retry queue about an image."""
        return json.dumps({"bucket": self.input, "key": key})
