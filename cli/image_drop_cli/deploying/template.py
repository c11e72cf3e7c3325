"""The text of template.yaml: its parameters, its resources, and where their code is.

The text is changed and not parsed, so that what is deployed is the file that a person can read. Its
form is held by tests: a section starts at the margin, a parameter or resource two spaces in.
"""

import re
from collections.abc import Iterable, Mapping

_LOCATION = re.compile(r"^( +(?:CodeUri|ContentUri): +)(\S+)", re.MULTILINE)
_DEFAULT = re.compile(r"^    Default: +([^#\n]*)", re.MULTILINE)


def section(template: str, name: str) -> str:
    """Return a section, such as Parameters, with its heading; empty if there is none."""
    found = re.search(rf"^{name}:\n(?:[ #].*\n|\n)*", template, re.MULTILINE)
    return found[0] if found else ""


def blocks(template: str, name: str) -> dict[str, str]:
    """Return the members of a section by their names, each with its text."""
    found = re.finditer(
        r"^  (\w+):.*\n(?:   .*\n|\n)*", section(template, name), flags=re.MULTILINE
    )
    return {each[1]: each[0] for each in found}


def defaults(template: str) -> dict[str, str]:
    """Return the parameters with their defaults; each of ours has one."""
    return {
        name: _DEFAULT.findall(text)[0].strip().strip("\"'")
        for name, text in blocks(template, "Parameters").items()
    }


def code(template: str) -> dict[str, str]:
    """Return the folders of code, such as functions/upload/, by the resource that they are for."""
    found = {name: _LOCATION.search(text) for name, text in blocks(template, "Resources").items()}
    return {name: match[2] for name, match in found.items() if match}


def with_code_at(template: str, locations: Mapping[str, str]) -> str:
    """Return the template with other locations of code, by resource."""
    for name, location in locations.items():
        text = blocks(template, "Resources")[name]
        moved = _LOCATION.sub(lambda match, to=location: match[1] + to, text)  # type: ignore[misc]
        template = template.replace(text, moved)
    return template


def without(template: str, condition: str) -> str:
    """Return the template without the resources of a condition that does not hold.

    CloudFormation refuses a type that a region does not have, even if it would make none of it.
    """
    for text in blocks(template, "Resources").values():
        if f"    Condition: {condition}\n" in text:
            template = template.replace(text, "")
    return template


def only(template: str, resources: Iterable[str]) -> str:
    """Return a template of some resources, as an import into a stack needs it.

    An import may bring nothing but its resources: no outputs and no transform.
    """
    wanted = blocks(template, "Resources")
    texts = "".join(wanted[name] for name in resources)
    parts = [section(template, "Parameters"), section(template, "Conditions")]
    return f'AWSTemplateFormatVersion: "2010-09-09"\n{"".join(parts)}Resources:\n{texts}'
