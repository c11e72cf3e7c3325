"""The spend by day, model and folder adds up with the ledger and with Venice."""

from typing import Any

from image_drop.state.billing import micro
from image_drop.state.edit_record import record_id
from image_drop_cli.commands.spend import bar
from image_drop_cli.spending import FORGOTTEN, TOP, By, Part, Spending, spending
from tests.support.stage import INPUT, Stage
from tests.support.stage_deployment import deployment_of

CUT_OUT = {"mode": "background-remove"}  # $0.03
PINK = {"prompt": "make the sky pink"}  # $0.04
DAY = 86_400


def charged(stage: Stage) -> float:
    return round(sum(call.charged_usd for call in stage.venice.calls), 6)


def found(stage: Stage, **wanted: Any) -> Spending:
    """The spend, by the clock of the stage."""
    return spending(deployment_of(stage), **wanted)


def test_spend_is_divided_by_day_model_and_folder(stage: Stage) -> None:
    stage.drop("shop/a.jpg", tags=CUT_OUT)
    stage.pass_time(2 * DAY)
    stage.drop("shop/left/b.jpg", sidecar=PINK)
    stage.drop("c.jpg", tags=CUT_OUT)
    stage.drop("holiday/d.jpg", data=b"no photo", tags=CUT_OUT)
    stage.configure(read_timeout=1.0)
    stage.venice.faults.add("drop_mid", times=1)
    stage.drop("holiday/e.jpg", tags=CUT_OUT)

    whole = found(stage)
    assert [(part.usd, part.unconfirmed_usd, part.calls) for part in whole.parts] == [
        (0.03, 0.0, 1),
        (0.07, 0.03, 2),
    ]
    assert (whole.usd, whole.unconfirmed_usd, whole.calls) == (0.1, 0.03, 3)
    assert round(whole.usd + whole.unconfirmed_usd, 6) == charged(stage)
    assert [part.name for part in found(stage, days=2).parts] == [whole.last]
    assert whole.first < whole.parts[0].name < whole.last
    assert whole.aws_usd == 0.0  # a tenth of a cent
    assert len(found(stage, days=400).parts) == 2

    assert found(stage, by=By.MODEL).parts == (
        Part("bria-bg-remover", 0.06, None, 2),
        Part("firered-image-edit", 0.04, None, 1),
    )

    assert found(stage, by=By.PREFIX).parts == (
        Part("shop/", 0.07, 0.0, 2),
        Part(TOP, 0.03, 0.0, 1),
        Part("holiday/", 0.0, 0.03, 0),
    )
    assert found(stage, by=By.PREFIX, days=1).parts[0] == Part("shop/", 0.04, 0.0, 1)


def test_calls_that_records_forgot_are_part_of_their_own(stage: Stage) -> None:
    stage.drop("shop/a.jpg", tags=CUT_OUT)
    stage.drop("shop/a.jpg", sidecar=PINK)
    id = record_id(INPUT, "shop/a.jpg", None)
    stage.services.records.change_record(
        id, lambda record: record.__replace__(calls=record.calls[1:])
    )
    whole = found(stage, by=By.PREFIX)
    assert whole.parts == (Part("shop/", 0.04, 0.0, 1), Part(FORGOTTEN, 0.03, None, 1))
    assert micro(whole.usd) == sum(micro(part.usd) for part in whole.parts)


def test_stack_without_spend_has_no_parts(stage: Stage) -> None:
    assert found(stage).parts == found(stage, by=By.PREFIX).parts == ()


def test_bars_are_as_long_as_their_parts() -> None:
    assert bar(2.0, 2.0) == "█" * 24
    assert bar(1.0, 2.0) == "█" * 12
    assert bar(0.0001, 2.0) == "▏"
    assert bar(0.0, 2.0) == bar(0.0, 0.0) == ""
