"""The two newcomers' paths, from an installed wheel outside the checkout.

`image-drop demo` on a laptop, and `image-drop deploy` into an AWS account, which is an embedded AWS
without a stack.
"""

import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image

from image_drop_cli.aws import Aws
from image_drop_local.demo.photo_cases import photographs
from image_drop_local.emulator.stack import bare_aws
from image_drop_local.simulator import Simulator
from tests.support.installed import Installed, build_wheel, names

ARCHITECTURE = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The command line alone."""
    return Installed.make(wheel, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def account(venice: Simulator, plain: Installed) -> Iterator[Installed]:
    """The command line in front of an AWS account without a stack."""
    with bare_aws() as url:
        yield Installed(plain.environment, plain.folder, {"AWS_ENDPOINT_URL": url})


def said(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout
    return done.stdout


def spent(venice: Simulator) -> float:
    return sum(call.charged_usd for call in venice.calls)


def test_wheel_installs_only_packages_of_our_name(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names(wheel)}
    packages = {top for top in tops if not top.endswith(".dist-info")}
    assert packages == {"image_drop", "image_drop_cli", "image_drop_local"}


def test_wheel_carries_what_it_deploys(wheel: Path) -> None:
    carried = {name for name in names(wheel) if name.startswith("image_drop_cli/project/")}
    assert carried == {
        "image_drop_cli/project/template.yaml",
        "image_drop_cli/project/layers/runtime/requirements.txt",
        *(
            f"image_drop_cli/project/functions/{name}/app.py"
            for name in ("account_watch", "backfill", "retry", "upload")
        ),
    }


def test_command_line_starts_with_its_own_dependencies(plain: Installed) -> None:
    assert said(plain.run("--version")).startswith("image-drop ")
    assert "deploy" in said(plain.run("--help"))


def test_demo_without_extra_says_what_to_install(plain: Installed) -> None:
    done = plain.run("demo")
    assert done.returncode == 2
    assert "image-drop[local]" in done.stdout


def test_demo_runs_without_checkout(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(photographs() / "coffee.png", photos / "cup.png")
    local = Installed.make(wheel, tmp_path_factory.mktemp("local"), extra="local")

    said(local.run("demo", "--photos", photos))

    with Image.open(local.folder / "demo-out/photos/photos/cup.png.png") as result:
        assert result.getchannel("A").getextrema() == (0, 255)


def test_deployed_edited_examined_and_destroyed(account: Installed, venice: Simulator) -> None:
    shutil.copy(photographs() / "coffee.png", account.folder / "cup.png")
    given = [f"--parameter=VeniceBaseUrl={venice.url}", f"--parameter=Architecture={ARCHITECTURE}"]

    deployed = said(account.run("deploy", "--yes", "--api-key-stdin", *given, stdin="local\n"))
    edited = said(account.run("put", "cup.png", "--mode", "background-remove"))
    examined = said(account.run("doctor"))
    destroyed = said(account.run("destroy", "--yes"))

    assert "Image Drop is deployed as image-drop." in deployed
    assert "went through the stack" in deployed
    assert "1 sent, 1 result" in edited
    assert "problem" not in examined
    assert "image-drop-output-000000000000-us-east-1 (AWS::S3::Bucket)" in destroyed


def test_deployed_again_takes_up_what_was_kept(account: Installed, venice: Simulator) -> None:
    given = [f"--parameter=VeniceBaseUrl={venice.url}", f"--parameter=Architecture={ARCHITECTURE}"]
    paid = spent(venice)

    dry = said(account.run("deploy", "--dry-run", *given))
    deployed = said(account.run("deploy", "--yes", *given))
    again = said(account.run("put", "cup.png", "--mode", "background-remove"))

    assert "They would be adopted first." in dry
    for name in ("InputBucket", "OutputBucket", "StateTable"):
        assert f"adopt  {name}" in deployed
    assert "1 already uploaded, 1 result" in again
    assert spent(venice) == paid, "a result of the earlier stack was paid for again"


def test_update_keeps_parameters_and_changes_what_is_named(account: Installed) -> None:
    changed = said(account.run("deploy", "--yes", "--parameter", "MaxEditUSD=2"))
    assert re.search(r"^change +RetryFunction", changed, re.MULTILINE)
    assert "create" not in changed
    assert "API key: Venice accepts the key." in changed  # the parameter VeniceBaseUrl was kept

    assert "Nothing changes" in said(account.run("deploy", "--yes"))


def test_update_moves_to_bucket_that_exists(account: Installed) -> None:
    url = account.variables["AWS_ENDPOINT_URL"]
    Aws.connect(endpoint_url=url).client("s3").create_bucket(Bucket="company-files")
    given = ["--parameter=ExistingInputBucket=company-files", "--parameter=InputPrefix=in/"]

    deployed = said(account.run("deploy", "--yes", *given))
    edited = said(account.run("put", "cup.png", "--mode", "background-remove"))
    destroyed = said(account.run("destroy", "--yes"))

    assert "EventBridge is on." in deployed
    assert "announces new images through EventBridge" in deployed
    assert "1 sent, 1 result" in edited
    assert "company-files" not in destroyed
