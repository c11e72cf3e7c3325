"""The two buckets as people see them: images go in, results and reports come out."""

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlencode

from botocore.exceptions import ClientError
from PIL import Image

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Buckets:
    """The input and the output bucket of a stack, wherever it runs."""

    def __init__(self, s3: "S3Client", input: str, output: str) -> None:
        self.s3, self.input, self.output = s3, input, output

    def store(
        self,
        key: str,
        data: bytes,
        tags: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Put an object into the input bucket."""
        self.s3.put_object(
            Bucket=self.input,
            Key=key,
            Body=data,
            Tagging=urlencode(tags or {}),
            Metadata=dict(metadata or {}),
        )

    def created(self, key: str) -> dict[str, Any]:
        """Return the part that matters of the event that S3 sends about an upload."""
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

    def outputs(self, prefix: str = "") -> list[str]:
        """Return the keys in the output bucket, in order."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.output, Prefix=prefix)
        return sorted(each["Key"] for page in pages for each in page.get("Contents", []))

    def head(self, key: str) -> Mapping[str, Any]:
        """Return headers and metadata of an object in the output bucket; {} where none is."""
        try:
            return self.s3.head_object(Bucket=self.output, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return {}
            raise

    def read(self, key: str) -> bytes:
        """Return the bytes of an object in the output bucket."""
        return self.s3.get_object(Bucket=self.output, Key=key)["Body"].read()

    def metadata(self, key: str) -> dict[str, str]:
        """Return a result's metadata."""
        found: dict[str, str] = self.head(key)["Metadata"]
        return found

    def result(self, key: str) -> Image.Image:
        """Return a result, decoded."""
        image = Image.open(io.BytesIO(self.read(key)))
        image.load()
        return image

    def report(self, key: str) -> dict[str, Any]:
        """Return the report about an image (or, as `key.variant`, about one variant)."""
        report: dict[str, Any] = json.loads(self.read(f"{key}.error.json"))
        return report
