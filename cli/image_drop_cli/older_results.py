"""Results of earlier instructions that lie next to the present result of the same image.

A change from PNG to JPEG makes `shoe.jpg.jpg` and leaves `shoe.jpg.png`. Functions never delete a
result, so a person does.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from image_drop.edits import Edit
from image_drop.errors import PermanentError, RetryableError
from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import SUFFIXES, Stored
from image_drop_cli.fetching import listing
from image_drop_cli.planning import plan_image

if TYPE_CHECKING:
    from image_drop.services import Services
    from image_drop_cli.deployment import Deployment

THREADS = 8  # images that are looked at at a time


@dataclass(frozen=True)
class OlderResult:
    """A result that the present instructions would not make. `image`: key of its image.

    `present`: key of the result that they made; it is there.
    """

    image: str
    stored: Stored
    present: str


def older_results(key: str, deployment: "Deployment") -> tuple[OlderResult, ...]:
    """Return the older results of an image whose present result is there, of all its variants.

    Only results whose metadata name the image count. With `{mode}` in `OutputKeyFormat`, results of
    other modes are meant to stay. None if the instructions cannot be used now.
    """
    services = deployment.services
    try:
        plans = list(plan_image(key, services, deployment.input_bucket))
    except (PermanentError, RetryableError):
        return ()
    edits = [plan.outcome for plan in plans if isinstance(plan.outcome, Edit)]
    return tuple(older for edit in edits for older in older_than(edit, services))


def find_older_results(deployment: "Deployment", prefix: str = "") -> list[OlderResult]:
    """Return the older results of all images whose results' keys begin with `prefix`.

    A listing shows where two results have the same name but for the suffix. Only those images are
    looked at, each with about ten requests.
    """
    keys = (found.key for found in listing(deployment, prefix))
    images = sorted(set(_images(same_but_for_suffix(keys), deployment.services)))
    pool = ThreadPoolExecutor(THREADS, "clean")
    try:
        found = list(pool.map(lambda image: older_results(image, deployment), images))
    finally:
        pool.shutdown(cancel_futures=True)
    return [older for each in found for older in each]


def remove(older: OlderResult, services: "Services") -> None:
    """Delete an older result, unless another object has replaced it by now."""
    services.output_bucket.remove_output(older.stored)


def same_but_for_suffix(keys: Iterable[str]) -> Iterator[str]:
    """Yield the keys of a sorted listing that differ from another one in their suffix only.

    In a listing, nothing comes between them but keys that begin with the same stem and a dot.
    """
    open_stems: dict[str, list[str]] = {}
    for key in keys:
        for stem in [each for each in open_stems if not key.startswith(f"{each}.")]:
            yield from _several(open_stems.pop(stem))
        suffix = next((each for each in SUFFIXES if key.endswith(each)), None)
        if suffix:
            open_stems.setdefault(key.removesuffix(suffix), []).append(key)
    for same in open_stems.values():
        yield from _several(same)


def _several(keys: list[str]) -> list[str]:
    return keys if len(keys) > 1 else []


def _images(keys: Iterable[str], services: "Services") -> Iterator[str]:
    for key in keys:
        stored = services.output_bucket.find_output(key)
        if stored and stored.edit_id and (source := stored.source_key):
            yield source


def older_than(edit: Edit, services: "Services") -> Iterator[OlderResult]:
    """Yield the older results of an edit, see `older_results`; none while its own is not there."""
    bucket = services.output_bucket
    present = bucket.find_output(edit.output_key)
    if present is None or present.edit_id != edit.id:
        return
    key_format = services.settings.output_key_format
    for suffix in SUFFIXES:
        key = output_bucket.output_key(key_format, edit.image.key, edit.mode, edit.variant, suffix)
        stored = bucket.find_output(key) if key != edit.output_key else None
        if stored and _is_result_of(stored, edit):
            yield OlderResult(edit.image.key, stored, edit.output_key)


def _is_result_of(stored: Stored, edit: Edit) -> bool:
    """Return whether it is surely a result of this image: a key that is cut says too little."""
    return (
        stored.edit_id is not None
        and stored.source_key == edit.image.key
        and stored.is_of(edit.image.key, edit.variant)
    )
