"""What `put` sends, what it finds done, and what it leaves alone. Nothing is edited here."""

import os
from collections.abc import Callable, Generator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from image_drop.errors import RetriesExhaustedError
from image_drop.uploads import Upload
from image_drop_cli.upload.events import Arrived, NotSent, Sent
from image_drop_cli.upload.folders import LocalFile, local_files
from image_drop_cli.upload.run import THREADS, UploadRun
from tests.support.account import INPUT_BUCKET, OUTPUT_BUCKET
from tests.support.quiet_stack import QuietStack, file, quiet_stack

CUT_OUT = b'{"mode":"background-remove"}'
REPAINT = b'{"prompt":"blue"}'


@pytest.fixture
def stack(
    input_bucket: str, output_bucket: str, table: str, boto_client: Callable[[str], Any]
) -> QuietStack:
    return quiet_stack(boto_client)


@pytest.fixture
def shoe(tmp_path: Path) -> LocalFile:
    return LocalFile(file(tmp_path, "shoe.jpg"), "shoe.jpg", CUT_OUT)


def changed(
    photo: LocalFile, *, content: bytes | None = None, sidecar: bytes | None = None
) -> LocalFile:
    if content is not None:
        photo.path.write_bytes(content)
    return LocalFile(photo.path, photo.key, sidecar or photo.sidecar)


def test_image_is_sent_with_its_instructions_tags_and_metadata(
    stack: QuietStack, shoe: LocalFile
) -> None:
    photo = LocalFile(shoe.path, "a b/ü+.jpg", CUT_OUT, {"model": "x/y z"}, {"quality": "high"})
    assert stack.send(photo) == [Sent("a b/ü+.jpg", already=False)]
    head = stack.s3.head_object(Bucket=INPUT_BUCKET, Key=photo.key)
    assert (head["ContentType"], head["Metadata"]) == ("image/jpeg", {"quality": "high"})
    tags = stack.s3.get_object_tagging(Bucket=INPUT_BUCKET, Key=photo.key)["TagSet"]
    assert tags == [{"Key": "model", "Value": "x/y z"}]
    assert stack.body("a b/ü+.jpg") == b"a photo"
    assert stack.body("a b/ü+.jpg.json") == CUT_OUT


def test_same_file_is_not_sent_twice(stack: QuietStack, shoe: LocalFile) -> None:
    stack.send(shoe)
    assert stack.send(shoe) == [Sent("shoe.jpg", already=True)]
    assert stack.versions("shoe.jpg") == stack.versions("shoe.jpg.json") == 1


def test_image_whose_event_was_lost_is_queued_by_next_run(
    stack: QuietStack, shoe: LocalFile
) -> None:
    stack.send(shoe)
    assert stack.queued() == []
    stack.send(shoe)
    (upload,) = stack.queued()
    assert (upload.key, bool(upload.retry)) == ("shoe.jpg", True)


def test_nothing_is_queued_twice_while_queue_still_holds_work(
    stack: QuietStack, shoe: LocalFile
) -> None:
    stack.deployment.services.queue.send(Upload(INPUT_BUCKET, "other.jpg"))
    stack.send(shoe)
    stack.send(shoe)
    assert stack.queued() == [Upload(INPUT_BUCKET, "other.jpg")]


def test_result_that_is_there_is_fetched_once(
    stack: QuietStack, shoe: LocalFile, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stack.send(shoe)
    stack.make("shoe.jpg", b"cut out")
    for _ in range(2):
        sent, arrived = stack.send(shoe, out=out)
        assert sent == Sent("shoe.jpg", already=True)
        assert isinstance(arrived, Arrived)
        assert (arrived.already, arrived.report, arrived.size) == (True, None, 7)
        assert arrived.path == out / "shoe.jpg.png"
        assert arrived.path.read_bytes() in (b"cut out", b"CUT OUT")
        arrived.path.write_bytes(b"CUT OUT")
        stamp = stack.s3.head_object(Bucket=OUTPUT_BUCKET, Key="shoe.jpg.png")["LastModified"]
        os.utime(arrived.path, (stamp.timestamp(), stamp.timestamp()))
    assert (out / "shoe.jpg.png").read_bytes() == b"CUT OUT"
    assert stack.queued() == []


def test_somebody_elses_object_is_not_taken_for_result(stack: QuietStack, shoe: LocalFile) -> None:
    stack.s3.put_object(Bucket=OUTPUT_BUCKET, Key="shoe.jpg.png", Body=b"a holiday photo")
    stack.send(shoe)
    assert stack.send(shoe) == [Sent("shoe.jpg", already=True)]


def test_another_file_under_key_is_left_alone(stack: QuietStack, shoe: LocalFile) -> None:
    stack.send(shoe)
    [event] = stack.send(changed(shoe, content=b"another photo"))
    assert isinstance(event, NotSent)
    assert "The bucket already has a different file at shoe.jpg." in event.reason
    assert stack.body("shoe.jpg") == b"a photo"


def test_instructions_of_somebody_else_are_left_alone(stack: QuietStack, shoe: LocalFile) -> None:
    stack.send(shoe)
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="shoe.jpg.json", Body=CUT_OUT)
    assert stack.send(shoe) == [Sent("shoe.jpg", already=True)]
    [event] = stack.send(changed(shoe, sidecar=REPAINT))
    assert isinstance(event, NotSent)
    assert "The bucket already has different instructions at shoe.jpg.json." in event.reason
    assert stack.body("shoe.jpg.json") == CUT_OUT


def test_instructions_that_put_wrote_itself_are_replaced(
    stack: QuietStack, shoe: LocalFile
) -> None:
    stack.send(shoe)
    stack.make("shoe.jpg")
    assert stack.send(changed(shoe, sidecar=REPAINT)) == [Sent("shoe.jpg", already=True)]
    assert stack.body("shoe.jpg.json") == REPAINT
    assert stack.send(changed(shoe, sidecar=CUT_OUT))[0] == Sent("shoe.jpg", already=True)
    assert stack.versions("shoe.jpg.json") == 3
    assert stack.versions("shoe.jpg") == 1


def test_own_instructions_do_not_follow_another_image(stack: QuietStack, shoe: LocalFile) -> None:
    stack.send(shoe)
    [event] = stack.send(changed(shoe, content=b"another photo", sidecar=REPAINT))
    assert isinstance(event, NotSent)
    assert stack.body("shoe.jpg.json") == CUT_OUT


def test_overwrite_puts_new_file_in_place_of_old_one(stack: QuietStack, shoe: LocalFile) -> None:
    stack.send(shoe)
    events = stack.send(changed(shoe, content=b"another photo"), overwrite=True)
    assert events == [Sent("shoe.jpg", already=False)]
    assert stack.body("shoe.jpg") == b"another photo"


def test_new_instructions_never_meet_old_image(stack: QuietStack, shoe: LocalFile) -> None:
    stack.send(shoe)
    stack.send(changed(shoe, content=b"another photo", sidecar=REPAINT), overwrite=True)
    found = stack.s3.list_object_versions(Bucket=INPUT_BUCKET, Prefix="shoe.jpg")
    assert [each["Key"] for each in found["DeleteMarkers"]] == ["shoe.jpg"]
    assert stack.body("shoe.jpg") == b"another photo"


def test_new_instructions_for_same_image_are_awaited_anew(
    stack: QuietStack, shoe: LocalFile
) -> None:
    stack.send(shoe)
    stack.make("shoe.jpg")
    events = stack.send(changed(shoe, sidecar=REPAINT), overwrite=True)
    assert events == [Sent("shoe.jpg", already=True)]
    assert stack.versions("shoe.jpg") == 1


def test_report_on_same_edit_is_answer(stack: QuietStack, shoe: LocalFile) -> None:
    stack.send(shoe)
    stack.report("shoe.jpg", stack.edit("shoe.jpg").id)
    _, arrived = stack.send(shoe)
    assert isinstance(arrived, Arrived)
    assert arrived.report is not None
    assert arrived.report.code == "not_an_image"
    assert stack.queued() == []


def test_report_that_no_longer_holds_sends_image_round_again(
    stack: QuietStack, shoe: LocalFile
) -> None:
    stack.send(shoe)
    stack.report("shoe.jpg", None, RetriesExhaustedError("Venice was away."))
    stack.deployment.services.queue.send(Upload(INPUT_BUCKET, "other.jpg"))
    assert stack.send(shoe) == [Sent("shoe.jpg", already=True)]
    assert "shoe.jpg" in [upload.key for upload in stack.queued()]


def test_image_that_is_too_large_stays_at_home(
    input_bucket: str,
    output_bucket: str,
    table: str,
    boto_client: Callable[[str], Any],
    shoe: LocalFile,
) -> None:
    stack = quiet_stack(boto_client, MaxImageBytes="6")
    [event] = stack.send(shoe)
    assert event == NotSent(
        "shoe.jpg",
        "The file has 7 bytes; the stack accepts 6 (MaxImageBytes). Send a smaller version.",
    )


def test_file_that_went_away_is_told_and_others_are_sent(
    stack: QuietStack, shoe: LocalFile, tmp_path: Path
) -> None:
    gone = LocalFile(tmp_path / "gone.jpg", "gone.jpg")
    events = stack.send(gone, shoe)
    assert Sent("shoe.jpg", already=False) in events
    [reason] = [event.reason for event in events if isinstance(event, NotSent)]
    assert reason == f"{tmp_path}/gone.jpg: No such file or directory."


def test_images_stay_at_home_when_their_folder_file_is_refused(
    stack: QuietStack, tmp_path: Path
) -> None:
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="p/.image-drop.json", Body=REPAINT)
    folder_file = LocalFile(file(tmp_path, "cut-out", CUT_OUT), "p/.image-drop.json")
    photo = file(tmp_path, "shoe.jpg")
    events = stack.send(
        folder_file,
        LocalFile(photo, "p/shoe.jpg"),
        LocalFile(photo, "p/sub/shoe.jpg"),
        LocalFile(photo, "q.jpg"),
    )
    assert [event.key for event in events if isinstance(event, NotSent)] == [
        "p/.image-drop.json",
        "p/shoe.jpg",
        "p/sub/shoe.jpg",
    ]
    assert Sent("q.jpg", already=False) in events


def test_images_stay_at_home_when_their_folder_file_is_no_file(
    stack: QuietStack, tmp_path: Path
) -> None:
    for name in ("p/shoe.jpg", "q/shoe.jpg", "r/shoe.jpg"):
        file(tmp_path, name)
    os.mkfifo(tmp_path / "p" / ".image-drop.json")
    (tmp_path / "q" / "_layers").symlink_to(tmp_path / "r")
    events = stack.send(*local_files([tmp_path / name for name in "pqr"]))
    assert {event.key for event in events if isinstance(event, Sent)} == {"r/shoe.jpg"}
    stayed = {event.key for event in events if isinstance(event, NotSent)}
    assert stayed == {"p/.image-drop.json", "p/shoe.jpg", "q/_layers/", "q/shoe.jpg"}


class Meanwhile:
    """An S3 that lets something else happen once, while a result is fetched."""

    def __init__(self, s3: Any, event: Callable[[], Any]) -> None:
        self._s3 = s3
        self._events = [event]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def get_object(self, **arguments: Any) -> Any:
        if arguments["Bucket"] == OUTPUT_BUCKET and self._events:
            self._events.pop()()
        return self._s3.get_object(**arguments)


def test_two_runs_may_fetch_into_one_folder(
    stack: QuietStack, shoe: LocalFile, tmp_path: Path, boto_client: Callable[[str], Any]
) -> None:
    out = tmp_path / "out"
    stack.send(shoe)
    stack.make("shoe.jpg", b"cut out")
    s3 = Meanwhile(boto_client("s3"), lambda: stack.send(shoe, out=out))
    other = quiet_stack(lambda name: s3 if name == "s3" else boto_client(name))
    events = other.send(shoe, out=out)
    assert [event for event in events if isinstance(event, NotSent)] == []
    assert [path.name for path in out.iterdir()] == ["shoe.jpg.png"]
    assert (out / "shoe.jpg.png").read_bytes() == b"cut out"


def test_fetch_that_breaks_off_leaves_nothing_behind(
    stack: QuietStack, shoe: LocalFile, tmp_path: Path, boto_client: Callable[[str], Any]
) -> None:
    def break_off() -> None:
        raise EndpointConnectionError(endpoint_url="https://s3")

    stack.send(shoe)
    stack.make("shoe.jpg")
    s3 = Meanwhile(boto_client("s3"), break_off)
    broken = quiet_stack(lambda name: s3 if name == "s3" else boto_client(name))
    with pytest.raises(EndpointConnectionError):
        broken.send(shoe, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


class OwnKey:
    """An S3 with a KMS key: ETags are no digests there."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def head_object(self, **arguments: Any) -> Any:
        return self._s3.head_object(**arguments) | {"ETag": '"2f"'}


def test_same_file_is_recognised_in_bucket_with_key_of_its_own(
    stack: QuietStack, shoe: LocalFile, boto_client: Callable[[str], Any]
) -> None:
    s3 = OwnKey(boto_client("s3"))
    encrypted = quiet_stack(lambda name: s3 if name == "s3" else boto_client(name))
    encrypted.send(shoe)
    assert encrypted.send(shoe) == [Sent("shoe.jpg", already=True)]
    [refused] = encrypted.send(changed(shoe, content=b"another photo"))
    assert isinstance(refused, NotSent)
    assert stack.versions("shoe.jpg") == stack.versions("shoe.jpg.json") == 1


class Contested:
    """An S3 in which somebody deletes each object while it is put."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def put_object(self, **arguments: Any) -> Any:
        answer: Any = {"Error": {"Code": "ConditionalRequestConflict"}}
        raise ClientError(answer, "PutObject")


def test_object_deleted_while_it_is_put_is_not_called_sent(
    stack: QuietStack, shoe: LocalFile, boto_client: Callable[[str], Any]
) -> None:
    s3 = Contested(boto_client("s3"))
    contested = quiet_stack(lambda name: s3 if name == "s3" else boto_client(name))
    [event] = contested.send(LocalFile(shoe.path, "shoe.jpg"))
    assert event == NotSent(
        "shoe.jpg", "Somebody else changed shoe.jpg at the same moment. Run the command again."
    )


class FailingAfter:
    """An S3 whose network goes away after some puts."""

    def __init__(self, s3: Any, puts: int) -> None:
        self._s3 = s3
        self._left = puts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def put_object(self, **arguments: Any) -> Any:
        if not self._left:
            raise EndpointConnectionError(endpoint_url="https://s3")
        self._left -= 1
        return self._s3.put_object(**arguments)


def test_after_network_went_away_same_run_sends_rest(
    input_bucket: str,
    output_bucket: str,
    table: str,
    boto_client: Callable[[str], Any],
    tmp_path: Path,
) -> None:
    photo = file(tmp_path, "shoe.jpg")
    files = [LocalFile(photo, f"{number}.jpg", CUT_OUT) for number in range(6)]
    s3 = boto_client("s3")
    broken = quiet_stack(lambda name: FailingAfter(s3, 5) if name == "s3" else boto_client(name))
    with pytest.raises(EndpointConnectionError):
        broken.send(*files)

    events = quiet_stack(boto_client).send(*files)

    assert {event.key for event in events} == {each.key for each in files}
    assert all(isinstance(event, Sent) for event in events)
    stack = quiet_stack(boto_client)
    assert [stack.versions(each.key) for each in files] == [1] * 6


def test_files_are_listed_only_as_fast_as_they_are_sent(stack: QuietStack, tmp_path: Path) -> None:
    photo = file(tmp_path, "shoe.jpg")
    listed = count()
    run = UploadRun(stack.deployment, None, follow=False)
    events = run.events(LocalFile(photo, f"{next(listed)}.jpg", CUT_OUT) for _ in count())
    sent = 0
    while sent < 3:
        sent += isinstance(next(events), Sent)
    assert next(listed) <= 3 * THREADS + 3
    assert isinstance(events, Generator)
    events.close()
