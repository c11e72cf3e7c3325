"""Drops for real: the functions as processes, AWS emulated, Venice simulated over HTTP.

    python -m benchmarks.real_burst   prints the figures; `benchmarks.burst` writes the report

Each drop meets a stack that has just started, as after `make local`. One machine cannot start
hundreds of edits at the same moment, as Lambda can. So what a drop takes here is held against the
limit as a steady rate: `photos / limit × 60 s + one edit`.
"""

import io
import json
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from PIL import Image

from benchmarks import machine
from image_drop.storage.retry_queue import depth_of
from image_drop_local.emulator.__main__ import CONCURRENCY, MAXIMUM_CONCURRENCY
from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator, most_in

PHOTOS = 1200
LIMIT = 600  # calls a minute
EDIT = 1.0  # seconds
FIRST_DROP = 60  # photos, of which the first result counts
UPLOADS = 8  # at a time
STALL = 120.0  # seconds without a new result, after which the run counts as over


def run(photos: int = PHOTOS) -> dict[str, Any]:
    """Drop so many photos, wait until nothing is left to do, and return the figures."""
    first = first_result(min(photos, FIRST_DROP))
    with _stack() as (stack, venice):
        began = time.monotonic()
        _drop(stack, "drop", photos)
        uploaded = time.monotonic() - began
        seconds = _wait(stack, venice, "drop", photos) - began
        outputs = _outputs(stack, "drop")
        calls = [call for call in venice.calls if "/image/" in call.path]
        paid = Counter(call.image_sha256 for call in calls if call.paid)
        return {
            "machine": machine.described(),
            "photos": photos,
            "limit": LIMIT,
            "edit": EDIT,
            "window": venice.settings.window_kind,
            "uploaded": uploaded,
            "done": sum(key.endswith(".png") for key in outputs),
            "reports": sum(key.endswith(".error.json") for key in outputs),
            "dead_lettered": _depth(stack, "DeadLetterQueueUrl"),
            "calls": len(calls),
            "refused": sum(call.refused is not None for call in calls),
            "lock_outs": venice.lock_outs,
            "paid_twice": sum(count > 1 for count in paid.values()),
            "most_in_a_minute": most_in(call for call in calls if not call.refused),
            "seconds": seconds,
            "bound": photos / LIMIT * 60 + EDIT,
            "first": first,
        }


def first_result(photos: int = FIRST_DROP) -> dict[str, Any]:
    """Drop so many photos, and return the seconds until the first result and until the last."""
    with _stack() as (stack, venice):
        began = time.monotonic()
        with ThreadPoolExecutor(1) as thread:
            drop = thread.submit(_drop, stack, "drop", photos)
            while not _outputs(stack, "drop") and time.monotonic() - began < STALL:
                time.sleep(0.1)
            first = time.monotonic() - began
            drop.result()
        seconds = _wait(stack, venice, "drop", photos) - began
        return {"photos": photos, "first": first, "seconds": seconds}


@contextmanager
def _stack() -> Iterator[tuple[Stack, Simulator]]:
    """Yield what `make local` starts, and the Venice behind it."""
    with (
        Simulator(limit=LIMIT, latency=EDIT, pictures="fast", lockout_counts_429=True) as venice,
        Stack(
            venice_url=venice.url,
            parameters={"MaximumConcurrency": str(MAXIMUM_CONCURRENCY)},
            concurrency=CONCURRENCY,
        ) as stack,
    ):
        yield stack, venice


def _drop(stack: Stack, folder: str, photos: int) -> None:
    s3, bucket = stack.client("s3"), stack.outputs["InputBucketName"]

    def upload(number: int) -> None:
        s3.put_object(
            Bucket=bucket,
            Key=f"{folder}/{number:05}.jpg",
            Body=_photo(f"{folder} {number}"),
            Metadata={"prompt": "make the sky pink"},
        )

    with ThreadPoolExecutor(UPLOADS) as threads:
        list(threads.map(upload, range(photos)))


def _photo(name: str) -> bytes:
    """Return a JPEG whose pixels no other name has, so that its calls can be distinguished."""
    file = io.BytesIO()
    checksum = zlib.crc32(name.encode())
    image = Image.new("L", (320, 240), "white")
    for bit in range(32):
        if checksum >> bit & 1:
            image.paste(0, (8 * bit, 0, 8 * bit + 8, 240))
    image.save(file, "JPEG")
    return file.getvalue()


def _wait(stack: Stack, venice: Simulator, folder: str, paid: int) -> float:
    """Wait until so many edits were paid, their results are there, and nothing is queued.

    Returns the time at which the last result was seen; gives up when nothing moves any more.
    """
    results, moved = -1, time.monotonic()
    calls = 0
    while time.monotonic() - moved < STALL:
        if len(venice.calls) != calls:
            calls, moved = len(venice.calls), time.monotonic()
        elif (now := len(_outputs(stack, folder))) != results:  # a costly question, asked rarely
            results, moved = now, time.monotonic()
        elif sum(call.paid for call in venice.calls) >= paid and not _depth(stack, "RetryQueueUrl"):
            break
        time.sleep(0.25)
    return moved


def _depth(stack: Stack, queue: str) -> int:
    return depth_of(stack.client("sqs"), stack.outputs[queue]).total


def _outputs(stack: Stack, folder: str) -> list[str]:
    pages = stack.client("s3").get_paginator("list_objects_v2")
    return [
        each["Key"]
        for page in pages.paginate(Bucket=stack.outputs["OutputBucketName"], Prefix=f"{folder}/")
        for each in page.get("Contents", [])
    ]


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
