"""Send files, follow their edits and fetch the results: `image-drop put` and `make demo`.

All that counts is in the buckets, so you can stop a run and start it again, and two people can
send the same folder: whoever comes second finds the work done or in progress. Memory does not grow
with the number of files.
"""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from image_drop.uploads import SIDECAR_SUFFIX, starts_nothing
from image_drop_cli.crew import Crew
from image_drop_cli.upload.estimate import Progress, estimate
from image_drop_cli.upload.events import Event, LeftAtHome, NotSent, Sent
from image_drop_cli.upload.folders import BlockedFolders, File, LocalFile
from image_drop_cli.upload.follower import Follower
from image_drop_cli.upload.sender import Sender
from image_drop_cli.upload.steps import Step, guarded
from image_drop_cli.upload.waiting_list import PendingResult, WaitingList

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

THREADS = 8  # files that are read, sent or fetched at a time
CHECKS = 16  # results that are looked for in one round
POLL_INTERVAL = 0.25  # seconds from one round to the next
# Part of the time left until a result is looked for again. That makes 1 / 0.05 = 20 checks of a
# file, of two requests each: 2 million for 50,000 files, which take 41 hours at 20 a minute.
POLL_FRACTION = 0.05
MOST_CHECKS = 30  # a second, however short the time left is: each takes what a result needs, too
POLL_WHILE_PAUSED = 60 * POLL_FRACTION  # seconds
PROGRESS_TTL = 1.0  # seconds
_END = NotSent("", "There are no more files.")


class UploadRun:
    """Sends files to a stack and follows each until it has a result or a report.

    `out`: the folder for results and reports; None leaves them in the bucket. `overwrite`: replace
    different objects under the same keys, instead of refusing the file. `follow`: wait for results.
    """

    def __init__(
        self,
        deployment: "Deployment",
        out: Path | None,
        *,
        overwrite: bool = False,
        follow: bool = True,
    ) -> None:
        services, s3 = deployment.services, deployment.client("s3")
        max_bytes = services.settings.max_image_bytes
        self._services = services
        self._sender = Sender(s3, deployment.input_place, max_bytes, overwrite)
        self._follower = Follower(services, s3, deployment.input_bucket, out)
        self._follow = follow
        self._waiting = WaitingList()
        self._blocked = BlockedFolders()
        self._progress = Progress()
        self._estimated_at = -PROGRESS_TTL

    def events(self, files: Iterable[File | None]) -> Generator[Event | None]:
        """Yield what happens, as it happens, and None a few times a second in between.

        `files` may yield None: there is no file now, but there may be one later.

        Raise boto3's errors if AWS cannot be used, or not any more. The stack still processes what
        was sent by then, and the same run continues from there.
        """
        crew: Crew[Step] = Crew(THREADS, "upload")
        with closing(self._waiting), closing(crew):
            yield from self._events(iter(files), crew)

    def progress(self) -> Progress:
        """Return how far the run is, or was up to a second ago."""
        if time.monotonic() - self._estimated_at > PROGRESS_TTL:
            self._progress = estimate(self._waiting.counts(), self._services)
            self._estimated_at = time.monotonic()
        return self._progress

    def is_waiting_for(self, key: str) -> bool:
        """Return whether results of an image are still to come."""
        return self._waiting.has(key)

    def _events(self, files: Iterator[File | None], crew: Crew[Step]) -> Iterator[Event | None]:
        more = True
        while more or crew.busy or (self._follow and self._waiting.counts()):
            while more and crew.running["send"] < 2 * THREADS:
                file = next(files, _END)
                if file is _END:
                    more = False
                elif file is None:
                    break
                elif (step := self._before_images(file)) is not None:
                    yield from step.events
                elif isinstance(file, LocalFile):
                    crew.begin("send", guarded, self._send, file)
            if self._follow and not crew.running["check"]:
                for due in self._due():
                    crew.begin("check", guarded, self._follower.check, due)
            for step in crew.results(POLL_INTERVAL):
                yield from self._noted(step).events
            yield None

    def _noted(self, step: Step) -> Step:
        if step.done:
            self._waiting.remove(step.done)
        self._waiting.add(step.pending)
        return step

    def _due(self) -> list[PendingResult]:
        left, pending = self.progress().seconds_left, sum(self._waiting.counts().values())
        interval = max(POLL_INTERVAL, pending / MOST_CHECKS)
        interval = max(interval, POLL_WHILE_PAUSED if left is None else POLL_FRACTION * left)
        return self._waiting.due(time.monotonic(), interval, CHECKS)

    def _before_images(self, file: File) -> Step | None:
        """Send at once what the images of a folder need; return None for an image."""
        if isinstance(file, LeftAtHome):
            return Step((file,))
        if isinstance(file, NotSent):
            self._blocked.block(file.key)
            return Step((file,))
        if self._blocked.contain(file.key):
            reason = "Its folder's instructions or layers were not sent. Correct those first."
            return Step((NotSent(file.key, reason),))
        if not starts_nothing(file.key):
            return None
        step = guarded(self._send, file)
        if step.events:
            self._blocked.block(file.key)
        return step

    def _send(self, file: LocalFile) -> Step:
        result = self._sender.send(file)
        if starts_nothing(file.key):
            return Step()
        sent = Sent(file.key, result.already)
        if file.key.endswith(SIDECAR_SUFFIX):  # instructions, whether or not their image is there
            return Step((sent,))
        if result.already:
            return self._follower.resume(sent, result.instructions_changed_at)
        # Nobody waits for it otherwise, and to tell what will come takes several requests.
        expected = tuple(self._follower.expected(file.key)) if self._follow else ()
        return Step((sent,), expected)
