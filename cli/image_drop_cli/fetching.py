"""Results and reports on this machine: each one once, whole, and only where it belongs."""

import hashlib
import os
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
)

from image_drop.storage.output_bucket import ANSWERS, MARKS
from image_drop.storage.s3 import MISSING, REFUSED, code_of
from image_drop_cli.crew import Crew
from image_drop_cli.saving import moved_into_place

if TYPE_CHECKING:
    from image_drop.events import Place
    from image_drop_cli.deployment import Deployment

THREADS = 8  # files that are compared or fetched at a time
TRIES = 3  # at an object that arrives damaged
CHUNK = 1 << 20  # bytes in memory for each of them
UNSAFE = '<>:"|?*\\' if os.name == "nt" else ""  # characters that the file system does not take


@dataclass(frozen=True)
class Found:
    """A result or report in the output bucket, as a listing shows it.

    `key`: below `OutputPrefix`. `changed_at` in seconds since 1970, by S3's clock.
    """

    key: str
    place: "Place"
    etag: str
    size: int
    changed_at: float


@dataclass(frozen=True)
class Fetched:
    """A file is here now. `already`: it was, with the same size and checksum."""

    key: str
    path: Path
    size: int
    already: bool


@dataclass(frozen=True)
class NotFetched:
    """A file could not be fetched. `reason` also says what to do."""

    key: str
    reason: str


class UnsafeKeyError(Exception):
    """Raised when a key has no safe place on this machine; its text is a reason."""


class DamagedError(Exception):
    """Raised when the bytes that came are not those that S3 has."""


def listing(deployment: "Deployment", prefix: str = "", since: float = 0.0) -> Iterator[Found]:
    """Yield what the output bucket has below a prefix, a thousand keys a request.

    `since`: only what was stored since then. Kept answers are not results, so they are left out.
    """
    bucket = deployment.services.output_bucket
    base = bucket.prefix
    pages = deployment.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=bucket.bucket, Prefix=base + prefix):
        for each in page.get("Contents", ()):
            key, changed_at = each["Key"].removeprefix(base), each["LastModified"].timestamp()
            if changed_at >= since and not key.startswith(ANSWERS):
                place = bucket.place(key)
                yield Found(key, place, each["ETag"].strip('"'), each["Size"], changed_at)


def ignores_case(folder: Path) -> bool:
    """Return whether `A` and `a` are the same file in a folder; make the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=".Case") as file:
        name = Path(file.name)
        return name.with_name(name.name.swapcase()).exists()


def fetch(
    deployment: "Deployment",
    out: Path,
    prefix: str = "",
    since: float = 0.0,
    ignores_case: Callable[[Path], bool] = ignores_case,
) -> Iterator[Fetched | NotFetched]:
    """Fetch results and reports into `out`, and yield what happened to each.

    A file that is here with the same size and checksum is not fetched again, so a run that was
    stopped continues. Objects that Image Drop did not make are left out. Where the file system
    ignores case, the first of two keys gets the file. Raise boto3's errors if the bucket cannot be
    used.
    """
    taken: dict[str, str] | None = {} if ignores_case(out) else None
    s3 = deployment.client("s3")
    crew: Crew[Fetched | NotFetched | None] = Crew(THREADS, "fetch")
    with closing(crew):
        for found in listing(deployment, prefix, since):
            if taken is not None:
                first = taken.setdefault(found.key.casefold(), found.key)
                if first != found.key:
                    yield NotFetched(found.key, _same_file(first))
                    continue
            crew.begin("fetch", _fetched, found, out, s3)
            while crew.running["fetch"] >= 2 * THREADS:
                yield from filter(None, crew.results())
        while crew.busy:
            yield from filter(None, crew.results())


def _same_file(first: str) -> str:
    return (
        f"This file system ignores case, and {first} has its name. Fetch it into another folder, "
        "with its own prefix and --out."
    )


def local_path(out: Path, key: str) -> Path:
    """Return where the object at a key is saved below `out`. Raise `UnsafeKeyError`.

    Keys are written by strangers. A key gets the path that it looks like, and no two keys get the
    same one. What would leave `out`, also through a link there, has no place.
    """
    parts = key.split("/")
    path = out.joinpath(*parts)
    if any(part in ("", ".", "..") or set(part) & {*UNSAFE, "\0"} for part in parts) or not (
        path.resolve().is_relative_to(out.resolve())
    ):
        raise UnsafeKeyError(
            f"It cannot be saved below {out}, because its key is no plain path. Download it from "
            "the output bucket under another name."
        )
    return path


def save(s3: Any, place: "Place", path: Path) -> int | None:
    """Write an object to `path`, whole or not at all; return its size, or None if it is not ours.

    The file gets the object's time. boto3 checks the checksum that S3 has of it, and the MD5 is
    checked too, where the ETag is one. Raise `DamagedError`.
    """
    answer = s3.get_object(Bucket=place.bucket, Key=place.key, ChecksumMode="ENABLED")
    with answer["Body"] as body:
        if answer["Metadata"].keys().isdisjoint(MARKS):
            return None
        md5, size = hashlib.md5(usedforsecurity=False), 0
        with moved_into_place(path) as part:
            with part.open("xb") as file:
                while data := body.read(CHUNK):
                    md5.update(data)
                    size += file.write(data)
            etag = answer["ETag"].strip('"')
            encrypted = answer.get("ServerSideEncryption", "").startswith("aws:kms")
            is_md5 = "-" not in etag and not encrypted
            if size != answer["ContentLength"] or (is_md5 and etag != md5.hexdigest()):
                raise DamagedError(place.key)
            changed_at = answer["LastModified"].timestamp()
            os.utime(part, (changed_at, changed_at))
    return size


def _fetched(found: Found, out: Path, s3: Any) -> Fetched | NotFetched | None:
    """Return what became of one object; None if it is gone, or not Image Drop's."""
    try:
        path = local_path(out, found.key)
        if is_same(path, found, s3):
            return Fetched(found.key, path, found.size, already=True)
        size = save_undamaged(s3, found.place, path)
    except UnsafeKeyError as error:
        return NotFetched(found.key, str(error))
    except BotoCoreError:  # some of them are OSErrors, too
        raise
    except OSError as error:
        return NotFetched(found.key, f"{error.filename or found.key}: {error.strerror or error}.")
    except DamagedError:
        return NotFetched(found.key, f"It arrived damaged {TRIES} times. Run the command again.")
    except ClientError as error:
        if code_of(error) in MISSING:
            return None
        if code_of(error) in REFUSED:
            reason = f"S3 refuses it ({code_of(error)}). Ask for the permission to read it."
            return NotFetched(found.key, reason)
        raise
    return None if size is None else Fetched(found.key, path, size, already=False)


def save_undamaged(s3: Any, place: "Place", path: Path) -> int | None:
    """Do what `save` does, a few times if it arrives damaged. Raise `DamagedError`."""
    for _ in range(TRIES):
        with suppress(DamagedError, FlexibleChecksumError, IncompleteReadError):
            return save(s3, place, path)
    raise DamagedError(place.key)


def is_same(path: Path, found: Found, s3: Any) -> bool:
    """Return whether a file has the bytes of an object: its size, and its checksum as S3 has it.

    S3 is asked only if the ETag is not the MD5 of the file, such as with a KMS key.
    """
    if not path.is_file() or path.stat().st_size != found.size:
        return False
    md5, sha256, crc32 = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            md5.update(data)
            sha256.update(data)
            crc32 = zlib.crc32(data, crc32)
    if md5.hexdigest() == found.etag:
        return True
    head = s3.head_object(Bucket=found.place.bucket, Key=found.place.key, ChecksumMode="ENABLED")
    ours = {"ChecksumSHA256": sha256.digest(), "ChecksumCRC32": crc32.to_bytes(4)}
    return any(head.get(name) == b64encode(value).decode() for name, value in ours.items())
