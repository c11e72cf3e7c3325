"""The webhook: nothing of it without a URL, and what keeps its events with one."""

from typing import Any

import pytest

from tests.support.resolved import Resolved

URL = "https://shop.example/image-drop"


@pytest.fixture
def webhook(whole: dict[str, Any]) -> Resolved:
    return Resolved(whole, WebhookUrl=URL)


def test_without_url_there_is_nothing_of_it(whole: dict[str, Any]) -> None:
    assert not [name for name in Resolved(whole).resources if name.startswith("Webhook")]


def test_secret_is_header_and_comes_from_systems_manager(webhook: Resolved) -> None:
    connection = webhook.resources["WebhookConnection"]
    assert connection["AuthorizationType"] == "API_KEY"
    assert connection["AuthParameters"]["ApiKeyAuthParameters"] == {
        "ApiKeyName": "X-Image-Drop-Secret",
        "ApiKeyValue": "{{resolve:ssm:/image-drop/webhook-secret}}",
    }


def test_all_events_go_there_with_retries_and_queue_for_rest(webhook: Resolved) -> None:
    rule, destination = webhook.resources["WebhookRule"], webhook.resources["Webhook"]
    [target] = rule["Targets"]

    assert (destination["InvocationEndpoint"], destination["HttpMethod"]) == (URL, "POST")
    assert rule["EventPattern"] == {"source": ["image-drop"]}
    assert target["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": 86_400,
        "MaximumRetryAttempts": 185,
    }
    queue = webhook.resources["WebhookQueuePolicy"]["PolicyDocument"]["Statement"][0]
    assert target["DeadLetterConfig"] == {"Arn": queue["Resource"]}
    assert queue["Principal"] == {"Service": "events.amazonaws.com"}
    assert list(queue["Condition"]) == ["ArnEquals"]


def test_role_may_call_this_webhook_and_nothing_else(webhook: Resolved) -> None:
    [statement] = webhook.statements("WebhookRole")
    [target] = webhook.resources["WebhookRule"]["Targets"]

    assert (statement["Action"], statement["Resource"]) == (
        "events:InvokeApiDestination",
        target["Arn"],
    )
