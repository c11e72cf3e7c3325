"""The dashboard: what it shows is published, and is this stack's."""

import json
import re
from pathlib import Path
from typing import Any

Resource = dict[str, Any]

PROJECT = Path(__file__).parents[2]


def test_dashboard_has_two_columns_that_do_not_overlap(resources: dict[str, Resource]) -> None:
    titles = [widget["properties"]["title"] for widget in widgets(resources)]
    for asked in ("edited", "Failures by code", "latency", "limits", "queue", "Age", "Spend"):
        assert any(asked in title for title in titles), asked
    places = {(widget["x"], widget["y"]) for widget in widgets(resources)}
    assert len(places) == len(titles)


def test_it_asks_only_for_metrics_that_are_published(resources: dict[str, Resource]) -> None:
    code = "".join(path.read_text() for path in (PROJECT / "layers").rglob("*.py"))
    body, _ = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    own = re.findall(r'MetricName=\\"(\w+)|"ImageDrop", "(\w+)"', body)
    assert len(own) >= 10
    for name in {searched or named for searched, named in own}:
        assert f'"{name}"' in code, name


def test_another_stack_has_dashboard_of_its_own(resources: dict[str, Resource]) -> None:
    name = resources["Dashboard"]["Properties"]["DashboardName"]["Fn::Sub"]
    assert "${AWS::StackName}" in name
    for widget in widgets(resources):
        for metric in map(json.dumps, widget["properties"]["metrics"]):
            assert re.search(r"\$\{(AWS::StackName|Ours|\w+Queue\.QueueName)\}", metric), metric
    _, values = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    assert values == {"Ours": {"Fn::Sub": 'service=\\"${AWS::StackName}\\"'}}


def widgets(resources: dict[str, Resource]) -> list[dict[str, Any]]:
    body, _ = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    return json.loads(body)["widgets"]  # type: ignore[no-any-return]
