"""The records of images in the state table, as a person asks for them: all, some, or a prefix."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from image_drop.state.edit_record import Record, place_of, record_id
from image_drop.state.records import stored

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

READ_TOGETHER = 100  # records in one request; DynamoDB's limit


@dataclass(frozen=True)
class ImageRecord:
    """The record of an image, or of one variant of it. `key`: below `InputPrefix`."""

    key: str
    variant: str | None
    record: Record


def scan_records(deployment: "Deployment", prefix: str = "") -> Iterator[ImageRecord]:
    """Yield the record of each image whose key begins with `prefix`, in no order.

    The whole table is read, because its only key is the id: 100,000 records of 1 KB are 100 MB,
    which are 100 requests and less than a cent, whatever the prefix. Images that were deleted are
    among them.
    """
    condition, values = "begins_with(id, :kind)", {":kind": {"S": "edit#"}}
    if prefix:
        condition += " AND contains(id, :place)"
        values[":place"] = {"S": f"/{prefix}"}
    pages = deployment.client("dynamodb").get_paginator("scan")
    for page in pages.paginate(
        TableName=deployment.outputs["StateTableName"],
        FilterExpression=condition,
        ExpressionAttributeValues=values,
    ):
        for item in page["Items"]:
            found = _found(item["id"]["S"], item)
            if found and found.key.startswith(prefix):
                yield found


def read_records(
    deployment: "Deployment", images: Sequence[tuple[str, str | None]]
) -> dict[tuple[str, str | None], Record]:
    """Return up to 100 records by key and variant; images without a record are left out."""
    ids = {record_id(deployment.input_bucket, *image): image for image in images}
    records = deployment.services.records.read_records(list(ids))
    return {ids[id]: record for id, record in records.items()}


def _found(id: str, item: Any) -> ImageRecord | None:
    place = place_of(id)
    if place is None:
        return None
    bucket_and_key, variant = place
    return ImageRecord(bucket_and_key.partition("/")[2], variant, stored(id, item).record)
