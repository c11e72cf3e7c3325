"""`put --sample`: a few images before the others, and their contact sheet."""

from pathlib import Path

import pytest
from PIL import Image

from image_drop.errors import NotAnImageError
from image_drop.storage.output_bucket import report_on
from image_drop_cli.upload.events import Arrived
from image_drop_cli.upload.folders import local_files
from image_drop_cli.upload.sample import draw_sheet, originals_of, spread
from tests.support.pictures import photo
from tests.support.quiet_stack import file


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Ten photos in two folders, each with its instructions."""
    for folder in ("a", "b"):
        file(tmp_path, f"shop/{folder}/.image-drop.json", {"prompt": "red"})
        file(tmp_path, f"shop/{folder}/_layers/mask.png", photo())
        for number in range(5):
            file(tmp_path, f"shop/{folder}/{number}.jpg", photo())
    return tmp_path / "shop"


@pytest.mark.parametrize(("wanted", "found"), [(1, 1), (2, 2), (3, 3), (10, 10), (99, 10)])
def test_sample_has_as_many_images_as_wanted(shop: Path, wanted: int, found: int) -> None:
    files = spread(local_files([shop]), 10, wanted)
    assert len([each for each in files if each.key.endswith(".jpg")]) == found


def test_sample_is_spread_and_has_what_its_images_need(shop: Path) -> None:
    keys = [each.key for each in spread(local_files([shop]), 10, 2)]
    folders = {key.split("/")[1] for key in keys if key.endswith(".jpg")}
    assert folders == {"a", "b"}
    assert {f"shop/{each}/.image-drop.json" for each in "ab"} <= set(keys)
    assert {f"shop/{each}/_layers/mask.png" for each in "ab"} <= set(keys)


def test_sheet_shows_results_and_reports(shop: Path, tmp_path: Path) -> None:
    files = [each for each in local_files([shop]) if each.key.endswith(".jpg")]
    result = file(tmp_path, "out/shop/a/0.jpg.png", photo())
    report = report_on(
        NotAnImageError("It is a text."), key="k", variant=None, mode=None, attempts=0, now=0.0
    )
    one, other = sorted(each.key for each in files)[:2]
    arrived = [
        Arrived(one, None, f"{one}.png", 9, 3.0, result, None, already=False),
        Arrived(other, None, f"{other}.error.json", 9, 1.0, None, report, already=False),
    ]

    sheet = draw_sheet(arrived, originals_of(files), tmp_path / "new")

    with Image.open(sheet) as image:
        assert image.width > image.height > 300
