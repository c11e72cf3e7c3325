"""What may import what."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
LAYER = PROJECT / "layers" / "image_drop"
LAYER_FILES = sorted((LAYER / "image_drop").rglob("*.py"))
FUNCTION_FILES = sorted((PROJECT / "functions").rglob("*.py"))

# Data in, data out: what decides is to be tested, and simulated, without AWS and without a network.
PURE = [
    "image_drop.instructions.schema",
    "image_drop.errors",
    "image_drop.state.rate_limit",
    "image_drop.venice.catalogue",
]


@cache
def runtime_modules() -> set[str]:
    """What can be imported in the Lambda runtime besides our code and the standard library."""
    pinned = (PROJECT / "layers" / "runtime" / "requirements.txt").read_text()
    packages = {_normal(name) for name in re.findall(r"^([\w.-]+)==", pinned, re.MULTILINE)}
    modules = {
        module
        for module, distributions in packages_distributions().items()
        if packages & {_normal(name) for name in distributions}
    }
    return modules | {"boto3", "botocore"}  # the runtime's own


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(node: ast.AST) -> Iterator[str]:
    """Top-level modules that a piece of code imports, but for those imported for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute here"
            yield str(child.module).partition(".")[0]
        else:
            yield from imports(child)


def python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter with an empty environment; its standard output."""
    command = [sys.executable, "-I", "-c", code, *arguments]
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("file", FUNCTION_FILES, ids=lambda file: file.parent.name)
def test_functions_import_only_from_layers(file: Path) -> None:
    allowed = sys.stdlib_module_names | runtime_modules() | {"image_drop"}
    assert set(imports(ast.parse(file.read_text()))) <= allowed


@pytest.mark.parametrize("file", LAYER_FILES, ids=lambda file: file.stem)
def test_layer_imports_only_what_lambda_has(file: Path) -> None:
    allowed = sys.stdlib_module_names | runtime_modules() | {"image_drop"}
    assert set(imports(ast.parse(file.read_text()))) <= allowed


@pytest.mark.parametrize("module", PURE)
def test_what_decides_imports_no_aws_and_no_http(module: str) -> None:
    code = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sys.modules)"
    loaded = set(python(code, module).split())
    assert module in loaded
    assert not loaded & {"boto3", "botocore", "requests", "urllib3", "http.client"}


def test_importing_needs_no_environment_and_no_network() -> None:
    code = """
import importlib, pkgutil, runpy, socket, sys
def refuse(*_): raise AssertionError("an import opened a socket")
socket.socket.connect = refuse
import image_drop
for module in pkgutil.walk_packages(image_drop.__path__, "image_drop."):
    importlib.import_module(module.name)
for function in sys.argv[1:]:
    runpy.run_path(function)
print("imported")
"""
    assert python(code, *map(str, FUNCTION_FILES)) == "imported\n"


def test_each_function_of_template_has_its_code(resources: dict[str, dict[str, Any]]) -> None:
    wanted = {
        resource["Properties"]["CodeUri"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert wanted <= {f"functions/{file.parent.name}/" for file in FUNCTION_FILES}
