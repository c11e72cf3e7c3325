"""The rules of template.yaml that tell of the spend by mail."""

import json
import re
from typing import Any

import msgspec
import pytest

from image_drop import events
from image_drop.events import SpendDayEnded, SpendLevelReached

Resource = dict[str, Any]


@pytest.mark.parametrize(
    ("rule", "event"), [("SpendLevelRule", SpendLevelReached), ("SpendDayRule", SpendDayEnded)]
)
def test_spend_is_told_with_fields_of_its_event(
    resources: dict[str, Resource], rule: str, event: type[events.Event]
) -> None:
    properties = resources[rule]["Properties"]
    assert properties["EventPattern"] == {
        "source": [events.SOURCE],
        "detail-type": [event.name],
    }
    [target] = properties["Targets"]
    assert target["Arn"] == {"Ref": "AlarmTopic"}
    paths = target["InputTransformer"]["InputPathsMap"]
    fields = {field.name for field in msgspec.structs.fields(event)}
    assert {path.removeprefix("$.detail.") for path in paths.values()} <= fields
    text = target["InputTransformer"]["InputTemplate"]["Fn::Sub"]
    assert set(re.findall(r"<(\w+)>", text)) == paths.keys()
    assert json.loads(text).endswith(".")


def test_alarms_and_rules_may_publish_to_topic(resources: dict[str, Resource]) -> None:
    policy = resources["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]
    who = {each["Principal"]["Service"]: each for each in policy["Statement"]}
    assert who.keys() == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    # EventBridge has no context for a condition when it publishes to a topic.
    assert "Condition" not in who["events.amazonaws.com"]
