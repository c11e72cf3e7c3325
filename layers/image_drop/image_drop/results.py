"""The result of an edit before it is stored: drawn, checked and described."""

from dataclasses import dataclass

from image_drop.edits import Edit
from image_drop.errors import ImageError, LayerError
from image_drop.imaging.photos import Photo
from image_drop.paid_answers import Paid
from image_drop.services import Services
from image_drop.state.billing import MICRO
from image_drop.storage import output_bucket


@dataclass(frozen=True)
class Result:
    """What is stored. `check`: whether it passes the rules of its preset, if it has one.

    `fill`: see `canvas.Drawn`. `enlarged`: what `finish.upscale` did, such as `2 times`, or why
    it did nothing although the canvas enlarges the subject. `larger`: made by that.
    """

    data: bytes
    media_type: str
    check: str | None = None
    fill: float = 0.0
    enlarged: str = ""
    larger: "Larger | None" = None


@dataclass(frozen=True)
class Larger:
    """The answer to the second call of an edit, as PNG. `edit`: of that call."""

    edit: Edit
    paid: Paid
    png: bytes


def answers_of(paid: Paid, result: Result) -> tuple[Paid, ...]:
    """Return the answers that a result was made from: to its first call, and to its second one."""
    return (paid, result.larger.paid) if result.larger else (paid,)


def finished_before(edit: Edit, paid: Paid) -> Result | None:
    """Return the finished result that was made under another name, checked anew, or None."""
    if not (paid.reused and paid.reused.finished):
        return None
    answer, known = paid.answer, paid.reused
    check = _checked(edit, answer.data, known.fill)
    return Result(answer.data, answer.media_type, check, known.fill, known.enlarged)


def draw_finish(
    edit: Edit, png: bytes, services: Services, enlarged: str = "", larger: Larger | None = None
) -> Result:
    """Return the finished result, checked against the rules of its preset."""
    from image_drop.imaging import canvas  # imports Pillow, which other edits do not need

    finish = edit.instructions.finish
    assert finish is not None
    try:
        background = None
        if edit.background:
            limit = services.settings.max_image_bytes
            background = services.input_bucket.read_object(edit.background, limit)
        drawn = canvas.render(finish, png, background, larger.png if larger else None)
    except (ImageError, LayerError) as error:
        raise LayerError(
            f"The finish could not be drawn. {error.detail} Venice's answer is kept, so the edit "
            "with a corrected finish costs nothing."
        ) from error
    check = _checked(edit, drawn.data, drawn.fill)
    return Result(drawn.data, finish.media_type, check, drawn.fill, enlarged, larger)


def _checked(edit: Edit, data: bytes, fill: float) -> str | None:
    from image_drop.imaging import result_check  # imports Pillow

    rules = edit.instructions.finish and edit.instructions.finish.checked_against
    return result_check.check_result(rules, data, fill) if rules else None


def metadata_of(
    edit: Edit,
    paid: Paid,
    photos: tuple[Photo | str, ...],
    result: Result,
    seconds: float,
    services: Services,
) -> dict[str, str]:
    """Return a result's metadata, which suffice to finish its bookkeeping after a crash."""
    first, answers = photos[0], answers_of(paid, result)
    settlements = [each.settlement for each in answers if each.settlement]
    saved = [each.reused.micro_usd for each in answers if each.reused]
    return output_bucket.with_metadata_of_image(
        {
            "edit-id": edit.id,
            "call": settlements[0].call_id if settlements else None,
            "cost-usd": f"{sum(each.usd for each in settlements):.6f}",
            "reused-from": paid.reused.key if paid.reused else None,
            "saved-usd": f"{sum(saved) / MICRO:.6f}" if saved else None,
            "seconds": f"{seconds:.1f}",
            "variant": edit.variant,
            "reference": edit.instructions.reference,
            "check": result.check,
            "enlarged": result.enlarged,
            "source-key": edit.image.key,
            "source-etag": edit.image.etag,
            "mode": edit.mode,
            "model": paid.answer.model or edit.model,
            "venice-request-id": paid.answer.request_id,
            "changes": None if isinstance(first, str) else " ".join(first.changes),
            "blurred": "true" if paid.answer.blurred else None,
            "ignored": "; ".join(services.input_bucket.ignored(edit.image)),
        },
        services.input_bucket.passed_through(edit.image),
    )
