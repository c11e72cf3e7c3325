"""Make the files of a release in dist/: `make release`, which sets SOURCE_DATE_EPOCH.

    python -m scripts.release [--tag v1.2.3] [--url https://host/folder/of/the/release]

The same commit, uv and Python give the same bytes. With `--url`, the wheel names the prebuilt
layers there, with their checksums. With `--tag`, tag, pyproject.toml, template and CHANGELOG.md
have to be of one version.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from image_drop_cli.deploying import package, sources, template
from image_drop_cli.deploying.archives import sha256

PROJECT = Path(__file__).parents[1]
DIST = PROJECT / "dist"
SBOMS = {  # of what the layers hold, and of what the command line installs
    "runtime-layer.cdx.json": ("--only-group", "runtime"),
    "command-line.cdx.json": ("--no-default-groups", "--all-extras"),
}


class ReleaseError(Exception):
    """When the files of a release cannot be made; its text says why."""


def main() -> None:
    """Make the files of the release that the arguments name."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tag", default="")
    parser.add_argument("--url", default="")
    arguments = parser.parse_args()
    files = sources.find()
    try:
        version = checked_version(arguments.tag)
        layers = {
            architecture: package.built_runtime_layer(files, architecture)
            for architecture in package.RUNTIME_LAYERS
        }
        make(DIST, version, layers, arguments.url)
    except ReleaseError as error:
        raise SystemExit(f"make release: {error}") from None
    for path in sorted(DIST.iterdir()):
        print(f"{path.stat().st_size:>12,}  {path.name}")


def make(folder: Path, version: str, layers: Mapping[str, bytes], url: str = "") -> None:
    """Write all files of a release into a folder, which is emptied. `layers` by architecture."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = sources.find()
    archives = package.code_archives(files) | {
        package.RUNTIME_LAYERS[architecture]: data for architecture, data in layers.items()
    }
    for name, data in archives.items():
        (folder / f"{name}.zip").write_bytes(data)
    places = {name: f"{name}.zip" for name in archives}
    (folder / "template.yaml").write_text(template.with_code_at(files.template, places), "utf-8")
    for name in ("LICENSE", "README.md"):  # the template's metadata names them
        shutil.copy(PROJECT / name, folder / name)
    for name, options in SBOMS.items():
        (folder / name).write_text(sbom(*options), "utf-8")
    (folder / "NOTES.md").write_text(notes(version), "utf-8")
    build_wheel(folder, prebuilt(layers, url) if url else None)
    sums = [f"{sha256(path.read_bytes())}  {path.name}" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")


def prebuilt(layers: Mapping[str, bytes], url: str) -> dict[str, dict[str, str]]:
    """Return where the layers of a release will be, as `package.runtime_layer` reads it."""
    return {
        architecture: {
            "url": f"{url.rstrip('/')}/{package.RUNTIME_LAYERS[architecture]}.zip",
            "sha256": sha256(data),
        }
        for architecture, data in layers.items()
    }


def build_wheel(folder: Path, layers: Mapping[str, Any] | None) -> None:
    """Build the wheel; with `layers`, it names the prebuilt ones (hatch_build.py)."""
    with TemporaryDirectory() as work:
        environment = dict(os.environ)
        if layers:
            path = Path(work) / "layers.json"
            path.write_text(json.dumps(layers, indent=2, sort_keys=True))
            environment["IMAGE_DROP_LAYERS"] = str(path)
        command = [_uv(), "build", "--quiet", "--wheel", "--out-dir", work, str(PROJECT)]
        subprocess.run(command, check=True, env=environment)
        [wheel] = Path(work).glob("*.whl")
        shutil.copy(wheel, folder / wheel.name)


def sbom(*options: str) -> str:
    """Return what a part of the lock holds, in CycloneDX, without the moment it was written."""
    command = [_uv(), "export", "--quiet", "--frozen", "--format", "cyclonedx1.5", *options]
    done = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    del found["serialNumber"]  # a random number
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    found["metadata"]["timestamp"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    return json.dumps(found, indent=2) + "\n"


def notes(version: str) -> str:
    """Return the section of CHANGELOG.md on a version, or what is unreleased."""
    sections = _changelog()
    return sections.get(version, sections.get("Unreleased", ""))


def checked_version(tag: str) -> str:
    """Return the project's version. Raise `ReleaseError` if anything is of another one."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    version = str(project["version"])
    text = sources.find().template
    said = {
        "SemanticVersion in template.yaml": re.findall(r"SemanticVersion: (\S+)", text),
        "the output Version in template.yaml": re.findall(
            r"  Version:\n(?:    .*\n)*?    Value: (\S+)", text
        ),
    }
    for where, found in said.items():
        if found != [version]:
            raise ReleaseError(f"{where} is {found}, the version in pyproject.toml {version}.")
    if tag and tag != f"v{version}":
        raise ReleaseError(f"The tag is {tag}, the version in pyproject.toml {version}.")
    if tag and version not in _changelog():
        raise ReleaseError(f"CHANGELOG.md has no section {version}.")
    return version


def _changelog() -> dict[str, str]:
    """Return the sections of CHANGELOG.md by version."""
    text = (PROJECT / "CHANGELOG.md").read_text("utf-8")
    _, *parts = re.split(r"^## \[?([\w.+-]+)\]?.*\n", text, flags=re.MULTILINE)
    return {name: body.strip() + "\n" for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _uv() -> str:
    return os.environ.get("UV") or shutil.which("uv") or str(PROJECT / ".tools" / "bin" / "uv")


if __name__ == "__main__":
    main()
