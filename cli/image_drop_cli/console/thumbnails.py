"""Small pictures for the gallery, made in the confined process of the conversions, and kept."""

import asyncio
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from image_drop.errors import ImageDropError
from image_drop.imaging.conversion_process import convert
from image_drop.imaging.headers import media_type_of
from image_drop.imaging.limits import LIMITS
from image_drop_cli.saving import moved_into_place

MOST = 20_000  # that are kept; the longest unused goes first
# What browsers show by themselves; anything else is converted first.
SHOWN_BY_BROWSERS = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif")


class Thumbnails:
    """The small pictures of one run of the console. For any thread.

    `turn`: whoever wants one takes it first, in the event loop; there are as many as processors.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self.turn = asyncio.Semaphore(os.cpu_count() or 1)

    def of(self, name: str, read: Callable[[], bytes | None]) -> bytes | None:
        """Return the small picture called `name`; `read` returns the picture if it is unknown.

        None if there is no picture, or no decoder that can read it.
        """
        path = self._folder / hashlib.sha256(name.encode()).hexdigest()
        with self._lock:
            known = path.name in self._known
            if known:
                self._known.move_to_end(path.name)
        if known:
            return path.read_bytes()
        small = small_picture(read())
        if small is not None:
            with moved_into_place(path) as part:
                part.write_bytes(small)
            self._remember(path.name)
        return small

    def _remember(self, name: str) -> None:
        with self._lock:
            self._known[name] = None
            while len(self._known) > MOST:
                oldest, _ = self._known.popitem(last=False)
                (self._folder / oldest).unlink(missing_ok=True)


def small_picture(data: bytes | None) -> bytes | None:
    """Return a picture small; None if it cannot be read."""
    if not data:
        return None
    try:
        _, small = convert("thumbnail", data, LIMITS)
    except ImageDropError:
        return None
    return small


def browsable(data: bytes) -> tuple[bytes, str] | None:
    """Return a picture in a format that browsers show, and its media type; None if unreadable."""
    media_type = media_type_of(data)
    if media_type in SHOWN_BY_BROWSERS:
        return data, media_type
    try:
        outcome, png = convert("to-png", data, LIMITS)
    except ImageDropError:
        return None
    return png, outcome.media_type
