"""Buckets that exist already: what the stack makes then, and what its functions may do."""

from typing import Any

import pytest

from tests.support.resolved import ACCOUNT, REGION, Resolved

ROLES = ("UploadRole", "RetryRole", "AccountWatchRole", "BackfillRole")
OURS = {
    "ExistingInputBucket": "photos",
    "InputPrefix": "in/coming/",
    "ExistingOutputBucket": "photos",
    "OutputPrefix": "edited/",
}
IN = f"drop-input-{ACCOUNT}-{REGION}"
OUT = f"drop-output-{ACCOUNT}-{REGION}"


@pytest.fixture
def own(whole: dict[str, Any]) -> Resolved:
    return Resolved(whole)


@pytest.fixture
def existing(whole: dict[str, Any]) -> Resolved:
    return Resolved(whole, **OURS)


def on_s3(resolved: Resolved, role: str) -> dict[str, set[str]]:
    """What a role may do with S3: resources by action, without `arn:aws:s3:::`."""
    found: dict[str, set[str]] = {}
    for statement in resolved.statements(role):
        actions, targets = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            if action.startswith("s3:"):
                some = [targets] if isinstance(targets, str) else targets
                found.setdefault(action, set()).update(
                    each.removeprefix("arn:aws:s3:::") for each in some
                )
    return found


def test_stack_without_existing_buckets_makes_both(own: Resolved) -> None:
    assert {"InputBucket", "OutputBucket", "InputBucketPolicy", "OutputBucketPolicy"} <= set(
        own.resources
    )
    assert "ExistingBucketRule" not in own.resources
    assert "ExistingBucketPermission" not in own.resources


def test_stack_with_existing_buckets_makes_none_and_changes_none(existing: Resolved) -> None:
    assert not [name for name in existing.resources if name.startswith(("InputB", "OutputB"))]


def test_functions_cannot_touch_uploads_or_delete_results(own: Resolved) -> None:
    for role in ROLES[:3]:
        assert on_s3(own, role) == {
            "s3:GetObject": {f"{IN}/*", f"{OUT}/*"},
            "s3:GetObjectTagging": {f"{IN}/*"},
            "s3:ListBucket": {IN, OUT},
            "s3:PutObject": {f"{OUT}/*"},
            "s3:DeleteObject": {f"{OUT}/*.error.json", f"{OUT}/.image-drop/*"},
        }


def test_roles_are_limited_to_prefixes(existing: Resolved) -> None:
    for role in ROLES[:3]:
        assert on_s3(existing, role) == {
            "s3:GetObject": {"photos/in/coming/*", "photos/edited/*"},
            "s3:GetObjectTagging": {"photos/in/coming/*"},
            "s3:ListBucket": {"photos"},
            "s3:PutObject": {"photos/edited/*"},
            "s3:DeleteObject": {"photos/edited/*.error.json", "photos/edited/.image-drop/*"},
        }
    assert on_s3(existing, "BackfillRole") == {
        "s3:ListBucket": {"photos"},
        "s3:GetObject": {"photos/in/coming/*", "photos/edited/*"},
    }


@pytest.mark.parametrize("role", ROLES)
def test_listings_are_limited_to_prefixes(existing: Resolved, role: str) -> None:
    conditions = [
        each["Condition"] for each in existing.statements(role) if each["Action"] == "s3:ListBucket"
    ]
    assert conditions == [
        {"StringLikeIfExists": {"s3:prefix": "in/coming/*"}},
        {"StringLikeIfExists": {"s3:prefix": "edited/*"}},
    ]


def test_events_of_existing_bucket_come_through_eventbridge(existing: Resolved) -> None:
    rule = existing.resources["ExistingBucketRule"]

    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created", "Object Tags Added"],
        "detail": {
            "bucket": {"name": ["photos"]},
            "object": {"key": [{"prefix": "in/coming/"}]},
        },
    }
    assert existing.resources["ExistingBucketPermission"]["Principal"] == "events.amazonaws.com"


def test_rule_for_whole_bucket_names_no_prefix(whole: dict[str, Any]) -> None:
    resolved = Resolved(whole, ExistingInputBucket="photos")

    detail = resolved.resources["ExistingBucketRule"]["EventPattern"]["detail"]
    assert detail == {"bucket": {"name": ["photos"]}}


@pytest.mark.parametrize(
    ("parameters", "good"),
    [
        ({}, True),
        (OURS, True),
        (OURS | {"ExistingOutputBucket": "results", "OutputPrefix": "in/coming/"}, True),
        (OURS | {"OutputPrefix": ""}, False),
        (OURS | {"InputPrefix": ""}, False),
        (OURS | {"OutputPrefix": "in/coming/"}, False),
    ],
)
def test_one_bucket_without_two_folders_is_refused_at_deployment(
    whole: dict[str, Any], parameters: dict[str, str], good: bool
) -> None:
    rule, resolved = whole["Rules"]["OneBucketNeedsTwoFolders"], Resolved(whole, **parameters)

    applies = resolved.value(rule["RuleCondition"])
    assert (not applies or resolved.value(rule["Assertions"][0]["Assert"])) is good


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_arns_are_of_partition(whole: dict[str, Any], partition: str) -> None:
    resolved = Resolved(whole, partition)

    for role in ROLES:
        for statement in resolved.statements(role):
            targets = statement["Resource"]
            for target in [targets] if isinstance(targets, str) else targets:
                assert target == "*" or target.startswith(f"arn:{partition}:")
