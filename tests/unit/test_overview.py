"""`image-drop status` on a stack that nobody has used, and on one that needs somebody."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from image_drop.storage.retry_queue import Depth
from image_drop_cli.commands.status import shown as shown_overview
from image_drop_cli.overview import Functions, Hour, Overview, Today, gather
from tests.support.quiet_stack import QuietStack, quiet_stack


@pytest.fixture
def stack(
    boto_client: Callable[[str], Any], input_bucket: str, output_bucket: str, table: str
) -> QuietStack:
    return quiet_stack(boto_client)


def shown(overview: Overview) -> list[str]:
    """The lines, with one space between words."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(shown_overview(overview))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_untouched_stack_has_nothing_to_tell_and_needs_nobody(stack: QuietStack) -> None:
    overview = gather(stack.deployment)
    assert not overview.needs_you
    assert (overview.queue.total, overview.dead, overview.today.usd) == (0, 0, 0.0)
    assert overview.last_hour == Hour(results=0, reports=0)
    assert overview.balance is None
    assert overview.backfill is None
    lines = shown(overview)
    assert lines[:2] == [
        "image-drop is running.",
        "Nothing is queued. Today has cost $0.00 of $50.00.",
    ]
    assert "images go to s3://input/" in lines
    assert "results are in s3://output/" in lines
    assert "queue empty" in lines
    assert "processing running" in lines
    assert "spent today $0.00" in lines[lines.index("processing running") + 1]


def test_last_hour_is_counted_from_metrics_of_this_stack(stack: QuietStack) -> None:
    cloudwatch, now = stack.deployment.client("cloudwatch"), datetime.now(UTC)

    def put(metric: str, name: str, value: str, number: float, ago: float, service: str) -> None:
        dimensions = [{"Name": name, "Value": value}, {"Name": "service", "Value": service}]
        data = {"MetricName": metric, "Dimensions": dimensions, "Value": number}
        data["Timestamp"] = now - timedelta(minutes=ago)
        cloudwatch.put_metric_data(Namespace="ImageDrop", MetricData=[data])

    put("Edited", "mode", "edit", 3, 30, "image-drop")
    put("Edited", "mode", "background-remove", 1, 2, "image-drop")
    put("Edited", "mode", "multi-edit", 7, 70, "image-drop")
    put("Edited", "mode", "edit", 9, 2, "another-stack")
    put("Failed", "code", "too_small", 1, 2, "image-drop")
    put("Failed", "code", "refused", 1, 50, "image-drop")

    overview = gather(stack.deployment)
    assert overview.last_hour == Hour(results=4, reports=2)
    assert "last hour 4 results, 2 reports" in shown(overview)


def test_folders_whose_file_changed_are_announced(stack: QuietStack) -> None:
    scans = stack.deployment.services.folder_scans
    for folder in ("photos/", "shop/"):
        scans.look_again(folder, 0.0)
    assert "folder files 2 folders next, within minutes" in shown(gather(stack.deployment))

    scans.next_folder(1.0)
    assert (
        "folder files looking again at photos/: 0 images scanned, 0 queued; "
        "1 folder next, within minutes"
    ) in shown(gather(stack.deployment))


def test_paused_processing_is_shown_with_its_reason(stack: QuietStack) -> None:
    services = stack.deployment.services
    services.circuit_breaker.stop("account_unavailable", "Venice answered 402.", services.now())
    overview = gather(stack.deployment)
    assert overview.needs_you
    assert overview.seconds_left is None
    lines = shown(overview)
    assert lines[0].startswith("image-drop has been paused for ")
    assert lines[0].endswith(
        "Venice answered 402. It resumes by itself within five minutes after the cause is gone."
    )
    [line] = [line for line in lines if line.startswith("processing")]
    assert line.endswith("(account_unavailable): Venice answered 402.")
    assert line.startswith("processing paused for ")


def test_spend_of_day_is_shown_by_model(stack: QuietStack) -> None:
    today = Today(1.23, 0.05, 50.0, {"a-edit": 1.2, "b-edit": 0.03}, {"a-edit": 1000, "b-edit": 1})
    lines = shown(replace(gather(stack.deployment), today=today))
    start = lines.index("spent today $1.23 of $50.00, and $0.05 in progress or unconfirmed")
    assert lines[start + 1 : start + 3] == [
        "a-edit $1.20 for 1,000 calls",
        "b-edit $0.03 for 1 call",
    ]


def test_headline_counts_what_waits_and_what_needs_you(stack: QuietStack) -> None:
    busy = replace(
        gather(stack.deployment),
        queue=Depth(1200, 4, 0),
        seconds_left=3720.0,
        dead=2,
        today=Today(12.4, 0.0, 80.0, {}, {}, 50.0),
    )
    assert shown(busy)[1:3] == [
        "1,204 uploads are queued, which takes up to 62 min. "
        "Today has cost $12.40 of $80.00 (the limit of today only).",
        "2 dead letters need you: see `image-drop dead list`.",
    ]


@pytest.mark.parametrize(
    ("functions", "line"),
    [
        (Functions(23, 23, "need"), "functions up to 23 at once, as many as the rate needs"),
        (
            Functions(5, 23, "account"),
            "functions up to 5 at once of 23 that the rate needs: "
            "half of what the AWS account runs at once",
        ),
        (
            Functions(10, 135, "parameter"),
            "functions up to 10 at once of 135 that the rate needs: MaximumConcurrency",
        ),
    ],
)
def test_concurrency_is_shown_with_its_cause(
    stack: QuietStack, functions: Functions, line: str
) -> None:
    assert line in shown(replace(gather(stack.deployment), functions=functions))


def test_new_aws_account_keeps_half_of_its_concurrency(stack: QuietStack) -> None:
    assert gather(stack.deployment).functions == Functions(5, 23, "account")


def test_parameter_bounds_concurrency(boto_client: Callable[[str], Any], stack: QuietStack) -> None:
    bounded = quiet_stack(boto_client, MaximumConcurrency="3")

    assert gather(bounded.deployment).functions == Functions(3, 23, "parameter")
