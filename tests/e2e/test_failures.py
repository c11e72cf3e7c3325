"""What goes where when it fails: the retry queue, the dead letters, a report that says what to do.

Back-off is random, up to 15 s before the first retry and the second. What needs it is dropped by a
fixture, and looked at last.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator
from tests.support.pictures import photo
from tests.support.system import CUT_OUT, MAX_WAIT, System
from tests.support.waiting import until

TRIES = 2  # of a message; then it is a dead letter
MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    parameters = {"MaxFailures": str(TRIES), "MaxImageBytes": str(MAX_BYTES)}
    with (
        Simulator(limit=1000, pictures="fast") as venice,
        Stack(venice_url=venice.url, concurrency=6, parameters=parameters) as stack,
    ):
        yield System(stack, venice)


@dataclass(frozen=True)
class Failing:
    """Three images whose calls fail: the first, the first of one variant, and all."""

    once: bytes
    variants: bytes
    always: bytes


@pytest.fixture(scope="module", autouse=True)
def failing(system: System) -> Failing:
    system.venice.faults.add(503, prompt="fails once", times=1)
    system.venice.faults.add(503, prompt="variant fails", times=1)
    system.venice.faults.add(503, prompt="fails always")
    variants = {"good": CUT_OUT, "late": {"prompt": "this variant fails at first"}}
    return Failing(
        once=system.drop("once.jpg", tags={"prompt": "this fails once"}),
        variants=system.drop("variants.jpg", sidecar={"variants": variants}),
        always=system.drop("always.jpg", tags={"prompt": "this fails always"}),
    )


# --- bad input -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """An upload that cannot be edited, and the code of its report."""

    code: str
    data: bytes | None = None
    tags: Mapping[str, str] | None = None
    sidecar: bytes | None = None

    def drop(self, system: System, key: str) -> None:
        if self.sidecar is not None:
            system.s3.put_object(Bucket=system.input, Key=f"{key}.json", Body=self.sidecar)
        system.drop(key, self.data, tags=self.tags)


HALF = photo("half")[: len(photo("half")) // 2]
LARGE = photo("large") + bytes(MAX_BYTES)
BAD = {
    "bad/nothing.jpg": Bad("no_instructions"),
    "bad/mode.jpg": Bad("unknown_mode", sidecar=b'{"mode": "cutout"}'),
    "bad/key.jpg": Bad("unknown_key", sidecar=b'{"promt": "pink"}'),
    "bad/prompt.jpg": Bad("missing_prompt", tags={"mode": "edit"}),
    "bad/value.jpg": Bad("invalid_value", sidecar=b'{"prompt": "pink", "aspect_ratio": "5:7"}'),
    "bad/yaml.jpg": Bad("unreadable_instructions", sidecar=b"prompt: pink"),
    "bad/list.jpg": Bad("unreadable_instructions", sidecar=b'["pink"]'),
    "bad/long.jpg": Bad("unreadable_instructions", sidecar=b'{"prompt": "%s"}' % (b"x" * 65_536)),
    "bad/empty.jpg": Bad("empty_file", b"", CUT_OUT),
    "bad/text.jpg": Bad("not_an_image", b"This is a text.", CUT_OUT),
    "bad/half.jpg": Bad("damaged_image", HALF, CUT_OUT),
    "bad/small.jpg": Bad("too_small", photo("small", (64, 64)), {"prompt": "pink"}),
    "bad/large.jpg": Bad("too_large", LARGE, CUT_OUT),
    "bad/strip.jpg": Bad("too_large", photo("strip", (9000, 64)), CUT_OUT),
    "bad/layer.jpg": Bad("bad_layer", sidecar=b'{"prompt": "pink", "layers": ["../../m.png"]}'),
}


def test_bad_inputs_get_each_their_own_report_and_no_call(system: System, failing: Failing) -> None:
    def others_called() -> set[str | None]:
        """Images that Venice was called with, but for those of the fixture."""
        every = {call.image_sha256 for call in system.calls()}
        known = {failing.once, failing.variants, failing.always}
        return every - {call.image_sha256 for data in known for call in system.calls(data)}

    before = others_called()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: BAD[key].drop(system, key), BAD))
        # Deleted before it is read: S3's event comes, and the image is gone.
        threads.submit(system.invoke, "UploadFunction", system.created("bad/deleted.jpg"))
    expected = {key: bad.code for key, bad in BAD.items()} | {"bad/deleted.jpg": "image_deleted"}

    reports = {key: system.report(key) for key in expected}

    assert {key: report["code"] for key, report in reports.items()} == expected
    for key, report in reports.items():
        assert report["key"] == key
        assert report["attempts"] == 0  # no call was made
        assert report["status"] is None
        assert len(report["what_to_do"]) > 20
    assert system.outputs("bad/") == sorted(f"{key}.error.json" for key in expected)
    assert others_called() == before
    assert not [body for body in dead_letters(system) if "bad/" in body]


# --- delivered twice -----------------------------------------------------------------------


def test_event_that_is_delivered_twice_is_paid_once(system: System) -> None:
    data = system.drop("twice/event.jpg", tags=CUT_OUT)
    event = system.created("twice/event.jpg")

    until(lambda: system.log("upload", "twice/event.jpg"), MAX_WAIT)  # it has ended
    answers = [system.invoke("UploadFunction", event) for _ in range(2)]

    assert answers == [{"twice/event.jpg": "done before"}] * 2
    assert len(system.calls(data)) == 1


def test_event_that_is_delivered_many_times_at_once_is_paid_once(system: System) -> None:
    system.venice.faults.add("slow", prompt="takes its time", seconds=1)
    data = system.drop("twice/at-once.jpg", tags={"prompt": "this takes its time"})
    event = system.created("twice/at-once.jpg")
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda _: system.invoke("UploadFunction", event), range(3)))

    assert system.metadata("twice/at-once.jpg.png")
    assert len(system.calls(data)) == 1
    ended = [answer["twice/at-once.jpg"] for answer in answers]
    assert set(ended) <= {"edited", "done before", "queued"}
    assert ended.count("edited") <= 1


def test_same_bytes_are_paid_once_and_other_bytes_again(system: System) -> None:
    data = system.drop("twice/bytes.jpg", tags=CUT_OUT)
    edit_id = system.metadata("twice/bytes.jpg.png")["edit-id"]
    until(lambda: system.log("upload", "twice/bytes.jpg"), MAX_WAIT)  # it has ended
    runs = system.runs("upload")

    system.drop("twice/bytes.jpg", data, tags=CUT_OUT)
    until(lambda: system.runs("upload") > runs, MAX_WAIT)

    assert len(system.calls(data)) == 1
    newer = system.drop("twice/bytes.jpg", photo("newer"), tags=CUT_OUT)
    until(lambda: system.metadata("twice/bytes.jpg.png")["edit-id"] != edit_id, MAX_WAIT)
    assert (system.paid(data), system.paid(newer)) == (1, 1)


# --- Venice fails --------------------------------------------------------------------------


def test_refusal_is_reported_and_not_tried_again(system: System) -> None:
    system.venice.faults.add(422, prompt="something forbidden")
    data = system.drop("refused.jpg", tags={"prompt": "something forbidden"})

    report = system.report("refused.jpg")

    assert (report["code"], report["status"], report["attempts"]) == ("content_refused", 422, 1)
    assert report["request_id"].endswith("-SIM")
    assert len(system.calls(data)) == 1


def test_503_waits_in_queue_and_ends_in_result(system: System, failing: Failing) -> None:
    assert system.metadata("once.jpg.png")["mode"] == "edit"

    assert [call.status for call in system.calls(failing.once)] == [503, 200]
    assert system.paid(failing.once) == 1
    assert [line["code"] for line in system.log("upload", "once.jpg")] == ["venice_unavailable"]
    assert system.outputs("once") == ["once.jpg.png"]


def test_variant_is_retried_by_itself(system: System, failing: Failing) -> None:
    assert system.metadata("variants.jpg.good.png")["mode"] == "background-remove"
    assert system.metadata("variants.jpg.late.png")["mode"] == "edit"

    assert system.paid(failing.variants) == 2
    assert sorted(call.status or 0 for call in system.calls(failing.variants)) == [200, 200, 503]


def test_dead_letter_of_failing_edit_can_be_retried(system: System, failing: Failing) -> None:
    report = system.report("always.jpg")
    assert (report["code"], report["status"]) == ("retries_exhausted", 503)
    assert report["attempts"] == TRIES
    assert [call.status for call in system.calls(failing.always)] == [503] * TRIES
    until(lambda: system.message("always.jpg") in dead_letters(system), MAX_WAIT)

    system.venice.faults.clear()
    redrive(system)

    assert system.metadata("always.jpg.png")["mode"] == "edit"
    until(lambda: system.outputs("always") == ["always.jpg.png"], MAX_WAIT)  # and no report
    assert system.paid(failing.always) == 1
    assert system.dead() == 0


def dead_letters(system: System) -> list[str]:
    """The messages in the dead-letter queue, which stay there."""
    received = system.sqs.receive_message(
        QueueUrl=system.dead_letters, MaxNumberOfMessages=10, VisibilityTimeout=0
    )
    return [normal(message["Body"]) for message in received.get("Messages", [])]


def redrive(system: System) -> None:
    """What StartMessageMoveTask does on AWS."""
    received = system.sqs.receive_message(QueueUrl=system.dead_letters, MaxNumberOfMessages=10)
    for message in received["Messages"]:
        system.sqs.send_message(QueueUrl=system.queue, MessageBody=message["Body"])
        system.sqs.delete_message(
            QueueUrl=system.dead_letters, ReceiptHandle=message["ReceiptHandle"]
        )


def normal(body: str) -> str:
    return json.dumps(json.loads(body))
