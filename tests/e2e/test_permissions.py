"""What the end-to-end runs need of IAM, next to what the simulated runs need.

Each module here records what its functions ask for, and the embedded stack's answers are compared
with our own reading of the roles (`conftest`). `tests/simulation/test_permissions.py` shows that
the simulated runs use all statements but those in `UNUSED`; this module uses these.
"""

import json
from collections.abc import Iterator

import pytest

from image_drop_local.emulator.stack import Stack
from image_drop_local.simulator import Simulator
from tests.simulation.test_permissions import UNUSED
from tests.support.iam_requests import Requests
from tests.support.system import CUT_OUT, System


@pytest.fixture(scope="module")
def system(iam: Requests) -> Iterator[System]:
    parameters = {"OutputKeyFormat": "edited/{stem}.png"}
    with (
        Simulator(limit=1000, pictures="fast") as venice,
        Stack(venice_url=venice.url, concurrency=4, parameters=parameters) as stack,
    ):
        yield System(stack, venice)


def test_statements_that_simulation_does_not_use_are_used_here(
    system: System, iam: Requests
) -> None:
    system.drop("shoe.jpg", metadata=CUT_OUT)
    assert system.metadata("edited/shoe.png")["mode"] == "background-remove"

    system.invoke("BackfillFunction", {})

    used = set(iam.used())
    assert {(sid, action) for sid, action, _ in UNUSED} - used == set()
    assert ("WriteResults", "s3:PutObject") in used


def test_recorder_hears_refusals_too(system: System, iam: Requests) -> None:
    role, policies = system.stack.physical_id("BackfillRole"), system.stack.client("iam")
    document = policies.get_role_policy(RoleName=role, PolicyName="Backfill")["PolicyDocument"]
    policies.delete_role_policy(RoleName=role, PolicyName="Backfill")
    try:
        system.functions.invoke(FunctionName=system.stack.physical_id("BackfillFunction"))
    finally:
        policies.put_role_policy(
            RoleName=role, PolicyName="Backfill", PolicyDocument=json.dumps(document)
        )

    assert [each for each in iam.made if each.role == "Backfill" and not each.allowed]
