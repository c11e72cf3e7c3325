"""Objects of either bucket, as `put` looks at them."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from image_drop.events import Place
from image_drop.storage.s3 import MISSING, code_of

BY_PUT = {"written-by": "image-drop put"}  # metadata of instructions


@dataclass(frozen=True)
class StoredObject:
    """One object; `changed_at` in seconds since 1970, by S3's clock.

    `key` as Image Drop has it, below the bucket's prefix; `place` as S3 has it.
    `sha256` as S3 has it, in base64; None where the object was stored without one. `by_put`: these
    are instructions that `put` wrote, and nobody has replaced them since.
    """

    key: str
    place: Place
    etag: str
    size: int
    changed_at: float
    edit_id: str | None
    sha256: str | None
    by_put: bool = False


def find_object(s3: Any, key: str, place: Place) -> StoredObject | None:
    """Return the object at the place of `key`, or None. Raise boto3's `ClientError`."""
    try:
        head = s3.head_object(Bucket=place.bucket, Key=place.key, ChecksumMode="ENABLED")
    except ClientError as error:
        if code_of(error) in MISSING:
            return None
        raise
    return StoredObject(
        key,
        place,
        head["ETag"].strip('"'),
        head["ContentLength"],
        head["LastModified"].timestamp(),
        head["Metadata"].get("edit-id"),
        head.get("ChecksumSHA256"),
        head["Metadata"].items() >= BY_PUT.items(),
    )
