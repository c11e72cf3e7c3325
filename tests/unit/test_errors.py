"""The tree of errors is complete, and is what its drawing shows."""

import re
from collections.abc import Iterator

import pytest

from image_drop import errors
from image_drop.errors import (
    Charge,
    ImageDropError,
    ImageError,
    InstructionsError,
    PermanentError,
    RetryableError,
)

# They group others and are never raised themselves, so they keep the words of their base.
GROUPS = (PermanentError, RetryableError, InstructionsError, ImageError)


def classes(root: type[ImageDropError] = ImageDropError) -> Iterator[type[ImageDropError]]:
    yield root
    for child in root.__subclasses__():
        yield from classes(child)


def drawn() -> Iterator[tuple[str, str | None]]:
    """Each class of the docstring's drawing, with the class above it."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^((?:│   |    |├── |└── )*)(\w+Error)\b", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            yield found[2], path[depth - 1] if depth else None


CLASSES = [each for each in classes() if each.__module__ == errors.__name__]
RAISED = [each for each in CLASSES if each not in GROUPS]


def test_drawing_shows_every_class_under_its_base() -> None:
    bases: dict[str, str | None]
    bases = {each.__name__: each.__base__.__name__ for each in CLASSES if each.__base__}
    bases["ImageDropError"] = None

    assert dict(drawn()) == bases


@pytest.mark.parametrize("error", CLASSES)
def test_every_class_says_when_it_is_raised(error: type[ImageDropError]) -> None:
    words = error.__doc__ or ""

    assert error.__name__.endswith("Error")
    assert error is ImageDropError or words.startswith("Raised ")


@pytest.mark.parametrize("error", RAISED)
def test_every_class_has_code_title_and_advice(error: type[ImageDropError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert re.fullmatch(r"[A-Z][^.]+[^.]", error.title)
    assert re.fullmatch(r"[A-Z].+[.]", error.advice)


def test_no_two_classes_share_code() -> None:
    codes = [error.code for error in RAISED]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_carries_what_report_needs(error: type[ImageDropError]) -> None:
    raised = error("what happened", status=418, retry_at=12.5, request_id="ray")

    assert str(raised) == raised.detail == "what happened"
    assert (raised.status, raised.retry_at, raised.request_id) == (418, 12.5, "ray")


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_says_whether_call_was_charged(error: type[ImageDropError]) -> None:
    expected = {"NoAnswerError": Charge.MAYBE, "UnusableAnswerError": Charge.YES}

    assert error("detail").charge is expected.get(error.__name__, Charge.NO)
    assert error("detail", charge=Charge.MAYBE).charge is Charge.MAYBE
