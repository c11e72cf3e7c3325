"""`put --watch`: which files of a hot folder are complete, and what becomes of them afterwards."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    UnauthorizedSSOTokenError,
)

from image_drop_cli.putting import TRY_AGAIN, HotFolder, Putting
from image_drop_cli.upload.events import LeftAtHome, NotSent, Sent
from image_drop_cli.upload.folders import LocalFile, local_files
from image_drop_cli.upload.watch import EVERY, SETTLED, Looks, changes_in, hot_files, move_done
from tests.support.clock import FakeClock
from tests.support.pictures import photo
from tests.support.quiet_stack import file, quiet_stack
from tests.support.waiting import until


def taken(looks: Looks, folder: Path, now: float) -> list[str]:
    return [each.key for each in looks.take(local_files([folder]), now)]


@pytest.fixture
def hot(tmp_path: Path) -> Path:
    file(tmp_path, "hot/a.jpg", photo())
    return tmp_path / "hot"


def test_file_is_taken_when_two_looks_agree(hot: Path) -> None:
    looks = Looks()
    assert taken(looks, hot, 0.0) == []
    assert taken(looks, hot, SETTLED / 2) == []
    assert not looks.all_taken
    assert taken(looks, hot, SETTLED) == ["hot/a.jpg"]
    assert looks.all_taken
    assert taken(looks, hot, 9.0) == []


def test_file_that_grows_is_left_until_it_is_complete(hot: Path) -> None:
    looks = Looks()
    growing = hot / "b.jpg"
    for number in range(4):
        with growing.open("ab") as content:
            content.write(b"more")
        taken(looks, hot, number * SETTLED)
    assert taken(looks, hot, 4 * SETTLED) == ["hot/b.jpg"]


def test_file_that_changes_later_is_taken_again(hot: Path) -> None:
    looks = Looks()
    taken(looks, hot, 0.0)
    taken(looks, hot, 2.0)
    file(hot, "a.jpg.json", {"prompt": "red"})
    assert taken(looks, hot, 4.0) == []
    assert taken(looks, hot, 6.0) == ["hot/a.jpg"]


def test_half_written_sidecar_is_not_told_until_it_stays_so(hot: Path) -> None:
    looks = Looks()
    file(hot, "a.jpg.json", b'{"prompt"')
    assert looks.take(local_files([hot]), 0.0) == []
    file(hot, "a.jpg.json", b'{"prompt": "red"}')
    looks.take(local_files([hot]), 2.0)
    [complete] = looks.take(local_files([hot]), 4.0)
    assert isinstance(complete, LocalFile)


def test_only_unfinished_files_are_taken_after_interruption(hot: Path) -> None:
    looks = Looks()
    file(hot, "b.jpg", photo())
    taken(looks, hot, 0.0)
    taken(looks, hot, 2.0)
    looks.note_finished("hot/a.jpg")

    looks.forget_unfinished()

    taken(looks, hot, 4.0)
    assert taken(looks, hot, 6.0) == ["hot/b.jpg"]


def test_files_flow_in_as_they_come_and_never_end(hot: Path, clock: FakeClock) -> None:
    changed = threading.Event()
    files = hot_files(lambda: local_files([hot]), Looks(), changed, clock.now)

    assert settle(files, clock) == ["hot/a.jpg"]
    assert settle(files, clock) == []
    file(hot, "b.jpg", photo())
    file(hot, "c.txt", b"no photo")
    changed.set()
    assert settle(files, clock) == ["hot/b.jpg", "LeftAtHome hot/c.txt"]


def test_folder_that_tells_nothing_is_looked_at_anyway(hot: Path, clock: FakeClock) -> None:
    files = hot_files(lambda: local_files([hot]), Looks(), threading.Event(), clock.now)
    settle(files, clock)
    file(hot, "b.jpg", photo())
    assert settle(files, clock) == []
    clock.sleep(EVERY)
    assert settle(files, clock) == ["hot/b.jpg"]


def settle(files: Iterator[LocalFile | LeftAtHome | NotSent | None], clock: FakeClock) -> list[str]:
    """What flows in within 5 seconds."""
    found = []
    for _ in range(20):
        clock.sleep(0.25)
        while (each := next(files)) is not None:
            kind = "" if isinstance(each, LocalFile) else f"{type(each).__name__} "
            found.append(kind + each.key)
    return sorted(found, key=lambda text: text.rpartition("/")[2])


def test_change_in_folder_is_noticed(hot: Path) -> None:
    with changes_in([hot]) as changed:
        until(lambda: (file(hot, "b.jpg", photo()), changed.is_set())[1])


def test_done_file_is_moved_with_sidecar_and_replaces_nothing(hot: Path) -> None:
    done = hot.parent / "done"
    places = []
    for number in range(3):
        path = file(hot, "sub/a.jpg", photo() + bytes(number))
        file(hot, "sub/a.jpg.json", {"prompt": "red"})
        places.append(move_done(path, hot, done))
    assert [place.relative_to(done).as_posix() for place in places] == [
        "sub/a.jpg",
        "sub/a-1.jpg",
        "sub/a-2.jpg",
    ]
    assert len({place.stat().st_size for place in places}) == 3
    assert (done / "sub/a-2.jpg.json").is_file()
    assert list((hot / "sub").iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://s3"),
        UnauthorizedSSOTokenError(),
        ClientError({"Error": {"Code": "ExpiredToken"}}, "PutObject"),
        ClientError({"Error": {"Code": "400"}}, "HeadObject"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_network_or_sign_in_that_comes_back_goes_on(
    error: Exception,
    boto_client: Callable[[str], Any],
    input_bucket: str,
    output_bucket: str,
    table: str,
    hot: Path,
) -> None:
    stack = quiet_stack(boto_client, DefaultMode="background-remove")
    s3, gone = stack.s3, [True]

    class Flaky:
        """S3, whose first request of this test does not get through."""

        def __getattr__(self, name: str) -> Any:
            if name == "head_object" and gone:
                gone.clear()
                raise error
            return getattr(s3, name)

    stack.deployment.aws._clients["s3"] = Flaky()
    putting = Putting(
        stack.deployment,
        (hot,),
        to="",
        instructions={},
        out=hot.parent / "out",
        wait=False,
        overwrite=False,
        json=False,
        move_done=None,
    )
    waits: list[float] = []
    folder = HotFolder(putting, Looks(), threading.Event(), waits.append)

    sent = next(event for event in folder.events() if event)

    assert (sent, waits) == (Sent("hot/a.jpg", already=False), [TRY_AGAIN])
