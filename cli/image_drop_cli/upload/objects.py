"""Objects of either bucket, as `put` looks at them."""

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from image_drop.events import Place
from image_drop.storage.s3 import MISSING, code_of


@dataclass(frozen=True)
class StoredObject:
    """One object; `changed_at` in seconds since 1970, by S3's clock.

    `key` as Image Drop has it, below the bucket's prefix; `place` as S3 has it.
    `sha256` as S3 has it, in base64; None where the object was stored without one.
    """

    key: str
    place: Place
    etag: str
    size: int
    changed_at: float
    edit_id: str | None
    sha256: str | None


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
    )
