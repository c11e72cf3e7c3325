"""What the tools of the trade say about the template, and that exported files are fresh."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from image_drop_cli.deploying.package import RUNTIME_LAYERS
from tests.support import installed
from tests.support.elf import MACHINES, native_machines

PROJECT = Path(__file__).parents[2]
REGIONS = ("us-east-1", "us-gov-west-1", "cn-north-1", "ca-west-1", "eu-south-2")  # of all kinds
CHECKOV = "checkov==3.3.30"
SAM_CLI = "aws-sam-cli==1.170.0"  # apart from the project: it pins another botocore than ministack


@pytest.fixture(scope="session")
def uv() -> str:
    return installed.uv()


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.mark.slow
def test_cfn_lint_finds_only_webhooks_missing_in_some_regions() -> None:
    """`image-drop deploy` leaves a webhook out that nobody wants, so all regions are good."""
    done = run(
        str(Path(sys.executable).with_name("cfn-lint")),
        *("--regions", *REGIONS, "--format", "json", "--", "template.yaml"),
    )
    found = json.loads(done.stdout)
    assert {each["Rule"]["Id"] for each in found} == {"E3006"}
    missing = {each["Message"].split("'")[1] for each in found}
    assert missing == {"AWS::Events::ApiDestination", "AWS::Events::Connection"}


@pytest.mark.slow
def test_checkov_finds_only_what_template_explains(uv: str) -> None:
    done = run(
        *(uv, "tool", "run", "--from", CHECKOV, "checkov", "--file", "template.yaml"),
        *("--framework", "cloudformation", "--output", "json", "--skip-download"),
    )
    found = json.loads(done.stdout)["results"]
    skipped = re.findall(
        r"^# checkov:skip=(\w+): \w.{20,}", (PROJECT / "template.yaml").read_text(), re.MULTILINE
    )
    assert len(found["passed_checks"]) > 80
    assert sorted({each["check_id"] for each in found["failed_checks"]}) == sorted(skipped)


@pytest.mark.slow
def test_sam_finds_template_valid(uv: str) -> None:
    done = run(
        *(uv, "tool", "run", "--from", SAM_CLI, "sam", "validate", "--lint"),
        SAM_CLI_TELEMETRY="0",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is a valid SAM Template" in done.stdout


@pytest.mark.slow
def test_sam_builds_layer_for_each_architecture(uv: str, tmp_path: Path) -> None:
    """Whatever `sam deploy --guided` is answered: it takes the layer that fits the functions."""
    done = run(
        *(uv, "tool", "run", "--from", SAM_CLI, "sam", "build"),
        *("--no-cached", "--build-dir", str(tmp_path)),
        SAM_CLI_TELEMETRY="0",
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        UV=uv,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for architecture, machine in MACHINES.items():
        layer = tmp_path / RUNTIME_LAYERS[architecture]
        heads = [path.read_bytes()[:20] for path in layer.rglob("*") if path.is_file()]
        assert set(native_machines(heads)) == {machine}


def test_runtime_layer_holds_what_lock_says(uv: str) -> None:
    done = run(
        *(uv, "export", "--frozen", "--only-group", "runtime", "--no-emit-project"),
        *("--no-header", "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    exported = (PROJECT / "layers" / "runtime" / "requirements.txt").read_text()
    assert exported == done.stdout, "layers/runtime/requirements.txt is stale: run `make layer`"


def test_lock_fits_project(uv: str) -> None:
    done = run(uv, "lock", "--check")
    assert done.returncode == 0, done.stderr


def test_ci_runs_actions_that_nobody_can_change_under_their_name() -> None:
    """A tag such as v5 can be moved to other code; a full commit SHA cannot."""
    workflows = list((PROJECT / ".github" / "workflows").glob("*.yml"))
    used = [
        line.strip()
        for workflow in workflows
        for line in workflow.read_text().splitlines()
        if "uses:" in line
    ]
    assert used
    for line in used:
        assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
