"""What the event bus is told, as a rule in another account would read it."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from image_drop.events import (
    AccountRestored,
    AccountUnavailable,
    Event,
    ImageEdited,
    ImageEditFailed,
    LimitChanged,
    Place,
    SpendDayEnded,
    SpendLevelReached,
)
from image_drop.storage.event_bus import EventBus

EDITED = ImageEdited(
    event_id="e1",
    input=Place("input", "shoe.jpg"),
    output=Place("output", "shoe.jpg.png"),
    reference="order 7",
    mode="edit",
    variant=None,
    model="firered-image-edit",
    edit_id="0123",
    request_id="8f2a-FRA",
    changes=("rotated",),
    duration=1.5,
    attempts=1,
)
FAILED = ImageEditFailed(
    event_id="e2",
    input=Place("input", "shoe.jpg"),
    output=Place("output", "shoe.jpg.error.json"),
    reference=None,
    mode=None,
    variant="cutout",
    model=None,
    edit_id=None,
    request_id=None,
    code="empty_file",
    title="The file is empty",
    duration=0.0,
    attempts=1,
)
DETAILS: list[tuple[Event, str, dict[str, Any]]] = [
    (
        EDITED,
        "Image Edited",
        {
            "version": 1,
            "event_id": "e1",
            "input": {"bucket": "input", "key": "shoe.jpg"},
            "output": {"bucket": "output", "key": "shoe.jpg.png"},
            "reference": "order 7",
            "mode": "edit",
            "variant": None,
            "model": "firered-image-edit",
            "edit_id": "0123",
            "request_id": "8f2a-FRA",
            "changes": ["rotated"],
            "duration": 1.5,
            "attempts": 1,
            "reused_from": None,
        },
    ),
    (
        FAILED,
        "Image Edit Failed",
        {
            "version": 1,
            "event_id": "e2",
            "input": {"bucket": "input", "key": "shoe.jpg"},
            "output": {"bucket": "output", "key": "shoe.jpg.error.json"},
            "reference": None,
            "mode": None,
            "variant": "cutout",
            "model": None,
            "edit_id": None,
            "request_id": None,
            "code": "empty_file",
            "title": "The file is empty",
            "duration": 0.0,
            "attempts": 1,
        },
    ),
    (
        AccountUnavailable(
            event_id="e3", reason="account_unavailable", detail="Venice answered 402."
        ),
        "Venice Account Unavailable",
        {
            "version": 1,
            "event_id": "e3",
            "reason": "account_unavailable",
            "detail": "Venice answered 402.",
        },
    ),
    (
        AccountRestored(event_id="e4", stopped_for=300.0),
        "Venice Account Restored",
        {"version": 1, "event_id": "e4", "stopped_for": 300.0},
    ),
    (
        LimitChanged(event_id="e5", model="firered-image-edit", limit=60, former=20),
        "Venice Limit Changed",
        {"version": 1, "event_id": "e5", "model": "firered-image-edit", "limit": 60, "former": 20},
    ),
    (
        SpendLevelReached(
            event_id="e6",
            date="2026-11-24",
            percent=80,
            limit_usd=50.0,
            usd=39.96,
            unconfirmed_usd=0.08,
        ),
        "Spend Level Reached",
        {
            "version": 1,
            "event_id": "e6",
            "date": "2026-11-24",
            "percent": 80,
            "limit_usd": 50.0,
            "usd": 39.96,
            "unconfirmed_usd": 0.08,
        },
    ),
    (
        SpendDayEnded(
            event_id="e7",
            date="2026-11-24",
            limit_usd=50.0,
            usd=0.08,
            unconfirmed_usd=0.0,
            calls=2,
            usd_by_model={"firered-image-edit": 0.08},
            calls_by_model={"firered-image-edit": 2},
        ),
        "Spend Day Ended",
        {
            "version": 1,
            "event_id": "e7",
            "date": "2026-11-24",
            "limit_usd": 50.0,
            "usd": 0.08,
            "unconfirmed_usd": 0.0,
            "calls": 2,
            "usd_by_model": {"firered-image-edit": 0.08},
            "calls_by_model": {"firered-image-edit": 2},
        },
    ),
]


@pytest.mark.parametrize(("event", "name", "detail"), DETAILS)
def test_event_carries_what_rule_can_ask_for(
    event: Event, name: str, detail: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    client = boto3.client("events")
    entry = {
        "Source": "image-drop",
        "DetailType": name,
        "Detail": json.dumps(detail, separators=(",", ":")),
    }
    with Stubber(client) as stub:
        stub.add_response(
            "put_events",
            {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]},
            {"Entries": [entry]},
        )
        EventBus(client).announce(event)
        stub.assert_no_pending_responses()

    assert capsys.readouterr().out == ""


def lost(output: str) -> int:
    return sum(json.loads(line).get("EventsNotSent", [0])[0] for line in output.splitlines())


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalException", "AccessDenied"])
def test_bus_that_refuses_event_does_not_undo_edit(
    capsys: pytest.CaptureFixture[str], code: str
) -> None:
    client = boto3.client("events")
    with Stubber(client) as stub:
        stub.add_client_error("put_events", code)
        EventBus(client).announce(EDITED)

    assert lost(capsys.readouterr().out) == 1


def test_event_that_bus_took_and_dropped_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = boto3.client("events")
    with Stubber(client) as stub:
        stub.add_response(
            "put_events", {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        )
        EventBus(client).announce(EDITED)

    assert lost(capsys.readouterr().out) == 1


def test_bus_that_cannot_be_reached_does_not_undo_edit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Unreachable:
        def put_events(self, **_: Any) -> Any:
            raise EndpointConnectionError(endpoint_url="https://events.example.com")

    unreachable: Any = Unreachable()
    EventBus(unreachable).announce(EDITED)

    assert lost(capsys.readouterr().out) == 1
