"""Every image ends up with one outcome, and it is that of its newest bytes and instructions."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from image_drop.uploads import Upload
from image_drop.venice.exchange import Reply
from tests.integration.test_pay_once import results, while_venice_works
from tests.support.interruptions import Fault, Killed
from tests.support.pictures import photo
from tests.support.stage import INPUT, OUTPUT, Stage

CUT_OUT = {"mode": "background-remove"}
WEBP = {"finish": {"format": "webp"}}


def kinds(stage: Stage) -> list[str]:
    return [kind for kind, _ in stage.events()]


# --- the newest wins -----------------------------------------------------------------------


CHANGES: dict[str, Callable[[Stage], object]] = {
    "sidecar": lambda stage: stage.put_json("p/a.jpg.json", prompt="blue"),
    "folder file": lambda stage: stage.put_json("p/.image-drop.json", prompt="blue"),
    "metadata, same bytes": lambda stage: stage.put("p/a.jpg", metadata={"prompt": "blue"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_late_edit_does_not_replace_what_newer_instructions_want(stage: Stage, change: str) -> None:
    event = stage.put("p/a.jpg", metadata={} if change == "folder file" else {"prompt": "pink"})
    if change == "folder file":
        stage.put_json("p/.image-drop.json", prompt="pink")

    ending = while_venice_works(stage, event, lambda: CHANGES[change](stage))

    assert ending == "superseded"
    assert results(stage) == []
    stage.work_off()
    assert results(stage) == ["p/a.jpg.png"]
    assert stage.paid == 2
    assert kinds(stage) == ["Image Edited"]


def test_older_refusal_does_not_report_on_newer_instructions(stage: Stage) -> None:
    stage.venice.faults.add(400, prompt="bad")
    event = stage.put("a.jpg", metadata={"prompt": "bad"})
    venice = stage.services.venice

    def overtaken(*args: Any, **request: Any) -> Reply:
        stage.put_json("a.jpg.json", prompt="good")
        return venice.exchange(*args, **request)

    stage.services = replace(stage.services, venice=replace(venice, exchange=overtaken))

    assert stage.upload(event) == {"a.jpg": "superseded"}
    stage.work_off()

    assert results(stage) == ["a.jpg.png"]
    assert kinds(stage) == ["Image Edited"]


def test_paid_answer_is_reused_when_only_finish_changed(stage: Stage) -> None:
    event = stage.put("a.jpg", metadata=CUT_OUT)

    while_venice_works(stage, event, lambda: stage.put_json("a.jpg.json", **WEBP))
    stage.work_off()

    assert stage.outputs() == ["a.jpg.webp"]
    assert stage.paid == 1


# --- nothing vanishes ----------------------------------------------------------------------


def queued_variants(stage: Stage) -> None:
    stage.put_json("p/a.jpg.json", variants={"cut": CUT_OUT, "pink": {"prompt": "pink"}})
    assert stage.upload(stage.put("p/a.jpg")) == {"p/a.jpg": "variants queued"}


def test_image_is_edited_as_whole_once_its_variants_are_dropped(stage: Stage) -> None:
    queued_variants(stage)
    stage.put_json("p/a.jpg.json", **CUT_OUT)

    stage.work_off()

    assert stage.outputs() == ["p/a.jpg.png"]


def test_image_whose_variants_have_new_names_gets_those(stage: Stage) -> None:
    queued_variants(stage)
    stage.put_json("p/a.jpg.json", variants={"blue": {"prompt": "blue"}})

    stage.work_off()

    assert stage.outputs() == ["p/a.jpg.blue.png"]


def test_image_whose_sidecar_was_deleted_meanwhile_says_so(stage: Stage) -> None:
    queued_variants(stage)
    stage.s3.delete_object(Bucket=INPUT, Key="p/a.jpg.json")

    stage.work_off()

    assert stage.report("p/a.jpg")["code"] == "no_instructions"
    assert stage.dead() == 0


# --- no report beside a result -------------------------------------------------------------


def test_deleting_input_of_finished_image_is_no_failure(stage: Stage) -> None:
    event = stage.put("a.jpg", tags=CUT_OUT)
    stage.upload(event)
    stage.s3.delete_object(Bucket=INPUT, Key="a.jpg")

    stage.upload(event)  # S3 delivers it again

    assert stage.outputs() == ["a.jpg.png"]
    assert kinds(stage) == ["Image Edited"]


def test_deleting_input_of_finished_variants_is_no_failure(stage: Stage) -> None:
    stage.put_json("a.jpg.json", variants={"cut": CUT_OUT})
    event = stage.put("a.jpg")
    stage.upload(event)
    stage.work_off()
    stage.s3.delete_object(Bucket=INPUT, Key="a.jpg")

    stage.upload(event)

    assert stage.outputs() == ["a.jpg.cut.png"]
    assert kinds(stage) == ["Image Edited"]


def test_sidecar_that_comes_while_its_absence_is_reported_wins(stage: Stage) -> None:
    event = stage.put("a.jpg")
    events = stage.services.input_bucket.s3.meta.events
    sidecars: list[dict[str, Any]] = []

    def arrive(context: dict[str, Any], **_: Any) -> None:
        if context["input_params"]["Key"] == "a.jpg.json":
            events.unregister("after-call.s3.GetObject", arrive)
            sidecars.append(stage.put_json("a.jpg.json", **CUT_OUT))

    events.register("after-call.s3.GetObject", arrive)

    assert stage.upload(event) == {"a.jpg": "superseded"}
    stage.upload(sidecars[0])
    stage.work_off()

    assert stage.outputs() == ["a.jpg.png"]
    assert kinds(stage) == ["Image Edited"]
    assert stage.paid == 1


def test_failure_is_announced_once_however_often_it_is_delivered(stage: Stage) -> None:
    event = stage.put("a.jpg", b"no image", tags=CUT_OUT)

    for _ in range(3):
        stage.upload(event)

    assert kinds(stage) == ["Image Edit Failed"]


def test_same_failure_of_new_upload_is_announced_again(stage: Stage) -> None:
    stage.drop("a.jpg", b"no image", tags=CUT_OUT)
    stage.drop("a.jpg", b"no image", tags=CUT_OUT)

    assert kinds(stage) == ["Image Edit Failed"] * 2


def test_event_that_bus_did_not_take_is_sent_by_next_delivery(stage: Stage) -> None:
    refused: list[str] = []

    def refuse_once(**_: Any) -> None:
        if not refused:
            refused.append("once")
            raise ClientError({"Error": {"Code": "InternalException"}}, "PutEvents")

    stage.services.bus.events.meta.events.register_first("before-call.events", refuse_once)
    event = stage.put("a.jpg", tags=CUT_OUT)

    assert stage.upload(event) == {"a.jpg": "queued"}
    assert stage.outputs() == ["a.jpg.png"]
    stage.work_off()

    assert kinds(stage) == ["Image Edited"]
    assert (stage.paid, stage.dead()) == (1, 0)


def test_event_that_comes_twice_has_same_event_id(stage: Stage) -> None:
    lost: list[str] = []

    def lose_answer_once(**_: Any) -> None:
        if not lost:
            lost.append("once")
            raise ClientError({"Error": {"Code": "InternalException"}}, "PutEvents")

    stage.services.bus.events.meta.events.register_first("after-call.events", lose_answer_once)
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.work_off()

    first, second = stage.delivered()
    assert first["id"] != second["id"]
    assert first["detail"]["event_id"] == second["detail"]["event_id"] != ""


# --- only one's own is replaced ------------------------------------------------------------

COLLISIONS = [
    # (first image, its instructions, second image, its instructions, their common key)
    ("shoe.jpg", CUT_OUT, "shoe.png", CUT_OUT, "shoe.png", "{folder}{stem}.png"),
    ("a.jpg.b", CUT_OUT, "a.jpg", {"variants": {"b": CUT_OUT}}, "a.jpg.b.png", "{key}.png"),
    (
        "p/a.jpg.original",
        CUT_OUT,
        "p/a.jpg",
        CUT_OUT | WEBP | {"keep_original": True},
        "p/a.jpg.original.png",
        "{key}.png",
    ),
    (
        "p/a.jpg",
        CUT_OUT | WEBP | {"keep_original": True},
        "p/a.jpg.original",
        CUT_OUT,
        "p/a.jpg.original.png",
        "{key}.png",
    ),
]


@pytest.mark.parametrize(("first", "wanted", "second", "wanted_too", "common", "form"), COLLISIONS)
def test_result_of_other_image_is_not_replaced_and_nothing_paid(
    stage: Stage,
    first: str,
    wanted: dict[str, Any],
    second: str,
    wanted_too: dict[str, Any],
    common: str,
    form: str,
) -> None:
    stage.configure(OUTPUT_KEY_FORMAT=form)
    stage.drop(first, photo("darkred"), sidecar=wanted)
    stage.work_off()
    before = stage.s3.head_object(Bucket=OUTPUT, Key=common)["ETag"]
    paid = stage.paid

    stage.drop(second, photo("navy"), sidecar=wanted_too)
    stage.work_off()

    assert stage.s3.head_object(Bucket=OUTPUT, Key=common)["ETag"] == before
    assert stage.paid == paid
    [report] = [key for key in stage.outputs() if key.endswith(".error.json")]
    told = json.loads(stage.read(report))
    assert told["code"] == "output_taken"
    assert repr(first)[1:-1] in told["detail"]
    assert repr(second)[1:-1] in told["detail"]


def test_object_that_somebody_else_put_there_is_not_replaced(stage: Stage) -> None:
    stage.s3.put_object(Bucket=OUTPUT, Key="a.jpg.png", Body=b"precious")

    assert stage.drop("a.jpg", tags=CUT_OUT) == "reported"

    assert stage.report("a.jpg")["code"] == "output_taken"
    assert stage.read("a.jpg.png") == b"precious"
    assert stage.calls == 0


def test_success_removes_no_report_of_another_image(stage: Stage) -> None:
    stage.drop("a.jpg.b", b"no image", tags=CUT_OUT)
    assert stage.outputs() == ["a.jpg.b.error.json"]

    stage.drop("a.jpg", sidecar={"variants": {"b": CUT_OUT}})
    stage.work_off()

    assert stage.report("a.jpg.b")["code"] == "not_an_image"


def test_success_without_report_leaves_no_delete_marker(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar=CUT_OUT | WEBP)

    versions = stage.s3.list_object_versions(Bucket=OUTPUT)
    markers = [each["Key"] for each in versions.get("DeleteMarkers", [])]
    assert [key for key in markers if not key.startswith(".image-drop/")] == []


# --- what was paid is used -----------------------------------------------------------------


def test_paid_answer_survives_bucket_that_refuses_result(stage: Stage) -> None:
    denied: list[str] = []

    def deny(context: dict[str, Any], **_: Any) -> None:
        if context["input_params"]["Key"] == "a.jpg.png" and len(denied) < 3:
            denied.append("denied")
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")

    stage.services.output_bucket.s3.meta.events.register("before-call.s3.PutObject", deny)
    event = stage.put("a.jpg", metadata=CUT_OUT)

    stage.deliver(event)
    stage.work_off()

    assert len(denied) == 3
    assert stage.outputs() == ["a.jpg.png"]
    assert stage.paid == 1


def test_corrupt_answer_that_was_kept_does_not_poison_image(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar=CUT_OUT | WEBP | {"keep_original": True})
    kept = stage.s3.head_object(Bucket=OUTPUT, Key="a.jpg.original.png")
    stage.s3.put_object(
        Bucket=OUTPUT, Key="a.jpg.original.png", Body=b"\x89PNG\r\n", Metadata=kept["Metadata"]
    )

    again = CUT_OUT | {"finish": {"format": "jpeg"}, "keep_original": True}
    stage.upload(stage.put_json("a.jpg.json", **again))
    assert stage.report("a.jpg")["code"] == "unusable_answer"
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.original.png")
    stage.drop("a.jpg", sidecar=again)
    stage.work_off()

    assert "a.jpg.jpg" in stage.outputs()
    assert stage.report("a.jpg") == {}


def test_truncated_answer_is_not_kept_for_finish(stage: Stage) -> None:
    stage.venice.faults.add("truncated", times=1)

    assert stage.drop("a.jpg", sidecar=CUT_OUT | WEBP) == "reported"
    assert stage.report("a.jpg")["code"] == "unusable_answer"
    assert stage.drop("a.jpg", sidecar=CUT_OUT | WEBP) == "edited"

    assert stage.outputs() == ["a.jpg.webp"]
    assert stage.paid == 2


# --- what an upload may cost ---------------------------------------------------------------


def test_variants_too_dear_together_are_reported_before_calls(stage: Stage) -> None:
    stage.configure(MAX_EDIT_USD="1")
    dear = {"prompt": "x", "model": "gpt-image-2-edit"}  # $0.34 each

    stage.drop("a.jpg", sidecar={"variants": dict.fromkeys(("a", "b", "c"), dear)})
    stage.work_off()

    assert stage.calls == 0
    reports = [json.loads(stage.read(key)) for key in stage.outputs()]
    assert {report["code"] for report in reports} == {"edit_too_dear"}
    assert "$1.02" in reports[0]["detail"]


def test_model_that_is_not_allowed_is_reported_before_any_call(stage: Stage) -> None:
    stage.configure(ALLOWED_MODELS="firered-image-edit, bria-bg-remover")

    assert stage.drop("a.jpg", sidecar={"prompt": "x", "model": "muse-image-edit"}) == "reported"
    assert stage.drop("b.jpg", sidecar={"prompt": "x"}) == "edited"
    assert stage.drop("c.jpg", sidecar=CUT_OUT) == "edited"

    assert stage.report("a.jpg")["code"] == "model_not_allowed"
    assert stage.calls == 2


def test_result_stays_when_its_model_is_no_longer_allowed(
    stage: Stage,
) -> None:
    event = stage.put("a.jpg", metadata={"prompt": "x"})
    stage.upload(event)
    stage.configure(ALLOWED_MODELS="bria-bg-remover")

    assert stage.upload(event) == {"a.jpg": "done before"}

    assert stage.outputs() == ["a.jpg.png"]


def test_report_that_killed_function_left_goes_with_next_try(stage: Stage) -> None:
    stage.drop("warm.jpg", tags=CUT_OUT)  # from here on, each edit makes the same requests
    for key in ("a.jpg", "b.jpg"):
        stage.drop(key, b"no picture", tags=CUT_OUT)
    stage.interruptions.plan(None)
    stage.drop("b.jpg", tags=CUT_OUT)
    removal = stage.interruptions.requests.index("s3.DeleteObject")
    event = stage.put("a.jpg", tags=CUT_OUT)
    stage.interruptions.plan(removal - 1, Fault.KILLED)
    with pytest.raises(Killed):
        stage.upload(event)
    assert stage.outputs("a.jpg") == ["a.jpg.error.json", "a.jpg.png"]
    stage.put_json("a.jpg.json", finish={"background": "_layers/late.png"})
    stage.pass_time(400)

    stage.upload(event)  # Lambda delivers it again
    stage.pass_time(60)
    stage.redeliver()  # the layer is not there yet

    assert stage.outputs("a.jpg") == ["a.jpg.png"]


def test_record_that_was_not_released_is_one_failure(stage: Stage) -> None:
    stage.drop("warm.jpg", tags=CUT_OUT)
    stage.configure(tries=2)
    release = 0
    for key in ("warm too.jpg", "counted.jpg", "a.jpg"):
        stage.put(key, tags=CUT_OUT)
        stage.services.queue.send(Upload(INPUT, key, asked_at=stage.clock.now()))
        stage.services.orders.cancel("", stage.clock.now() + 1)
        stage.interruptions.plan(release if key == "a.jpg" else None, Fault.REFUSED)
        stage.work_off()
        release = len(stage.interruptions.requests) - 1

    assert stage.report("a.jpg")["code"] == "cancelled"
    assert (stage.waiting(), stage.dead()) == (0, 0)
