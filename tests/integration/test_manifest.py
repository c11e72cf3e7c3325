"""The manifest tells what became of each image, and adds up with the ledger and with Venice."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from image_drop.state.billing import micro
from image_drop.state.edit_record import MAX_CLOSED, Call, CallState, Record
from image_drop_cli.manifest import Row, as_csv, manifest, noted, row_of
from image_drop_cli.upload.events import Arrived, Event, NotSent, Sent
from tests.support.interruptions import Killed
from tests.support.stage import INPUT, Stage
from tests.support.stage_deployment import deployment_of

CUT_OUT = {"mode": "background-remove"}  # $0.03
PINK = {"prompt": "make the sky pink"}  # $0.04


def charged(stage: Stage) -> float:
    return round(sum(call.charged_usd for call in stage.venice.calls), 6)


def rows(stage: Stage, prefix: str = "", since: float = 0.0) -> dict[str, Row]:
    found = manifest(deployment_of(stage), prefix, since)
    return {f"{row.file} {row.variant}".strip(): row for row in found.rows}


def test_row_tells_outcome_cost_and_what_to_do(stage: Stage) -> None:
    stage.drop("shop/a.jpg", sidecar=PINK | {"reference": "order 7"})
    stage.drop("shop/b.jpg", data=b"a text", sidecar=CUT_OUT | {"reference": "order 8"})
    stage.drop("c.jpg")
    stage.venice.faults.add(503, times=1)
    stage.drop("d.jpg", tags=CUT_OUT)

    found = rows(stage)

    assert list(found) == ["c.jpg", "d.jpg", "shop/a.jpg", "shop/b.jpg"]
    assert (found["d.jpg"].outcome, found["d.jpg"].code) == ("unfinished", "venice_unavailable")
    assert "do not need to do anything" in found["d.jpg"].what_to_do
    a, b = found["shop/a.jpg"], found["shop/b.jpg"]
    assert (a.reference, a.outcome, a.result) == ("order 7", "result", "shop/a.jpg.png")
    assert (a.model, a.usd, a.attempts, a.code) == ("firered-image-edit", 0.04, 1, "")
    assert a.at.startswith("20")
    assert (b.reference, b.outcome, b.result) == ("order 8", "report", "shop/b.jpg.error.json")
    assert (b.usd, b.attempts, b.code) == (0.0, 0, "not_an_image")
    assert b.what_to_do.startswith("Upload a JPEG")
    assert found["c.jpg"].code == "no_instructions"
    assert set(rows(stage, "shop/")) == {"shop/a.jpg", "shop/b.jpg"}
    assert set(rows(stage, "op/")) == set()


def test_sum_is_that_of_ledger_and_of_venice(stage: Stage) -> None:
    stage.drop("a.jpg", sidecar=PINK)
    stage.drop("a.jpg", sidecar=PINK | {"enhance_prompt": True})  # an older result costs, too
    stage.drop("b.jpg", sidecar={"variants": {"pink": PINK, "cut": CUT_OUT}})
    stage.venice.faults.add(503, times=1)
    stage.drop("c.jpg", tags=CUT_OUT)
    stage.venice.faults.add(400, times=1)
    stage.drop("d.jpg", tags=CUT_OUT)
    stage.kill("before-call.PutObject")
    try:
        stage.drop("e.jpg", tags=CUT_OUT)
    except Killed:
        stage.pass_time(300)
        stage.cold_start()
    stage.work_off()
    stage.drop("f.jpg", tags=CUT_OUT)
    stage.s3.delete_object(Bucket=INPUT, Key="f.jpg")

    found = manifest(deployment_of(stage))

    day = stage.services.billing.day(stage.clock.now())
    assert found.usd == day.usd
    assert found.unconfirmed_usd == day.unconfirmed_usd == 0.03  # of e.jpg, which died
    assert round(found.usd + found.unconfirmed_usd, 6) == charged(stage)
    by_file = {f"{row.file} {row.variant}".strip(): row for row in found.rows}
    assert by_file["a.jpg"].usd == 0.12
    assert "b.jpg" not in by_file
    assert (by_file["b.jpg pink"].usd, by_file["b.jpg cut"].usd) == (0.04, 0.03)
    assert (by_file["c.jpg"].usd, by_file["c.jpg"].attempts) == (0.03, 2)
    assert (by_file["d.jpg"].usd, by_file["d.jpg"].code) == (0.0, "refused")
    assert by_file["f.jpg"].outcome == "result"


def test_calls_that_record_forgets_still_count() -> None:
    record, times = Record(), MAX_CLOSED + 3
    for number in range(times):
        call = Call(
            id=str(number),
            digest="",
            drop="",
            at=float(number),
            date="2026-11-24",
            model="firered-image-edit",
            micro_usd=micro(0.04),
        )
        record = record.begun(call).settled(call.id, CallState.PAID, micro(0.05))

    row = row_of("a.jpg", None, record)

    assert row is not None
    assert row.usd == round(times * 0.05, 6)
    assert len(record.calls) == MAX_CLOSED + 1


def test_since_counts_only_what_is_newer(stage: Stage) -> None:
    stage.drop("a.jpg", tags=CUT_OUT)
    stage.drop("b.jpg", tags=CUT_OUT)
    stage.pass_time(3600)
    later = stage.clock.now()
    stage.drop("b.jpg", sidecar=PINK)

    found = rows(stage, since=later)

    assert {name: row.usd for name, row in found.items()} == {"b.jpg": 0.04}


def test_run_of_put_leaves_manifest_next_to_results(stage: Stage, tmp_path: Path) -> None:
    stage.drop("a.jpg", tags=CUT_OUT | {"reference": "order 7"})
    arrived = Arrived("a.jpg", None, "a.jpg.png", 9, 1.0, None, None, already=False)
    expired = replace(arrived, key="old.jpg", output_key="old.jpg.png", already=True)
    events = [Sent("a.jpg", already=False), None, arrived, expired, NotSent("=b.jpg", "Gone.")]

    def stopped() -> Iterator[Event | None]:
        yield from events
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(noted(stopped(), deployment_of(stage), tmp_path / "out"))

    with (tmp_path / "out" / "manifest.csv").open(encoding="utf-8-sig", newline="") as file:
        found = {row["file"]: row for row in csv.DictReader(file)}
    a = found["a.jpg"]
    assert (a["reference"], a["outcome"], a["usd"]) == ("order 7", "result", "0.03")
    assert (found["old.jpg"]["outcome"], found["old.jpg"]["usd"]) == ("result", "0")
    assert (found["'=b.jpg"]["outcome"], found["'=b.jpg"]["what_to_do"]) == ("not sent", "Gone.")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.csv"]
    assert list(noted([None], deployment_of(stage), tmp_path / "none")) == [None]
    assert not (tmp_path / "none").exists()


def test_cells_of_strangers_are_no_formulas_and_no_controls() -> None:
    hostile = ['=HYPERLINK("http://x")', "+1", "-1", "@x", 'a"b,c', "\x1b[31mred", "a\nb", "ü.jpg"]
    lines = list(as_csv(Row(file=name, reference=name, usd=0.04) for name in hostile))

    found = list(csv.DictReader(lines))

    assert [row["file"] for row in found] == [
        '\'=HYPERLINK("http://x")',
        "'+1",
        "'-1",
        "'@x",
        'a"b,c',
        "\\u001b[31mred",
        "a\\u000ab",
        "ü.jpg",
    ]
    assert {row["usd"] for row in found} == {"0.04"}
    assert {row["unconfirmed_usd"] for row in found} == {"0"}
