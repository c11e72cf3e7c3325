"""Run `image_drop.imaging.conversion` as a separate process, and end it beyond its limits.

A decoder is the one part of this package that a hostile file may take over. So it gets no
environment, no file, and no more memory and time than an honest image needs. Whatever happens to
it, the function continues and writes a report.
"""

import os
import subprocess
import sys
from signal import SIGKILL, SIGXCPU

import msgspec

from image_drop.errors import (
    DamagedImageError,
    ImageDropError,
    ImageError,
    NotAnImageError,
    TooLargeError,
    TooSmallError,
)
from image_drop.imaging.headers import media_type_of
from image_drop.imaging.limits import CONVERSION_MEMORY, Limits

_ERRORS: dict[str, type[ImageError]] = {
    known.__name__: known
    for known in (NotAnImageError, DamagedImageError, TooSmallError, TooLargeError)
}


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of the process's output; the bytes of the image follow it."""

    error: str = ""
    detail: str = ""
    media_type: str = ""
    width: int = 0
    height: int = 0
    changes: tuple[str, ...] = ()


def convert(task: str, data: bytes, limits: Limits) -> tuple[Outcome, bytes]:
    """Return the outcome and the image of a conversion, or raise the error that it raised.

    Raise `TooLargeError` beyond the limits, `DamagedImageError` for a file that crashes its
    decoder, and `ImageDropError` when the process itself does not work, whatever the image.
    """
    size, seconds = f"{len(data):,} bytes", str(limits.cpu_seconds)
    try:
        process = subprocess.run(  # noqa: S603 - our own interpreter, our own module
            [sys.executable, "-S", "-P", "-m", "image_drop.imaging.conversion", task, seconds],
            input=data,
            capture_output=True,
            check=False,
            env=_environment(),
            timeout=limits.wall_seconds,
        )
    except subprocess.TimeoutExpired:
        raise TooLargeError(
            f"Decoding the {size} takes longer than {limits.wall_seconds:g} seconds."
        ) from None
    if process.returncode in (-SIGXCPU, -SIGKILL):
        raise TooLargeError(
            f"Decoding the {size} needs more than {seconds} seconds of CPU "
            f"or {CONVERSION_MEMORY:,} bytes of memory."
        )
    if process.returncode < 0:
        raise DamagedImageError(
            f"The {size} begin as {media_type_of(data)} but crash its decoder "
            f"(signal {-process.returncode})."
        )
    if process.returncode > 0:
        last = process.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ImageDropError(f"The conversion process does not work: {last}")
    line, _, image = process.stdout.partition(b"\n")
    outcome = msgspec.json.decode(line, type=Outcome)
    if outcome.error:
        raise _ERRORS[outcome.error](outcome.detail)
    return outcome, image


def _environment() -> dict[str, str]:
    """Return the paths of Python and its libraries only, so that no decoder sees credentials."""
    found = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    # One malloc arena, because each further one takes address space that counts as memory.
    return found | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "1"}
