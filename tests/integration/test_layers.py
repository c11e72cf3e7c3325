"""The layers that are uploaded: for the right processor, complete, with bytecode, reproducible."""

import io
import platform
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

from image_drop_cli.deploying import sources
from image_drop_cli.deploying.archives import sha256
from image_drop_cli.deploying.layer_build import PYTHON, SERVICES
from image_drop_cli.deploying.package import CODE_LAYER, RUNTIME_LAYERS, artifacts
from tests.support.elf import MACHINES, native_machines

pytestmark = pytest.mark.slow
HOST = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
MAX_UNZIPPED = 250_000_000  # bytes, Lambda's limit for a function with all its layers


@pytest.fixture(scope="module", params=MACHINES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def uploaded(architecture: str) -> dict[str, bytes]:
    return _uploaded(architecture)


@cache
def _uploaded(architecture: str) -> dict[str, bytes]:
    """The archives that `image-drop deploy` uploads for an architecture, by resource."""
    found = artifacts(sources.find(), architecture)
    return {name: artifact.read() for name, artifact in found.items()}


def names(archive: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        return set(files.namelist())


def machines(archive: bytes) -> set[int]:
    """The processors that the native code in an archive is for."""
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        return set(native_machines(files.open(name).read(20) for name in files.namelist()))


def test_native_code_is_for_architecture_of_functions(
    architecture: str, uploaded: dict[str, bytes]
) -> None:
    assert machines(uploaded[RUNTIME_LAYERS[architecture]]) == {MACHINES[architecture]}
    others = [data for name, data in uploaded.items() if name != RUNTIME_LAYERS[architecture]]
    assert set().union(*map(machines, others)) == set()


def test_runtime_layer_has_each_locked_package(
    architecture: str, uploaded: dict[str, bytes]
) -> None:
    locked = [
        line.split(";")[0].split(" ")[0].replace("==", "-").replace("-", "_")
        for line in sources.find().requirements.read_text().splitlines()
        if "==" in line
    ]
    found = {
        name.split("/")[1].removesuffix(".dist-info").replace("-", "_")
        for name in names(uploaded[RUNTIME_LAYERS[architecture]])
        if ".dist-info/" in name
    }
    assert found == set(locked)


def test_functions_start_with_nothing_but_layers(tmp_path: Path) -> None:
    """On this machine's processor: every module is imported, and every client is made."""
    for layer in (RUNTIME_LAYERS[HOST], CODE_LAYER):
        with zipfile.ZipFile(io.BytesIO(_uploaded(HOST)[layer])) as files:
            files.extractall(tmp_path)
    code = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import image_drop, boto3
for module in pkgutil.walk_packages(image_drop.__path__, "image_drop."):
    importlib.import_module(module.name)
for name in sys.argv[2].split():
    boto3.client(name, region_name="us-east-1")
print(*{module.__file__.startswith(sys.argv[1]) for module in (image_drop, boto3)})
"""
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "python"), " ".join(used())]
    done = subprocess.run(command, capture_output=True, text=True, env={})
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def used() -> set[str]:
    """The AWS services that the layer's code makes clients of."""
    code = (sources.find().package / "services.py").read_text("utf-8")
    return set(re.findall(r"""client(?:\(|, )"(\w+)"\)""", code))


def test_botocore_has_services_that_are_used() -> None:
    assert used() == set(SERVICES)


def test_each_module_has_bytecode(architecture: str, uploaded: dict[str, bytes]) -> None:
    """Functions cannot write to /opt, so a module without it is compiled at each cold start."""
    tag = "".join(map(str, PYTHON))
    for layer in (RUNTIME_LAYERS[architecture], CODE_LAYER):
        found = names(uploaded[layer])
        modules = [Path(name) for name in found if name.endswith(".py")]
        missing = [
            path
            for path in modules
            if f"{path.parent}/__pycache__/{path.stem}.cpython-{tag}.pyc" not in found
        ]
        assert modules
        assert missing == []


def test_layers_fit_into_function(architecture: str, uploaded: dict[str, bytes]) -> None:
    total = 0
    for layer in (RUNTIME_LAYERS[architecture], CODE_LAYER):
        with zipfile.ZipFile(io.BytesIO(uploaded[layer])) as files:
            total += sum(each.file_size for each in files.infolist())
    assert total < MAX_UNZIPPED / 2  # leaves room to grow


def test_same_sources_give_same_archives() -> None:
    code = (
        "import sys; from image_drop_cli.deploying import archives, package, sources;"
        "found = package.artifacts(sources.find(), 'arm64').items();"
        "print(*(f'{name} {archives.sha256(each.read())}' for name, each in found), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    again = dict(line.split(" ") for line in done.stdout.splitlines())
    assert again == {name: sha256(data) for name, data in _uploaded("arm64").items()}
