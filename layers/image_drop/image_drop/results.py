"""The result of an edit before it is stored: drawn, checked and described."""

from dataclasses import dataclass

from image_drop.edits import Edit
from image_drop.errors import ImageError, LayerError
from image_drop.imaging.photos import Photo
from image_drop.paid_answers import Paid
from image_drop.services import Services
from image_drop.storage import output_bucket


@dataclass(frozen=True)
class Result:
    """What is stored. `check`: whether it passes the rules of its preset, if it has one."""

    data: bytes
    media_type: str
    check: str | None = None


def draw_finish(edit: Edit, png: bytes, services: Services) -> Result:
    """Return the finished result, checked against the rules of its preset."""
    from image_drop.imaging import canvas, result_check  # import Pillow, which others do not need

    finish = edit.instructions.finish
    assert finish is not None
    try:
        background = None
        if edit.background:
            limit = services.settings.max_image_bytes
            background = services.input_bucket.read_object(edit.background, limit)
        drawn = canvas.render(finish, png, background)
    except (ImageError, LayerError) as error:
        raise LayerError(
            f"The finish could not be drawn. {error.detail} Venice's answer is kept, so the edit "
            "with a corrected finish costs nothing."
        ) from error
    rules = finish.checked_against
    check = result_check.check_result(rules, drawn.data, drawn.fill) if rules else None
    return Result(drawn.data, finish.media_type, check)


def metadata_of(
    edit: Edit,
    paid: Paid,
    photos: tuple[Photo | str, ...],
    result: Result,
    seconds: float,
    services: Services,
) -> dict[str, str]:
    """Return a result's metadata, which suffice to finish its bookkeeping after a crash."""
    first, settlement = photos[0], paid.settlement
    return output_bucket.with_metadata_of_image(
        {
            "edit-id": edit.id,
            "call": settlement.call_id if settlement else None,
            "cost-usd": f"{settlement.usd if settlement else 0:.6f}",
            "seconds": f"{seconds:.1f}",
            "variant": edit.variant,
            "reference": edit.instructions.reference,
            "check": result.check,
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
