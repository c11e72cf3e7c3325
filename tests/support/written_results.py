"""Records of results that nobody has made, for a gallery of any length."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from typing import Any

import msgspec
from PIL import Image

from image_drop.state.edit_record import Outcome, OutcomeKind, Record, record_id
from image_drop_cli.deployment import Deployment

TOGETHER = 25  # items in one request; DynamoDB's limit
FIRST = 1_600_000_000.0  # when the first was made; each is a second later than the one before


def write_results(deployment: Deployment, folder: str, count: int) -> None:
    """Results of images `folder` + number, which all have the same picture."""
    target = io.BytesIO()
    Image.new("RGBA", (400, 300), (200, 80, 60, 160)).save(target, "PNG")
    key = f"{folder}same.png"
    deployment.services.output_bucket.put_output(
        key, target.getvalue(), "image/png", {"edit-id": "same"}
    )
    dynamodb, table = deployment.client("dynamodb"), deployment.outputs["StateTableName"]

    def write(some: tuple[Any, ...]) -> None:
        dynamodb.batch_write_item(RequestItems={table: list(some)})

    with ThreadPoolExecutor(8) as pool:
        items = _items(deployment.input_bucket, folder, key, count)
        list(pool.map(write, batched(items, TOGETHER, strict=False)))


def _items(bucket: str, folder: str, key: str, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        outcome = Outcome(
            kind=OutcomeKind.RESULT,
            edit_id=f"{number}",
            drops=(),
            source_etag="",
            key=key,
            etag="",
            at=FIRST + number,
        )
        item = {
            "id": {"S": record_id(bucket, f"{folder}{number:06}.png", None)},
            "version": {"N": "1"},
            "record": {"S": msgspec.json.encode(Record(outcome=outcome)).decode()},
        }
        yield {"PutRequest": {"Item": item}}
