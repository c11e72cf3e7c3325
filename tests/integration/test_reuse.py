"""The same picture is paid once, whatever it is called; a new draw is paid when it is asked for."""

from typing import Any

import pytest

from image_drop.state.billing import Day
from image_drop.state.edit_record import record_id
from image_drop.uploads import FRESH, Upload
from tests.support.interruptions import Killed
from tests.support.pictures import photo
from tests.support.stage import INPUT, OUTPUT, Stage

CUT_OUT = {"mode": "background-remove"}  # $0.03
PINK = {"prompt": "make the sky pink"}
FRAMED = CUT_OUT | {"finish": {"preset": "amazon", "size": "1000x1000"}}
KEPT = FRAMED | {"keep_original": True}


def today(stage: Stage) -> Day:
    return stage.services.billing.day(stage.clock.now())


def ask(stage: Stage, key: str, *, fresh: bool) -> None:
    """Retry an image, as `image-drop retry` does."""
    id = (FRESH if fresh else "") + stage.services.new_id()
    stage.services.queue.send(Upload(INPUT, key, retry=id, asked_at=stage.clock.now()))
    stage.work_off()


@pytest.mark.parametrize("wanted", [CUT_OUT, FRAMED, KEPT])
def test_renamed_picture_costs_nothing_and_says_so(stage: Stage, wanted: dict[str, Any]) -> None:
    assert stage.drop("a/one.jpg", photo(), sidecar=wanted) == "edited"
    assert stage.drop("b/two.jpg", photo(), sidecar=wanted) == "reused"

    one, two = (name for name in stage.outputs() if "original" not in name)
    assert stage.paid == 1
    assert stage.read(one) == stage.read(two)
    metadata = stage.metadata(two)
    source = one.replace(".jpg.jpg", ".jpg.original.png") if wanted is KEPT else one
    assert metadata["reused-from"] == source
    assert (metadata["cost-usd"], metadata.get("call")) == ("0.000000", None)
    assert metadata["source-key"] == "b/two.jpg"
    assert metadata["model"] == stage.metadata(one)["model"]
    assert metadata.get("check") == stage.metadata(one).get("check")
    _, (kind, event) = stage.events()
    assert (kind, event["reused_from"]["key"], event["attempts"]) == ("Image Edited", source, 0)
    day = today(stage)
    assert (day.reused, day.saved_usd) == (1, day.usd)


def test_removed_result_that_is_dropped_again_is_saved_too(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), tags=CUT_OUT)
    stage.drop("b.jpg", photo(), tags=CUT_OUT)
    stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")

    assert stage.drop("a.jpg", photo(), tags=CUT_OUT) == "reused"

    day = today(stage)
    assert (stage.paid, day.reused, day.saved_usd) == (1, 2, 0.06)


def test_result_found_after_other_instructions_is_saved_once(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=CUT_OUT)
    stage.drop("b.jpg", photo(), sidecar=CUT_OUT)

    stage.upload(stage.put_json("b.jpg.json", variants={"pink": PINK}))
    stage.work_off()
    stage.upload(stage.put_json("b.jpg.json", **CUT_OUT))

    assert stage.outputs("b.jpg") == ["b.jpg.pink.png", "b.jpg.png"]
    assert (today(stage).reused, today(stage).saved_usd) == (1, 0.03)


def test_check_of_preset_is_in_metadata_and_record(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar=FRAMED)
    stage.drop("b.jpg", sidecar=CUT_OUT | {"finish": {"preset": "amazon", "size": "500x500"}})
    assert stage.metadata("a.jpg.jpg")["check"] == "passed"
    assert "longest side under 1000" in stage.metadata("b.jpg.jpg")["check"]


def test_kept_original_makes_new_finish_free_under_any_name(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=KEPT)
    other = {"finish": {"size": "300x300", "format": "webp"}}
    assert stage.drop("b.jpg", photo(), sidecar=CUT_OUT | other) == "reused"
    assert stage.drop("c.jpg", photo(), sidecar=CUT_OUT) == "reused"
    assert stage.result("b.jpg.webp").size == (300, 300)
    assert stage.paid == 1


def test_finished_result_alone_is_no_answer_for_other_finish(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=FRAMED)
    assert stage.drop("b.jpg", photo(), sidecar=CUT_OUT) == "edited"
    assert stage.drop("c.jpg", photo(), sidecar=KEPT) == "reused"  # from b's answer
    assert stage.paid == 2


def test_other_call_is_paid(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), sidecar=PINK)
    assert stage.drop("b.jpg", photo(), sidecar=PINK | {"prompt": "another"}) == "edited"
    assert stage.drop("c.jpg", photo(), sidecar=CUT_OUT) == "edited"
    assert stage.drop("d.jpg", photo("another"), sidecar=PINK) == "edited"
    assert stage.drop("e.jpg", photo(), sidecar=PINK | {"fresh": True}) == "edited"
    assert stage.paid == 5


def test_layers_are_part_of_what_was_sent(stage: Stage) -> None:
    wanted = {"prompt": "a poster", "layers": ["_layers/mask.png"]}
    for folder, mask in (("a", "one"), ("b", "one"), ("c", "two")):
        stage.put(f"{folder}/_layers/mask.png", photo(mask, form="PNG"))
        stage.drop(f"{folder}/x.jpg", photo(), sidecar=wanted)
    assert stage.paid == 2
    assert stage.metadata("b/x.jpg.png")["reused-from"] == "a/x.jpg.png"


def test_layer_at_url_is_never_reused(stage: Stage) -> None:
    wanted = {"prompt": "a poster", "layers": ["https://pictures.example/boat.jpg"]}
    for key in ("a.jpg", "b.jpg"):
        assert stage.drop(key, photo(), sidecar=wanted) == "edited"
    assert stage.paid == 2


@pytest.mark.parametrize("replaced", [False, True])
def test_result_that_was_removed_or_replaced_is_not_served(stage: Stage, replaced: bool) -> None:
    stage.drop("a.jpg", photo(), sidecar=CUT_OUT)
    if replaced:
        stage.s3.put_object(Bucket=OUTPUT, Key="a.jpg.png", Body=photo("somebody's", form="PNG"))
    else:
        stage.s3.delete_object(Bucket=OUTPUT, Key="a.jpg.png")
    assert stage.drop("b.jpg", photo(), sidecar=CUT_OUT) == "edited"
    assert stage.paid == 2
    assert stage.drop("c.jpg", photo(), sidecar=CUT_OUT) == "reused"


def test_strangers_get_results_of_their_own_folder_only(stage: Stage) -> None:
    stage.configure(UNTRUSTED_PREFIXES="ann/, bob/", DEFAULT_MODE="background-remove")
    endings = [stage.drop(key, photo()) for key in ("x.jpg", "ann/x.jpg", "bob/x.jpg")]
    assert endings == ["edited"] * 3
    assert [stage.drop(key, photo()) for key in ("y.jpg", "ann/y.jpg")] == ["reused"] * 2
    assert stage.metadata("ann/y.jpg.png")["reused-from"] == "ann/x.jpg.png"


@pytest.mark.parametrize("wanted", [CUT_OUT, KEPT])
def test_fresh_retry_makes_result_again_once(stage: Stage, wanted: dict[str, Any]) -> None:
    stage.drop("a.jpg", photo(), sidecar=wanted)
    name = next(name for name in stage.outputs() if "original" not in name)
    first = stage.metadata(name)["call"]
    ask(stage, "a.jpg", fresh=False)
    assert stage.paid == 1

    ask(stage, "a.jpg", fresh=True)

    assert stage.paid == 2
    assert stage.metadata(name)["call"] != first
    assert [kind for kind, _ in stage.events()] == ["Image Edited"] * 2
    stage.upload(stage.put("a.jpg", photo()))
    assert stage.paid == 2


def test_result_reused_meanwhile_is_no_new_draw(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), tags=CUT_OUT)
    asked_at = stage.clock.now()
    stage.clock.sleep(20)
    assert stage.drop("b.jpg", photo(), tags=CUT_OUT) == "reused"

    stage.services.queue.send(Upload(INPUT, "b.jpg", retry=FRESH + "1", asked_at=asked_at))
    stage.work_off()

    day = today(stage)
    assert (stage.paid, day.reused, day.saved_usd) == (2, 1, 0.03)
    assert "reused-from" not in stage.metadata("b.jpg.png")


def test_new_draw_that_fails_is_reported_and_result_stays(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), tags=CUT_OUT)
    first = stage.read("a.jpg.png")
    stage.venice.faults.add("html", times=1)
    ask(stage, "a.jpg", fresh=True)
    assert stage.report("a.jpg")["code"] == "unusable_answer"
    assert stage.read("a.jpg.png") == first

    ask(stage, "a.jpg", fresh=False)

    assert (stage.outputs(), stage.paid) == (["a.jpg.png"], 2)


def test_kept_older_answer_brings_no_outcome_back(stage: Stage) -> None:
    stage.drop("a.jpg", photo(), tags=CUT_OUT)
    stage.put_json("a.jpg.json", **FRAMED)
    stage.kill("before-call.DeleteObject")  # the finish is stored, and its answer still kept
    with pytest.raises(Killed):
        stage.upload(stage.put("a.jpg", photo()))
    stage.pass_time(400)
    stage.cold_start()
    stage.drop("b.jpg", photo("another"), sidecar=FRAMED)
    event = stage.put("a.jpg", photo("another"))  # whose result is reused
    stage.upload(event)
    stage.work_off()
    stage.events()

    stage.upload(event)

    assert stage.events() == []
    record = stage.services.records.read_record(record_id(INPUT, "a.jpg", None)).record
    assert record.outcome
    assert record.outcome.key == "a.jpg.jpg"


@pytest.mark.parametrize("moment", ["before-call.PutObject", "after-call.PutObject"])
def test_death_in_reuse_pays_nothing_and_counts_it_once(stage: Stage, moment: str) -> None:
    stage.drop("a.jpg", photo(), sidecar=CUT_OUT)
    stage.put_json("b.jpg.json", **CUT_OUT)
    event = stage.put("b.jpg", photo())
    stage.kill(moment)
    with pytest.raises(Killed):
        stage.upload(event)
    stage.pass_time(400)
    stage.cold_start()

    stage.upload(event)
    stage.work_off()

    assert stage.metadata("b.jpg.png")["reused-from"] == "a.jpg.png"
    day = today(stage)
    assert (stage.paid, day.reused, day.saved_usd) == (1, 1, 0.03)
    assert [kind for kind, _ in stage.events()] == ["Image Edited"] * 2
