"""What the wheel requires is what its packages import, and no more."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.template.test_layering import imports

PROJECT = Path(__file__).parents[2]
ROOTS = {
    "image_drop": PROJECT / "layers" / "image_drop",
    "image_drop_cli": PROJECT / "cli",
    "image_drop_local": PROJECT / "local",
}
# Part of another distribution, which pins it, and not of our own choice.
COMES_WITH = {"botocore": "boto3", "urllib3": "requests"}
# Imported by no module of ours: ministack reads SAM templates with it, the demo takes its pictures.
USED_OTHERWISE = {"local": {"aws-sam-translator", "scikit-image"}}


@cache
def project() -> Mapping[str, list[str]]:
    """Names of the distributions that the wheel requires; "" is without an extra."""
    metadata = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    required = {"": metadata["dependencies"], **metadata["optional-dependencies"]}
    return {extra: [_name(each) for each in found] for extra, found in required.items()}


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def imported(package: str) -> set[str]:
    """Distributions that a package of ours imports, with what it imports of our others."""
    top_levels: set[str] = set()
    seen: set[Path] = set()
    waiting = list((ROOTS[package] / package).rglob("*.py"))
    while waiting:
        if (path := waiting.pop()) in seen:
            continue
        seen.add(path)
        tree = ast.parse(path.read_text("utf-8"))
        top_levels |= set(imports(tree)) - sys.stdlib_module_names
        waiting += _ours(tree)
    distributions = packages_distributions()
    names = {_name(distributions[each][0]) for each in top_levels - set(ROOTS)}
    return {COMES_WITH.get(name, name) for name in names}


def _ours(tree: ast.AST) -> Iterator[Path]:
    """Files of our own modules that a module imports, with the packages that they are in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in ROOTS:
            for alias in node.names:
                yield from _files(f"{node.module}.{alias.name}".split("."))


def _files(parts: list[str]) -> Iterator[Path]:
    for end in range(1, len(parts) + 1):
        place = ROOTS[parts[0]].joinpath(*parts[:end])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file


def test_command_line_requires_what_it_imports() -> None:
    assert imported("image_drop_cli") == set(project()[""])


@pytest.mark.parametrize("extra", ["local"])
def test_extra_requires_what_its_package_imports_besides(extra: str) -> None:
    # The functions run in the same environment, so their packages count too.
    besides = imported("image_drop_local") | imported("image_drop")
    assert besides - set(project()[""]) | USED_OTHERWISE[extra] == set(project()[extra])
