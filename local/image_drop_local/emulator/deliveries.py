"""What ministack leaves out about events: those about new tags, queues' policies, webhooks' stacks.

It uses what is private to ministack, as `bursts` does. Only `stack` may import it.
"""

import json
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import eventbridge, s3, sqs
from ministack.services.cloudformation import provisioners

_put_tags = s3._put_object_tagging
_invoke_target = eventbridge._invoke_target


def install() -> None:
    """Let the emulator do what AWS does there."""
    s3._put_object_tagging = _put_and_announce
    s3._S3_EVENTBRIDGE_DETAIL_TYPE["ObjectTagging"] = "Object Tags Added"
    eventbridge._invoke_target = _invoke_if_allowed
    for kind, name in {"Connection": "connection", "ApiDestination": "api_destination"}.items():
        provisioners._RESOURCE_HANDLERS[f"AWS::Events::{kind}"] = {
            "create": _made_by(getattr(eventbridge, f"_create_{name}"), kind),
            "delete": _removed_by(getattr(eventbridge, f"_delete_{name}")),
        }


def _put_and_announce(bucket: str, key: str, *rest: Any) -> Any:
    answer = _put_tags(bucket, key, *rest)
    if answer[0] == 200:
        s3._fire_s3_event_async(bucket, key, "s3:ObjectTagging:Put")
    return answer


def _invoke_if_allowed(target: dict[str, Any], event: Any, rule: dict[str, Any], *rest: Any) -> Any:
    arn, sender = target.get("Arn", ""), "events.amazonaws.com"
    if ":sqs:" in arn and not sqs.queue_policy_allows(arn, sender, rule["Arn"], get_account_id()):
        return None
    return _invoke_target(target, event, rule, *rest)


def _made_by(operation: Callable[[dict[str, Any]], Any], kind: str) -> Callable[..., Any]:
    """Return what CloudFormation makes a resource of this kind with: its name and attributes."""

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, Any]:
        name = f"{stack}-{logical_id}"
        answer = operation({"Name": name, **properties})
        return name, {"Arn": json.loads(answer[2])[f"{kind}Arn"]}

    return create


def _removed_by(operation: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    return lambda name, _properties: operation({"Name": name})
