"""Each request of each function in simulated runs, against the role that the template gives it.

Both ways: no request lacks a permission, and no permission is for nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from image_drop.storage.s3 import MISSING, code_of
from tests.simulation.machine import Client
from tests.simulation.permissions import Need, allows, listed, needs
from tests.simulation.run import simulate
from tests.support.resolved import Resolved
from tests.template.conftest import expanded, template, whole

__all__ = ["expanded", "template", "whole"]

SEEDS = (*range(25), 43, 52, 56, 61)  # the last ones have dead letters
ROLES = {
    "upload": "UploadRole",
    "retry": "RetryRole",
    "account_watch": "AccountWatchRole",
    "backfill": "BackfillRole",
}
# Lambda writes the logs and reads the queue with the function's own role.
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
BY_LAMBDA = {"logs:CreateLogStream", "logs:PutLogEvents"}
BY_POLLER = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
# What simulated runs have no use for: with an `OutputKeyFormat` that does not begin with {key}, the
# backfill looks for each result by HEAD (`test_old_buckets` and `test_backfill` do that).
UNUSED = {("LookAtOne", "s3:GetObject", "arn:aws:s3:::output/*")}

WHOLE = ("", "")  # the stack has the whole buckets

Made = dict[str, set[Need]]


@pytest.fixture(scope="module")
def made() -> dict[tuple[str, str], Made]:
    """What each function needed in simulated runs, by the prefixes of the stack's buckets."""
    found: dict[tuple[str, str], Made] = defaultdict(lambda: {name: set() for name in ROLES})
    request = Client._request

    def recorded(self: Client, operation: str, method: Callable[..., Any], **given: Any) -> Any:
        missing = False
        try:
            return request(self, operation, method, **given)
        except ClientError as error:
            missing = code_of(error) in MISSING
            raise
        finally:
            environment = self._machine.cloud.environment
            prefixes = (environment.get("INPUT_PREFIX", ""), environment.get("OUTPUT_PREFIX", ""))
            needed = needs(self._service, operation, given, missing)
            found[prefixes][self._machine.function].update(needed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "_request", recorded)
        for seed in SEEDS:
            simulate(seed)
    return found


def resolved(whole: dict[str, Any], prefixes: tuple[str, str]) -> Resolved:
    """The template for the buckets and the parameter of the simulation."""
    buckets = {"ExistingInputBucket": "input", "ExistingOutputBucket": "output"}
    folders = dict(zip(("InputPrefix", "OutputPrefix"), prefixes, strict=True))
    return Resolved(whole, VeniceApiKeyParameter="/key", **buckets, **folders)


# One test, because each worker of pytest-xdist would make the runs again.
@pytest.mark.slow
def test_roles_have_what_functions_need_and_no_more(
    made: dict[tuple[str, str], Made], whole: dict[str, Any]
) -> None:
    assert {function for function in ROLES if len(made[WHOLE][function]) <= 5} == set()
    assert len(made) == 4  # with a folder of neither bucket, of one, of the other, of both
    for prefixes, needed in made.items():
        assert list(_lacking(needed, resolved(whole, prefixes))) == []
    assert list(_idle(made[WHOLE], resolved(whole, WHOLE))) == []


def _lacking(made: Made, resolved: Resolved) -> Iterator[tuple[str, Need]]:
    for function, role in ROLES.items():
        statements = resolved.statements(role)
        for need in made[function]:
            if not any(allows(each, need) for each in statements):
                yield function, need


def _idle(made: Made, resolved: Resolved) -> Iterator[tuple[list[str], str, str, str]]:
    users: dict[tuple[str, str, str], list[str]] = {}
    for function, role in ROLES.items():
        for statement in resolved.statements(role):
            for action in listed(statement["Action"]):
                for target in listed(statement["Resource"]):
                    users.setdefault((statement["Sid"], action, target), []).append(function)
    for (sid, action, target), functions in users.items():
        one = {"Effect": "Allow", "Action": action, "Resource": target}
        used = any(allows(one, need) for function in functions for need in made[function])
        by_poller = action in BY_POLLER and functions == ["retry"]
        if not (used or by_poller or action in BY_LAMBDA or (sid, action, target) in UNUSED):
            yield functions, sid, action, target
