"""`aws` commands as the calls of boto3 that they stand for: no AWS CLI is needed to check them."""

import shlex
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel

SERVICES = {"s3api": "s3"}  # by their names in the CLI
OF_THE_CLI = ("query", "output", "region", "profile")  # options that are no parameters


@dataclass(frozen=True)
class AwsCommand:
    """An operation of boto3, such as `put_object` of `s3`, with its parameters."""

    service: str
    operation: str
    parameters: dict[str, Any]


def parsed(command: str) -> AwsCommand:
    """The call behind a command such as `aws ssm put-parameter --name …`.

    Raises `ValueError` where AWS has no such operation or parameter, or one is missing.
    """
    program, name, operation, *words = shlex.split(command, comments=True)
    if program != "aws":
        raise ValueError(f"{command} is not a command of aws")
    service = SERVICES.get(name, name)
    model = _model(service, operation)
    shape = model.input_shape
    assert shape, f"{operation} takes nothing"
    known = {xform_name(each, "-"): each for each in shape.members}
    parameters: dict[str, Any] = {}
    while words:
        option = words.pop(0).removeprefix("--")
        value: Any = words.pop(0) if words and not words[0].startswith("--") else True
        if option in OF_THE_CLI:
            continue
        if option not in known:
            raise ValueError(f"{command}: there is no --{option}")
        kind = shape.members[known[option]].type_name
        parameters[known[option]] = int(value) if kind == "integer" else value
    if missing := set(shape.required_members) - parameters.keys():
        raise ValueError(f"{command}: {', '.join(missing)} missing")
    return AwsCommand(service, xform_name(model.name), parameters)


@cache
def _model(service: str, operation: str) -> OperationModel:
    model = botocore.session.Session().get_service_model(service)
    names = {xform_name(each, "-"): each for each in model.operation_names}
    if operation not in names:
        raise ValueError(f"AWS has no {service} {operation}")
    return model.operation_model(names[operation])
