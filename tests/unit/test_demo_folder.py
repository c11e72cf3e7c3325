"""What `make demo` removes from demo-out/, and what it must not."""

from pathlib import Path

import pytest
from rich.console import Console

from image_drop_local.demo import run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder as an earlier demo left it."""
    out = tmp_path / "demo-out"
    (out / "products" / "old").mkdir(parents=True)
    for name in ("a.png", "products/b.png", "products/old/c.png"):
        (out / name).write_text("made by a demo")
    (out / run.MANIFEST).write_text("a.png\nproducts/b.png\nproducts/old/c.png\nproducts/b.png\n")
    return out


def test_earlier_demos_files_and_empty_folders_are_removed(out: Path) -> None:
    run.clear(out)
    assert [path.name for path in out.iterdir()] == [run.MANIFEST]


def test_other_peoples_files_are_left_alone(out: Path) -> None:
    (out / "products" / "mine.png").write_text("mine")
    run.clear(out)
    assert [path.name for path in out.rglob("*.png")] == ["mine.png"]


def test_nothing_outside_is_removed(out: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.png").write_text("mine")
    (out / "way-out").symlink_to(tmp_path)
    (out / run.MANIFEST).write_text("../precious.png\nway-out/precious.png\n")
    run.clear(out)
    assert (tmp_path / "precious.png").exists()


def test_photos_that_are_no_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="PHOTOS=nowhere is not a folder"):
        run.run({"PHOTOS": "nowhere"}, tmp_path / "demo-out", Console())
