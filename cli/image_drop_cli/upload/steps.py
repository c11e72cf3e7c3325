"""The outcome of one piece of work on one file, as a thread returns it."""

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError

from image_drop_cli.upload.events import Event, NotSent, NotSentError
from image_drop_cli.upload.folders import LocalFile
from image_drop_cli.upload.waiting_list import PendingResult


@dataclass(frozen=True)
class Step:
    """Events to report, results to wait for from now on, and the one that is `done` if any."""

    events: tuple[Event, ...] = ()
    pending: tuple[PendingResult, ...] = ()
    done: PendingResult | None = None


def guarded[T: LocalFile | PendingResult](work: Callable[[T], Step], subject: T) -> Step:
    """Return the step, or a `NotSent` if only this one file cannot be sent or fetched."""
    done = subject if isinstance(subject, PendingResult) else None
    try:
        return work(subject)
    except NotSentError as error:
        return Step((NotSent(subject.key, str(error)),), done=done)
    except BotoCoreError:  # some of them are OSErrors, too
        raise
    except OSError as error:
        reason = f"{error.filename or subject.key}: {error.strerror or error}."
        return Step((NotSent(subject.key, reason),), done=done)
