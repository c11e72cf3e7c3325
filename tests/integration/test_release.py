"""What `make release` writes, with layers that are small."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from image_drop_cli.deploying import sources, template
from image_drop_cli.deploying.archives import sha256
from scripts import release

LAYERS = {"arm64": b"the layer for arm64", "x86_64": b"the layer for x86_64"}
URL = "https://example.com/releases/v9"
VERSION = release.checked_version("")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("release"))


def made(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1790000000")
        release.make(folder, VERSION, LAYERS, URL)
    return folder


def test_same_sources_give_same_files(dist: Path, tmp_path: Path) -> None:
    again = made(tmp_path / "again")
    assert {path.name: path.read_bytes() for path in dist.iterdir()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }


def test_checksums_are_right_and_complete(dist: Path) -> None:
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert sums == {
        path.name: sha256(path.read_bytes()) for path in dist.iterdir() if path.name != "SHA256SUMS"
    }


def test_template_names_archives_next_to_it(dist: Path) -> None:
    code = template.code((dist / "template.yaml").read_text("utf-8"))
    assert set(code) == set(template.code(sources.find().template))
    assert all((dist / name).is_file() for name in code.values())
    assert (dist / code["RuntimeLayer"]).read_bytes() == LAYERS["arm64"]
    assert (dist / code["RuntimeLayerX86"]).read_bytes() == LAYERS["x86_64"]


@pytest.mark.slow
def test_packaged_template_is_sound(dist: Path) -> None:
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    command = [str(cfn_lint), str(dist / "template.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("", 0)


def test_wheel_knows_checksums_of_prebuilt_layers(dist: Path) -> None:
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        layers = json.loads(files.read("image_drop_cli/project/layers.json"))
    assert layers["arm64"] == {
        "url": f"{URL}/RuntimeLayer.zip",
        "sha256": sha256(LAYERS["arm64"]),
    }
    assert layers["x86_64"]["url"] == f"{URL}/RuntimeLayerX86.zip"


def test_sbom_lists_what_layer_holds(dist: Path) -> None:
    sbom = json.loads((dist / "runtime-layer.cdx.json").read_text())
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.5")
    assert sbom["metadata"]["timestamp"] == "2026-09-21T14:13:20Z"
    locked = re.findall(r"^([\w.-]+)==([\w.]+)", sources.find().requirements.read_text(), re.M)
    assert {(each["name"], each["version"]) for each in sbom["components"]} == set(locked)


def test_notes_are_section_of_changelog(dist: Path) -> None:
    notes = (dist / "NOTES.md").read_text("utf-8")
    assert notes.startswith("### ")
    assert "\n## " not in notes


def test_tag_of_another_version_is_refused() -> None:
    with pytest.raises(release.ReleaseError, match=r"The tag is v0\.0\.9, the version"):
        release.checked_version("v0.0.9")


def test_version_without_changes_is_refused() -> None:
    if VERSION not in (release.PROJECT / "CHANGELOG.md").read_text("utf-8"):
        with pytest.raises(release.ReleaseError, match="has no section"):
            release.checked_version(f"v{VERSION}")


def test_publishing_needs_no_secret() -> None:
    workflow = (release.PROJECT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert "id-token: write" in workflow
    assert "secrets." not in workflow
    assert "password" not in workflow.replace("there is no password", "")
