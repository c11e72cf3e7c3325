"""Which key each file gets, what goes with it, and what stays at home."""

import json
import os
import socket
import tracemalloc
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from image_drop_cli.upload.events import NotSent
from image_drop_cli.upload.folders import LocalFile, local_files
from tests.support.quiet_stack import file


@pytest.fixture
def shoes(tmp_path: Path) -> Path:
    return tmp_path / "shoes"


def keys(found: Iterator[LocalFile | NotSent]) -> list[str]:
    return [each.key for each in found]


def test_file_goes_under_its_name_and_folder_under_its_own(tmp_path: Path, shoes: Path) -> None:
    single = file(tmp_path, "hat.jpg")
    file(shoes, "left/one.jpg")
    assert keys(local_files([single, shoes])) == ["hat.jpg", "shoes/left/one.jpg"]
    assert keys(local_files([single, shoes], to="/sale/")) == [
        "sale/hat.jpg",
        "sale/shoes/left/one.jpg",
    ]


def test_current_folder_has_no_name(shoes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(shoes, "one.jpg")
    monkeypatch.chdir(shoes)
    assert keys(local_files([Path()])) == ["one.jpg"]


def test_what_folder_needs_goes_before_its_images(shoes: Path) -> None:
    for name in ("one.jpg", "_layers/masks/a.png", ".image-drop.json", "zebra/.image-drop.json"):
        file(shoes, name)
    file(shoes, "zebra/two.jpg")
    found = keys(local_files([shoes]))
    assert found[:2] == ["shoes/.image-drop.json", "shoes/_layers/masks/a.png"]
    assert found.index("shoes/zebra/.image-drop.json") + 1 == found.index("shoes/zebra/two.jpg")


def test_hidden_files_lone_sidecars_and_results_stay_at_home(shoes: Path) -> None:
    for name in (".DS_Store", ".git/config", "package.json", "out/one.jpg.png", "one.jpg"):
        file(shoes, name)
    assert keys(local_files([shoes], exclude=[shoes / "out"])) == ["shoes/one.jpg"]


def test_file_beside_image_is_its_sidecar_as_it_is(shoes: Path) -> None:
    file(shoes, "one.jpg")
    file(shoes, "one.jpg.json", b'{"mode":  "edit"}')
    [sent] = local_files([shoes])
    assert isinstance(sent, LocalFile)
    assert sent.sidecar == b'{"mode":  "edit"}'


def test_instructions_of_command_line_win_over_those_in_sidecar(shoes: Path) -> None:
    file(shoes, "one.jpg")
    file(shoes, "one.jpg.json", {"prompt": "red", "model": "m"})
    [sent] = local_files([shoes], instructions={"prompt": "blue"})
    assert isinstance(sent, LocalFile)
    assert sent.sidecar is not None
    assert json.loads(sent.sidecar) == {"prompt": "blue", "model": "m"}


def test_unusable_sidecar_keeps_its_image_at_home(
    shoes: Path,
) -> None:
    file(shoes, "one.jpg")
    file(shoes, "one.jpg.json", b"{")
    [found] = local_files([shoes], instructions={"mode": "background-remove"})
    assert isinstance(found, NotSent)
    assert "is not JSON" in found.reason


def refusals(found: Iterator[LocalFile | NotSent]) -> dict[str, str]:
    """What is not sent of a folder, and the beginning of why."""
    return {each.key: each.reason[:20] for each in found if isinstance(each, NotSent)}


NO_FILE = "It is a pipe, a devi"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("pipe.jpg", "shoes/pipe.jpg"),
        ("_layers/pipe.png", "shoes/_layers/pipe.png"),
        (".image-drop.json", "shoes/.image-drop.json"),
    ],
)
def test_pipe_is_told_and_holds_up_nothing(shoes: Path, name: str, key: str) -> None:
    file(shoes, "_layers/mask.png")
    file(shoes, "one.jpg")
    os.mkfifo(shoes / name)
    found = list(local_files([shoes]))
    assert refusals(iter(found)) == {key: NO_FILE}
    sent = [each.key for each in found if isinstance(each, LocalFile)]
    assert sorted(sent) == ["shoes/_layers/mask.png", "shoes/one.jpg"]


def test_image_whose_instructions_are_pipe_stays_at_home(shoes: Path) -> None:
    file(shoes, "one.jpg")
    os.mkfifo(shoes / "one.jpg.json")
    [found] = local_files([shoes])
    assert isinstance(found, NotSent)
    assert found.reason.startswith(f"one.jpg.json was not read. {NO_FILE}")


def test_what_is_no_file_is_not_sent_though_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is a short one
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        named = [Path("pipe"), Path("socket"), Path("/dev/zero")]
        assert refusals(local_files(named)) == dict.fromkeys(["pipe", "socket", "zero"], NO_FILE)


def test_nothing_leads_out_of_folder(shoes: Path, tmp_path: Path) -> None:
    secret = file(tmp_path, "secrets/id_rsa")
    for name in ("one.jpg", "_layers/mask.png", "two.jpg"):
        file(shoes, name)
    (shoes / "secret.jpg").symlink_to(secret)
    (shoes / "twice.jpg").symlink_to(shoes / "secret.jpg")
    (shoes / "_layers" / "secret.png").symlink_to(secret)
    (shoes / "_layers" / "more").symlink_to(secret.parent)
    (shoes / "two.jpg.json").symlink_to(secret)
    (shoes / "folder").symlink_to(secret.parent)
    (shoes / ".image-drop.json").symlink_to(secret)
    (shoes / "gone.jpg").symlink_to(shoes / "nothing")
    found = list(local_files([shoes]))
    assert [each.key for each in found if isinstance(each, LocalFile)] == [
        "shoes/_layers/mask.png",
        "shoes/one.jpg",
    ]
    assert refusals(iter(found)) == {
        "shoes/secret.jpg": "It is a link to a fi",
        "shoes/twice.jpg": "It is a link to a fi",
        "shoes/_layers/secret.png": "It is a link to a fi",
        "shoes/_layers/more": "It is a link to a fo",
        "shoes/two.jpg": "two.jpg.json was not",
        "shoes/folder": "It is a link to a fo",
        "shoes/.image-drop.json": "It is a link to a fi",
        "shoes/gone.jpg": NO_FILE,
    }


def test_folder_of_layers_that_is_link_is_told(shoes: Path, tmp_path: Path) -> None:
    file(tmp_path, "elsewhere/mask.png")
    file(shoes, "one.jpg")
    (shoes / "_layers").symlink_to(tmp_path / "elsewhere")
    assert refusals(local_files([shoes])) == {"shoes/_layers/": "It is a link to a fo"}


def test_links_that_are_named_or_stay_inside_are_followed(shoes: Path, tmp_path: Path) -> None:
    one = file(shoes, "one.jpg")
    (shoes / "two.jpg").symlink_to(one)
    (tmp_path / "link.jpg").symlink_to(one)
    (tmp_path / "linked").symlink_to(shoes)
    assert sorted(keys(local_files([shoes]))) == ["shoes/one.jpg", "shoes/two.jpg"]
    named = local_files([tmp_path / "link.jpg", tmp_path / "linked"])
    assert sorted(keys(named)) == ["link.jpg", "linked/one.jpg", "linked/two.jpg"]


def test_names_that_s3_does_not_take_are_told(shoes: Path) -> None:
    shoes.mkdir()
    (shoes / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    file(shoes, "/".join(["d" * 210] * 5) + "/one.jpg")  # 5 × 210 + 4 + 8 + 6 for "shoes/"
    reasons = {each.reason for each in local_files([shoes]) if isinstance(each, NotSent)}
    assert reasons == {
        "Its name is not valid text. Rename the file.",
        "Its key has 1,068 bytes; S3 allows 1,024. Shorten the names of the file and its folders.",
    }


@pytest.mark.slow
def test_memory_does_not_grow_with_number_of_files(tmp_path: Path) -> None:
    def peak(files: int) -> int:
        folder = tmp_path / str(files)
        folder.mkdir()
        photo = file(tmp_path, "photo.jpg")
        for number in range(files):
            os.link(photo, folder / f"{number:06}.jpg")
        # Python's own table of names may grow by megabytes once, so the least of three counts.
        return min(memory_of_listing(folder, files) for _ in range(3))

    def memory_of_listing(folder: Path, files: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in local_files([folder])) == files
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(5000) < 1.2 * peak(500) + 20_000  # bytes; a list of 5,000 files has 2 MB


def test_endless_list_is_read_as_it_is_needed(tmp_path: Path) -> None:
    endless = local_files(file(tmp_path, f"{number}.jpg") for number in count())
    assert [next(endless).key for _ in range(3)] == ["0.jpg", "1.jpg", "2.jpg"]
