"""What a person can do about a report, as a button: by the class of its error, never its text."""

from enum import StrEnum

from image_drop.errors import (
    CancelledError,
    ContentRefusedError,
    ImageDeletedError,
    ImageError,
    InstructionsError,
    LayerError,
    ModelNotFoundError,
    UnreadableObjectError,
)
from image_drop_cli.image_state import ERRORS


class Cure(StrEnum):
    """The button."""

    INSTRUCT = "instruct"  # say, or say differently, what to do with the image
    REPLACE = "replace"  # choose another file for the same key
    RETRY = "retry"  # the cause is elsewhere, and may be gone


INSTRUCT = (InstructionsError, LayerError, ContentRefusedError, ModelNotFoundError)
ELSEWHERE = (ImageDeletedError, UnreadableObjectError, CancelledError)


def cure_of(code: str) -> Cure:
    """Return what helps best against an error with this code."""
    error = ERRORS.get(code)
    if error is None:
        return Cure.RETRY
    if issubclass(error, ELSEWHERE):
        return Cure.RETRY
    if issubclass(error, INSTRUCT):
        return Cure.INSTRUCT
    return Cure.REPLACE if issubclass(error, ImageError) else Cure.RETRY
