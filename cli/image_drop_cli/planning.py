"""What the stack would make of an image now, by the layer's own reckoning and without a call."""

from collections.abc import Iterator
from dataclasses import dataclass

from image_drop import edits
from image_drop.edits import Edit, Wanted
from image_drop.errors import PermanentError, RetryableError
from image_drop.services import Services
from image_drop.storage.input_bucket import InputObject
from image_drop.uploads import Upload


@dataclass(frozen=True)
class VariantPlan:
    """The edit that the stack would make of one variant, or the error that prevents it."""

    image: InputObject
    variant: str | None
    outcome: Edit | PermanentError | RetryableError


def plan_image(key: str, services: Services, bucket: str) -> Iterator[VariantPlan]:
    """Return a plan for each variant of an image.

    Raise a `PermanentError` if the image is gone or its instructions cannot be used.
    """
    return plan_variants(edits.load_instructions(Upload(bucket, key), services), services)


def plan_variants(wanted: Wanted, services: Services) -> Iterator[VariantPlan]:
    """Return a plan for each variant that is wanted."""
    for variant in wanted.variants:
        try:
            edit = edits.plan_edit(wanted, variant, services)
        except (PermanentError, RetryableError) as error:
            yield VariantPlan(wanted.image, variant, error)
        else:
            yield VariantPlan(wanted.image, variant, edit)
