"""What a function of the embedded stack can see and do."""

import io
import json
import zipfile
from typing import Any

from image_drop_local.emulator.stack import Stack

# A function that does what its event says: calls one operation of AWS, or tells where code is, or
# the names of the variables in its environment.
PROBE = """
import boto3, importlib, os
from botocore.exceptions import ClientError

def handler(event, context):
    if "environment" in event:
        return list(os.environ)
    if "module" in event:
        return importlib.import_module(event["module"]).__file__
    try:
        client = boto3.client(event["service"])
        getattr(client, event["operation"])(**event["arguments"])
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "allowed"
"""
ALLOWED = "allowed"


class Probe:
    """A function with the role and the layers of one of the template's."""

    def __init__(self, stack: Stack, like: str) -> None:
        self._lambda = stack.client("lambda")
        self.name = f"probe-{like}"
        twin = self._lambda.get_function(FunctionName=stack.physical_id(like))["Configuration"]
        self._lambda.create_function(
            FunctionName=self.name,
            Role=twin["Role"],
            Runtime=twin["Runtime"],
            Handler="app.handler",
            Layers=[layer["Arn"] for layer in twin["Layers"]],
            Code={"ZipFile": zipped(PROBE)},
            Timeout=30,
        )

    def ask(self, **event: Any) -> Any:
        answer = self._lambda.invoke(FunctionName=self.name, Payload=json.dumps(event))
        return json.load(answer["Payload"])

    def tries(self, service: str, operation: str, **arguments: Any) -> str:
        """`allowed`, or the code of the error."""
        return str(self.ask(service=service, operation=operation, arguments=arguments))

    def delete(self) -> None:
        self._lambda.delete_function(FunctionName=self.name)


def zipped(code: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("app.py", code)
    return archive.getvalue()
