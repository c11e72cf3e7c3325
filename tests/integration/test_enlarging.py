"""`finish.upscale`: a second paid call of an edit, only where the canvas enlarges its subject."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from image_drop.state.edit_record import CallState, Record, record_id
from image_drop.uploads import FRESH, Upload
from image_drop_cli.explanation import explain
from image_drop_cli.manifest import manifest
from tests.integration.test_operating import cancel
from tests.support.interruptions import Killed
from tests.support.pictures import photo, save
from tests.support.stage import INPUT, OUTPUT, Stage
from tests.support.stage_deployment import deployment_of

CUT_OUT = {"mode": "background-remove"}  # $0.03
TWICE = CUT_OUT | {"finish": {"size": "600x600", "upscale": "auto"}}  # of 320 x 260, and $0.02
FOUR_TIMES = CUT_OUT | {"finish": {"size": "1280x1280", "upscale": "auto"}}  # and $0.08


@pytest.fixture(autouse=True)
def drawn(stage: Stage) -> None:
    """Let the simulator draw, so that a cut-out is as large as its photo."""
    stage.venice.change(pictures="real")


def record(stage: Stage, key: str = "a.jpg") -> Record:
    return stage.services.records.read_record(record_id(INPUT, key, None)).record


def paths(stage: Stage) -> list[str]:
    return [call.path.rpartition("/")[2] for call in stage.venice.calls if "/image/" in call.path]


def require_books_agree(stage: Stage, *usd: float) -> None:
    """Venice's book, the ledger and the records have the same calls, to the cent."""
    charged = [call.charged_usd for call in stage.venice.calls if call.charged_usd]
    assert charged == list(usd)
    day = stage.services.billing.day(stage.clock.now())
    assert (day.usd, day.unconfirmed_usd) == (round(sum(usd), 6), 0)
    objects = stage.s3.list_objects_v2(Bucket=INPUT)["Contents"]
    paid = sum(record(stage, each["Key"]).paid_micro_usd() for each in objects)
    assert paid == round(sum(usd) * 1e6)


def require_nothing_kept(stage: Stage) -> None:
    assert not [key for key in stage.outputs() if key.startswith(".image-drop/")]
    assert (record(stage).kept_digest, record(stage).larger_digest) == ("", "")


@pytest.mark.parametrize(
    ("wanted", "usd", "told"), [(TWICE, 0.02, "2 times"), (FOUR_TIMES, 0.08, "4 times")]
)
def test_both_calls_are_paid_and_written_down(
    stage: Stage, wanted: dict[str, Any], usd: float, told: str
) -> None:
    assert stage.drop("a.jpg", photo(), sidecar=wanted) == "edited"

    assert paths(stage) == ["background-remove", "upscale"]
    require_books_agree(stage, 0.03, usd)
    metadata = stage.metadata("a.jpg.png")
    assert metadata["enlarged"] == told
    assert metadata["cost-usd"] == f"{0.03 + usd:.6f}"
    assert metadata["model"] == "bria-bg-remover"
    assert [call.model for call in record(stage).calls] == ["bria-bg-remover", "upscaler"]
    ((_, event),) = stage.events()
    assert (event["mode"], event["attempts"]) == ("background-remove", 1)
    require_nothing_kept(stage)
    result = stage.result("a.jpg.png")
    assert result.size == tuple(int(side) for side in wanted["finish"]["size"].split("x"))
    assert result.getchannel("A").getextrema() == (0, 255)  # still a cut-out


def test_canvas_that_enlarges_nothing_costs_nothing_extra(stage: Stage) -> None:
    finishes: list[dict[str, Any]] = [{"size": "320x320"}, {"size": "900x300", "margin": 20}]
    for number, finish in enumerate(finishes):
        wanted = CUT_OUT | {"finish": finish | {"upscale": "auto"}}
        assert stage.drop(f"{number}.jpg", photo(str(number)), sidecar=wanted) == "edited"
        assert "enlarged" not in stage.metadata(f"{number}.jpg.png")
    require_books_agree(stage, 0.03, 0.03)


def test_upscale_without_canvas_is_said_before_call(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=CUT_OUT | {"finish": {"upscale": "auto"}})
    assert "finish.size" in stage.report("a.jpg")["detail"]
    assert stage.calls == 0


def test_limits_of_template_count_both_calls_before_first(stage: Stage) -> None:
    stage.configure(MAX_EDIT_USD="0.10")
    stage.drop("a.jpg", photo(), sidecar=TWICE)
    assert "$0.11" in stage.report("a.jpg")["detail"]
    stage.configure(MAX_EDIT_USD="1", ALLOWED_MODELS="bria-bg-remover")
    stage.drop("b.jpg", photo(), sidecar=TWICE)
    assert stage.report("b.jpg")["code"] == "model_not_allowed"
    assert stage.calls == 0


def test_what_upscaler_cannot_take_is_finished_without(stage: Stage) -> None:
    large = {"prompt": "x", "model": "nano-banana-2-edit", "resolution": "4K"}  # $0.19
    cases: list[tuple[tuple[int, int], dict[str, Any], str, str]] = [
        ((90, 90), CUT_OUT, "400x400", "too_small"),
        ((4096, 1040), large, "5000x1500", "too_large"),
    ]
    for size, wanted, canvas, code in cases:
        key = f"{code}.png"
        finish = {"size": canvas, "upscale": "auto"}
        picture = save(Image.new("L", size), "PNG")
        assert stage.drop(key, picture, sidecar=wanted | {"finish": finish}) == "edited"
        assert stage.metadata(f"{key}.png")["enlarged"] == f"no: {code}"
    require_books_agree(stage, 0.03, 0.19)


@pytest.mark.parametrize(
    ("fault", "code", "usd"),
    [(400, "refused", (0.03,)), ("truncated", "unusable_answer", (0.03, 0.02))],
)
def test_refused_enlargement_does_not_take_edit_away(
    stage: Stage, fault: Any, code: str, usd: Sequence[float]
) -> None:
    stage.venice.faults.add(fault, endpoint="upscale", times=1)

    assert stage.drop("a.jpg", photo(), sidecar=TWICE) == "edited"

    assert stage.result("a.jpg.png").size == (600, 600)
    assert stage.metadata("a.jpg.png")["enlarged"] == f"no: {code}"
    assert stage.report("a.jpg") == {}
    assert len(paths(stage)) == 2
    require_books_agree(stage, *usd)
    require_nothing_kept(stage)


@pytest.mark.parametrize("fault", [503, 429, 402])
@pytest.mark.usefixtures("mapping")
def test_enlargement_that_may_succeed_later_is_retried_alone(stage: Stage, fault: Any) -> None:
    stage.venice.faults.add(fault, endpoint="upscale", times=1)
    assert stage.drop("a.jpg", photo(), sidecar=TWICE) == "queued"
    assert not [key for key in stage.outputs() if not key.startswith(".")]

    stage.pass_time(300)
    stage.watch()
    stage.work_off()

    assert paths(stage) == ["background-remove", "upscale", "upscale"]
    assert stage.metadata("a.jpg.png")["enlarged"] == "2 times"
    require_books_agree(stage, 0.03, 0.02)
    require_nothing_kept(stage)


@pytest.mark.usefixtures("mapping")
def test_enlargement_beyond_limit_of_day_waits_for_next(stage: Stage) -> None:
    stage.configure(DAILY_SPEND_LIMIT_USD="0.04")
    assert stage.drop("a.jpg", photo(), sidecar=TWICE) == "queued"
    assert paths(stage) == ["background-remove"]
    assert stage.processing_paused

    stage.pass_time(86_400)
    stage.watch()
    stage.work_off()

    assert paths(stage) == ["background-remove", "upscale"]
    assert stage.metadata("a.jpg.png")["enlarged"] == "2 times"


def test_third_enlargement_does_not_follow_two_unanswered(stage: Stage) -> None:
    stage.venice.faults.add("drop_after", endpoint="upscale", times=2)
    stage.drop("a.jpg", photo(), sidecar=TWICE)
    stage.work_off()

    assert paths(stage) == ["background-remove", "upscale", "upscale"]
    assert stage.metadata("a.jpg.png")["enlarged"] == "no: outcome_unknown"
    states = [call.state for call in record(stage).calls]
    assert states == [CallState.PAID, CallState.OPEN, CallState.OPEN]


# The requests to S3 that write: 0 keeps the first answer, 1 the second, 2 stores the result.
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("changed", [False, True])
def test_death_after_each_answer_never_pays_it_twice(
    stage: Stage, number: int, changed: bool
) -> None:
    stage.put_json("a.jpg.json", **TWICE)
    event = stage.put("a.jpg", photo())
    kill_after_record(stage, number)
    with pytest.raises(Killed):
        stage.upload(event)
    stage.pass_time(400)
    stage.cold_start()

    if changed:  # another background; the canvas needs the same enlargement
        finish = TWICE["finish"] | {"background": "#ff0000"}  # type: ignore[operator]
        event = stage.put_json("a.jpg.json", **CUT_OUT, finish=finish)
    stage.upload(event)
    stage.work_off()

    assert paths(stage) == ["background-remove", "upscale"]
    require_books_agree(stage, 0.03, 0.02)
    require_nothing_kept(stage)
    assert stage.metadata("a.jpg.png")["enlarged"] == "2 times"


def kill_after_record(stage: Stage, number: int) -> None:
    """Kill the function at the first write to the table after that of its objects in S3."""
    s3, dynamodb = stage.services.input_bucket.s3, stage.services.records.dynamodb
    stored: list[str] = []

    def count(**_: Any) -> None:
        stored.append("object")

    def die(**_: Any) -> None:
        if len(stored) > number:
            s3.meta.events.unregister("after-call.s3.PutObject", count)
            for write in writes:
                dynamodb.meta.events.unregister(write, die)
            raise Killed

    s3.meta.events.register("after-call.s3.PutObject", count)
    moment = "after-call" if number < 2 else "before-call"
    writes = [f"{moment}.dynamodb.{write}" for write in ("PutItem", "TransactWriteItems")]
    for write in writes:
        dynamodb.meta.events.register(write, die)


def kill_after_result(stage: Stage) -> None:
    """Kill the function when the result is stored, and the record does not know it."""
    hooks = stage.services.input_bucket.s3.meta.events
    stored: list[str] = []

    def note(params: Any, **_: Any) -> None:
        stored.append(params["url_path"])

    def die(**_: Any) -> None:
        if stored[-1].endswith("a.jpg.png"):
            hooks.unregister("before-call.s3.PutObject", note)
            hooks.unregister("after-call.s3.PutObject", die)
            raise Killed

    hooks.register("before-call.s3.PutObject", note)
    hooks.register("after-call.s3.PutObject", die)


def test_cancelled_image_is_finished_without_enlargement(stage: Stage) -> None:
    stage.venice.faults.add(503, endpoint="upscale", times=1)
    stage.drop("p/a.jpg", photo(), sidecar=TWICE)
    stage.pass_time(5)
    cancel(stage, "p/")
    stage.work_off()

    assert stage.metadata("p/a.jpg.png")["enlarged"] == "no: cancelled"
    require_books_agree(stage, 0.03)


def test_cancelled_image_is_not_paid_again_without_kept_answer(stage: Stage) -> None:
    stage.venice.faults.add(503, endpoint="upscale", times=1)
    stage.drop("p/a.jpg", photo(), sidecar=TWICE)
    (kept,) = stage.outputs()
    stage.s3.delete_object(Bucket=OUTPUT, Key=kept)
    stage.pass_time(5)
    cancel(stage, "p/")
    stage.work_off()

    assert stage.report("p/a.jpg")["code"] == "cancelled"
    require_books_agree(stage, 0.03)


def test_renamed_picture_is_enlarged_for_nothing(
    stage: Stage, metrics: Callable[[], dict[str, list[float]]]
) -> None:
    for folder, more in (("plain", {}), ("kept", {"keep_original": True, "fresh": False})):
        stage.drop(f"{folder}/a.jpg", photo(folder), sidecar=TWICE | more)
        assert stage.drop(f"{folder}/b.jpg", photo(folder), sidecar=TWICE | more) == "reused"
        metadata = stage.metadata(f"{folder}/b.jpg.png")
        assert (metadata["enlarged"], metadata["saved-usd"]) == ("2 times", "0.050000")
        assert stage.read(f"{folder}/a.jpg.png") == stage.read(f"{folder}/b.jpg.png")
    require_books_agree(stage, 0.03, 0.02, 0.03, 0.02)
    day = stage.services.billing.day(stage.clock.now())
    assert (day.reused, day.saved_usd) == (2, 0.1)
    assert metrics()["Saved"] == [0.05, 0.05]


def test_enlargement_that_is_reused_counts_beside_paid_call(
    stage: Stage, metrics: Callable[[], dict[str, list[float]]]
) -> None:
    stage.venice.change(pictures="fast")  # the cut-outs of all photos are the same
    finish = {"size": "512x512", "upscale": "auto"}
    kept = CUT_OUT | {"finish": finish, "keep_original": True}
    stage.drop("a.jpg", photo("one"), sidecar=kept)
    stage.drop("b.jpg", photo("another"), sidecar=kept)

    metadata = stage.metadata("b.jpg.png")
    assert (metadata["cost-usd"], metadata["saved-usd"]) == ("0.030000", "0.020000")
    require_books_agree(stage, 0.03, 0.02, 0.03)
    day = stage.services.billing.day(stage.clock.now())
    assert (day.reused, day.saved_usd) == (1, 0.02)
    published = metrics()
    assert (published["Reused"], published["Saved"]) == ([1], [0.02])


def test_answer_that_somebody_removed_is_paid_again_to_cent(stage: Stage) -> None:
    stage.venice.faults.add(503, endpoint="upscale", times=1)
    stage.put_json("a.jpg.json", **TWICE)
    event = stage.put("a.jpg", photo())
    stage.upload(event)
    (kept,) = stage.outputs()
    stage.s3.delete_object(Bucket=OUTPUT, Key=kept)
    kill_after_result(stage)
    stage.pass_time(60)
    with pytest.raises(Killed):
        stage.upload(event)
    stage.pass_time(400)
    stage.cold_start()

    stage.work_off()

    assert stage.metadata("a.jpg.png")["cost-usd"] == "0.050000"
    require_books_agree(stage, 0.03, 0.03, 0.02)


def test_new_finish_of_kept_answers_is_free(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=TWICE | {"keep_original": True})
    assert stage.result("a.jpg.larger.png").size == (640, 520)
    other = TWICE["finish"] | {"background": "#00ff00"}  # type: ignore[operator]
    wanted = CUT_OUT | {"keep_original": True, "finish": other}
    assert stage.drop("a.jpg", photo(), sidecar=wanted) == "finished"
    assert stage.metadata("a.jpg.png")["enlarged"] == "2 times"
    require_books_agree(stage, 0.03, 0.02)


def test_fresh_draw_pays_both_calls_again(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=TWICE)
    stage.drop("b.jpg", photo(), sidecar=TWICE | {"fresh": True})
    require_books_agree(stage, 0.03, 0.02, 0.03, 0.02)


@pytest.mark.usefixtures("mapping")
def test_repeated_event_leaves_answer_of_new_draw_that_waits(stage: Stage) -> None:
    stage.configure(DAILY_SPEND_LIMIT_USD="0.09")  # too little for the fourth call
    stage.put_json("a.jpg.json", **TWICE)
    event = stage.put("a.jpg", photo())
    stage.upload(event)
    draw = Upload(INPUT, "a.jpg", retry=f"{FRESH}1", asked_at=stage.clock.now())
    stage.services.queue.send(draw)
    stage.redeliver()
    assert stage.processing_paused

    stage.upload(event)
    stage.pass_time(86_400)
    stage.watch()
    stage.work_off()

    assert paths(stage) == ["background-remove", "upscale"] * 2
    require_nothing_kept(stage)


def test_manifest_and_explain_tell_of_both_calls(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=TWICE)
    deployment = deployment_of(stage)

    found = manifest(deployment)
    (row,) = found.rows
    assert (row.model, row.usd, row.attempts) == ("bria-bg-remover + upscaler", 0.05, 2)

    explanation = explain("a.jpg", deployment)
    (request,) = explanation.requests
    assert "It cost $0.05 (bria-bg-remover), enlarged 2 times." in request.state.text
    assert (request.usd, request.enlarging_usd) == (0.03, 0.08)
    life = [moment.what for moment in explanation.life]
    assert "call of upscaler: paid $0.02" in life
