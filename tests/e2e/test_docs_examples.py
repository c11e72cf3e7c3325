"""The examples of the documents run against the embedded stack, as they stand.

Python examples run as programs of their own. Lines of `image-drop` run in this process. No AWS CLI
is needed: a line such as `aws s3api put-object …` becomes the call of boto3 that it stands for, see
`tests.docs.aws_commands`. Not run are `make` (`tests/e2e/test_demo.py` and `test_terminal.py` do),
`uvx` (`test_installed.py` does) and `sam`, which needs an AWS account.
"""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
import requests
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from image_drop_cli import app
from image_drop_local.emulator.stack import ACCESS_KEY, REGION, SECRET_KEY, Stack
from tests.docs.aws_commands import parsed
from tests.docs.pages import page, shell_lines

README, INTEGRATING = page("README.md"), page("docs/integrating.md")
ELSEWHERE = ("make ", "sam ", "uvx ")
EVERY_SECOND = {"Delay": 1, "MaxAttempts": 60}


@pytest.fixture
def folder(
    stack: Stack, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder that the examples run in, with a photo of each test's own; no results yet."""
    monkeypatch.chdir(tmp_path)
    image = Image.new("RGB", (320, 260), "white")
    colour = zlib.crc32(request.node.name.encode()) % 0x808080
    ImageDraw.Draw(image).ellipse((80, 60, 240, 200), fill=f"#{colour:06x}")
    image.save(tmp_path / "shoe.jpg")
    (tmp_path / "photos").mkdir()
    image.rotate(90).save(tmp_path / "photos" / "shoe.jpg")
    s3 = stack.client("s3")
    for key in results(stack):
        s3.delete_object(Bucket=stack.outputs["OutputBucketName"], Key=key)
    return tmp_path


@pytest.fixture(scope="module")
def announced(stack: Stack) -> Iterator[str]:
    """The URL of the queue that the page on events makes for results."""
    yield queue_of(stack, "shop", INTEGRATING.blocks("yaml")[0])
    stack.client("cloudformation").delete_stack(StackName="shop")


def queue_of(stack: Stack, name: str, template: str) -> str:
    """Deploy a template; the URL of its queue."""
    cloudformation = stack.client("cloudformation")
    cloudformation.create_stack(StackName=name, TemplateBody=template)
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig=EVERY_SECOND
    )
    [made] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return str(made["Outputs"][0]["OutputValue"])


def results(stack: Stack) -> list[str]:
    """The keys in the output bucket."""
    listing = stack.client("s3").list_objects_v2(Bucket=stack.outputs["OutputBucketName"])
    return [each["Key"] for each in listing.get("Contents", ())]


def wait_for(stack: Stack, key: str) -> dict[str, str]:
    """The metadata of a result, once it is there."""
    s3, place = stack.client("s3"), {"Bucket": stack.outputs["OutputBucketName"], "Key": key}
    s3.get_waiter("object_exists").wait(**place, WaiterConfig=EVERY_SECOND)
    return dict(s3.head_object(**place)["Metadata"])


def python(stack: Stack, folder: Path, code: str, given: str = "") -> str:
    """Run a program in a folder, with the stack as its AWS; what it prints."""
    environment = {
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def aws(stack: Stack, command: str) -> Any:
    """Run a command of the AWS CLI, by boto3."""
    call = parsed(command)
    if "Body" in call.parameters:
        call.parameters["Body"] = Path(call.parameters["Body"]).read_bytes()
    return getattr(stack.client(call.service), call.operation)(**call.parameters)


def run(stack: Stack, line: str) -> None:
    """Run a line of the README's shell examples."""
    if line.startswith("uv run image-drop "):
        words = line.partition("#")[0].split()[3:]
        environment = {"AWS_ENDPOINT_URL": stack.endpoint_url}
        ended = CliRunner().invoke(app, words, env=environment)
        assert ended.exit_code == 0, ended.output
    elif line.startswith("aws s3 ls "):
        assert results(stack)
    else:
        aws(stack, line)


def test_readmes_shell_examples_run(stack: Stack, folder: Path) -> None:
    names = {
        "INPUT": stack.outputs["InputBucketName"],
        "OUTPUT": stack.outputs["OutputBucketName"],
    }
    lines = [line for block in README.blocks("sh") for line in shell_lines(block)]
    mine = [Template(line).substitute(names) for line in lines if not line.startswith(ELSEWHERE)]
    assert len(mine) >= 5
    for line in mine:
        run(stack, line)
        if "put-object" in line:
            assert wait_for(stack, "shoe.jpg.png")["mode"] == "background-remove"
    assert (folder / "image-drop-out" / "photos" / "shoe.jpg.png").exists()


def test_readmes_python_example_runs(stack: Stack, folder: Path) -> None:
    [example] = README.blocks("python")
    python(stack, folder, example)
    assert wait_for(stack, "shoe.jpg.png")["mode"] == "background-remove"


def test_examples_for_programs_run(stack: Stack, folder: Path, announced: str) -> None:
    setup, *uploads, consumer = INTEGRATING.blocks("python")
    shown = "\n".join([setup, *uploads, "print(json.dumps(post))"])
    post = json.loads(python(stack, folder, shown))
    file = (folder / "photos" / "shoe.jpg").read_bytes()
    answer = requests.post(post["url"], post["fields"], files={"file": file}, timeout=30)
    assert answer.status_code == 204, answer.text

    by_program = wait_for(stack, "shoe.jpg.png")
    by_page = wait_for(stack, f"{post['fields']['key']}.png")
    assert by_program["mode"] == by_page["mode"] == "background-remove"

    edit_id = by_program["edit-id"]
    event = next(each for each in events(stack, announced) if each["detail"]["edit_id"] == edit_id)
    tail = "import sys\ns3 = boto3.client('s3')\n"
    tail += consumer + "\nid, png = on_edited(json.load(sys.stdin))\nprint(id, png[:4])"
    told = python(stack, folder, f"{setup}\nimport json\n{tail}", json.dumps(event))
    assert told.split() == [edit_id, repr(b"\x89PNG")]


def test_queue_of_example_gets_nothing_without_its_policy(stack: Stack, announced: str) -> None:
    whole = INTEGRATING.blocks("yaml")[0]
    policy = whole[whole.index("  EditedPolicy:") : whole.index("Outputs:")]
    closed = queue_of(stack, "closed", whole.replace(policy, ""))
    probe = {"Source": "image-drop", "DetailType": "Image Edited", "Detail": '{"probe": true}'}

    stack.client("events").put_events(Entries=[probe])

    assert any(each["detail"] == {"probe": True} for each in events(stack, announced))
    assert "Messages" not in stack.client("sqs").receive_message(QueueUrl=closed)
    stack.client("cloudformation").delete_stack(StackName="closed")


def events(stack: Stack, queue: str) -> Iterator[dict[str, Any]]:
    """The events in a queue, as they come; ends when none has come for 20 seconds."""
    sqs = stack.client("sqs")
    while messages := sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20).get("Messages"):
        yield from (json.loads(message["Body"]) for message in messages)
