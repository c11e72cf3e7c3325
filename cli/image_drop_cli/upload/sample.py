"""A few images of an upload before the others, to look at what becomes of them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from image_drop.uploads import SIDECAR_SUFFIX, starts_nothing
from image_drop_cli.contact_sheet import Pair, draw
from image_drop_cli.upload.events import Arrived
from image_drop_cli.upload.folders import File, LocalFile

SHEET = "contact-sheet.png"  # in the folder of the results


def spread[T: File](files: Iterable[T], images: int, wanted: int) -> Iterator[T]:
    """Yield `wanted` of so many `images`, spread evenly, with the files that images need.

    Once the last one is chosen, nothing more is read.
    """
    count = min(wanted, images)
    chosen = {number * images // count for number in range(count)}
    number = 0
    for file in files:
        if not isinstance(file, LocalFile) or not _is_image(file):
            yield file
            continue
        if number in chosen:
            yield file
        if number == max(chosen, default=-1):
            return
        number += 1


def draw_sheet(arrived: Sequence[Arrived], originals: dict[str, Path], out: Path) -> Path:
    """Draw what became of a sample, and return where: a PNG in `out`. `originals`: by key."""
    pairs = [_pair(each, originals[each.key]) for each in arrived]
    path = out / SHEET
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(pairs, f"{len(pairs)} of the results").save(path)
    return path


def originals_of(files: Iterable[File]) -> dict[str, Path]:
    """Return where the images of a sample are on this machine, by key."""
    return {file.key: file.path for file in files if isinstance(file, LocalFile)}


def _is_image(file: LocalFile) -> bool:
    return not starts_nothing(file.key) and not file.key.endswith(SIDECAR_SUFFIX)


def _pair(arrived: Arrived, original: Path) -> Pair:
    report = arrived.report
    after = f"{report.title}\n{report.detail} {report.what_to_do}" if report else arrived.path
    variant = f" ({arrived.variant})" if arrived.variant else ""
    return Pair(
        before=original,
        after=after or "It was not fetched.",
        name_before=arrived.key,
        name_after=arrived.output_key,
        caption=f"{arrived.seconds:.0f} s{variant}",
    )
