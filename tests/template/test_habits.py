"""How tests are named and how long their modules are."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
MODULES = sorted(TESTS.rglob("test_*.py"))
ARTICLES = {"a", "an", "the"}
MAX_NAME = 60  # characters, `test_` included
MAX_LINES = 650  # of a module; a longer one has a seam


def names(module: Path) -> Iterator[str]:
    """Names of the test functions of a module, methods too."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(TESTS)))
def test_names_are_short_and_without_articles(module: Path) -> None:
    found = list(names(module))

    assert found
    assert [name for name in found if len(name) > MAX_NAME] == []
    assert [name for name in found if ARTICLES & {*name.split("_")}] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(TESTS)))
def test_module_is_short_enough_to_read(module: Path) -> None:
    assert len(module.read_text("utf-8").splitlines()) <= MAX_LINES
