"""The template, as it is written and as CloudFormation gets it."""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml
from samtranslator.translator.transform import transform

PROJECT = Path(__file__).parents[2]
Resource = dict[str, Any]


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """template.yaml; `!Sub x` reads as `{"Fn::Sub": "x"}`."""
    template: dict[str, Any] = plain(cfn_yaml.load(str(PROJECT / "template.yaml")))
    return template


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> dict[str, Resource]:
    resources: dict[str, Resource] = template["Resources"]
    return resources


@pytest.fixture(scope="session")
def whole(template: dict[str, Any]) -> dict[str, Any]:
    """The template that SAM makes of ours."""
    packaged = copy.deepcopy(template)
    for resource in packaged["Resources"].values():
        for name in ("CodeUri", "ContentUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = "s3://bucket/key"
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # SAM asks for it
    whole: dict[str, Any] = transform(packaged, {}, NoManagedPolicies())
    return whole


@pytest.fixture(scope="session")
def expanded(whole: dict[str, Any]) -> dict[str, Resource]:
    """The resources that SAM makes of the template's."""
    resources: dict[str, Resource] = whole["Resources"]
    return resources


class NoManagedPolicies:
    """SAM would ask AWS for the ARNs of managed policies; the template uses none."""

    def load(self) -> dict[str, str]:
        return {}


def plain(node: Any) -> Any:
    """Without cfn-lint's subclasses, which carry line numbers."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return str(node) if isinstance(node, str) else node
