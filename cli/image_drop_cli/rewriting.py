"""Other instructions for images that are in the bucket, in their sidecars or in a folder file."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from itertools import batched
from typing import TYPE_CHECKING, Any

from image_drop import edits
from image_drop.edits import Edit
from image_drop.errors import PermanentError
from image_drop.instructions.sources import checked, from_file, presets_in, resolve
from image_drop.storage.input_bucket import InputObject
from image_drop.uploads import FOLDER_FILE, SIDECAR_SUFFIX
from image_drop_cli.image_records import READ_TOGETHER, read_records
from image_drop_cli.planning import plan_image
from image_drop_cli.upload.objects import BY_PUT
from image_drop_cli.upload.plan import Plan, plan_images

if TYPE_CHECKING:
    from image_drop.services import Services
    from image_drop_cli.deployment import Deployment


def sidecars(
    images: Iterable[tuple[str, str | None]], changes: Mapping[str, Any], deployment: "Deployment"
) -> dict[str, bytes]:
    """Return the sidecars that give images other instructions, by their keys.

    `images`: keys, and the variant that is meant. What a sidecar says already stays, but for
    `changes`; one that cannot be read is replaced.
    """
    contents: dict[str, dict[str, Any]] = {}
    for key, variant in images:
        if key not in contents:
            contents[key] = _present(key + SIDECAR_SUFFIX, deployment)
        if variant is None:
            contents[key] |= changes
        else:
            variants = contents[key].get("variants") or _variants(key, deployment)
            own = {**variants.get(variant, {}), **changes}
            contents[key]["variants"] = {**variants, variant: own}
    return {key + SIDECAR_SUFFIX: _encoded(content) for key, content in contents.items()}


def folder_file(folder: str, instructions: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the file that instructs all images of a folder. `folder`: with its slash, or ""."""
    return {folder + FOLDER_FILE: _encoded(instructions)}


def require_valid(files: Mapping[str, bytes]) -> None:
    """Raise an `InstructionsError` if one of the files is wrong, whatever else is given."""
    for key, content in files.items():
        source = from_file(key, content)
        checked(source, presets_in([source]))
        if key.endswith(SIDECAR_SUFFIX) and ({"mode", "prompt"} & source.values.keys()):
            resolve([source])


def plan_rewritten(
    files: Mapping[str, bytes], keys: Iterable[str], deployment: "Deployment"
) -> Plan:
    """Return what images will cost once these files are in the input bucket; nothing is written."""
    seeing = with_files(files, deployment.services)
    return plan_images(dict.fromkeys(keys), deployment, services=seeing)


def with_files(files: Mapping[str, bytes], services: "Services") -> "Services":
    """Return services that see the input bucket as it will be with these files."""
    bucket = services.input_bucket
    seen: Any = _Rewritten(bucket.s3, {bucket.prefix + key: each for key, each in files.items()})
    return replace(services, input_bucket=replace(bucket, s3=seen))


def same_edits(
    files: Mapping[str, bytes], images: Iterable[tuple[str, str | None]], deployment: "Deployment"
) -> Iterator[tuple[str, str | None]]:
    """Yield the images whose last edit these files ask for once more.

    Writing the files does not start it again, because it has its outcome.
    """
    seeing, bucket = with_files(files, deployment.services), deployment.input_bucket
    for some in batched(images, READ_TOGETHER, strict=False):
        records = read_records(deployment, some)
        for key, variant in some:
            record = records.get((key, variant))
            last = record.outcome.edit_id if record and record.outcome else ""
            with suppress(PermanentError):
                planned = [plan.outcome for plan in plan_image(key, seeing, bucket)]
                if last in [each.id for each in planned if isinstance(each, Edit)]:
                    yield key, variant


def rewrite(files: Mapping[str, bytes], deployment: "Deployment") -> None:
    """Write the files. A sidecar starts the edit of its image; `put` may replace it later."""
    for key, content in files.items():
        place = deployment.input_place(key)
        deployment.client("s3").put_object(
            Bucket=place.bucket,
            Key=place.key,
            Body=content,
            ContentType="application/json",
            Metadata=BY_PUT,
        )


def folder_of(key: str) -> str:
    """Return the folder of an image, with its slash; "" for the bucket itself."""
    return key[: key.rfind("/") + 1]


@dataclass(frozen=True)
class _Rewritten:
    """An S3 client that only reads, with some files as they will be."""

    s3: Any
    files: Mapping[str, bytes]

    def get_object(self, *, Bucket: str, Key: str, **others: Any) -> Any:  # noqa: N803
        """Answer as S3 does."""
        if (content := self.files.get(Key)) is None:
            return self.s3.get_object(Bucket=Bucket, Key=Key, **others)
        return {"Body": BytesIO(content), "LastModified": datetime.now(UTC)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.s3, name)


def _present(key: str, deployment: "Deployment") -> dict[str, Any]:
    """Return what a file in the input bucket says; nothing if it is missing or unreadable."""
    place = deployment.input_place(key)
    s3 = deployment.client("s3")
    try:
        body = s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read()
        return dict(from_file(key, body).values)
    except (PermanentError, s3.exceptions.ClientError):
        return {}


def _variants(key: str, deployment: "Deployment") -> dict[str, Any]:
    """Return the variants that an image has by its other instructions."""
    services, bucket = deployment.services, deployment.input_bucket
    image = services.input_bucket.find_object(bucket, key)
    image = image or InputObject(bucket, key, "", 0, datetime.now(UTC), {}, tagged=False)
    for source in edits.instruction_sources(image, services):
        if isinstance(found := source.values.get("variants"), Mapping):
            return dict(found)
    return {}


def _encoded(instructions: Mapping[str, Any]) -> bytes:
    return (json.dumps(instructions, indent=2, ensure_ascii=False) + "\n").encode()
