"""What cannot work is told in one sentence, with an exit code for scripts and no traceback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from typer.testing import CliRunner, Result

from image_drop.errors import UnreadableObjectError
from image_drop_cli import app
from image_drop_cli.aws import explained
from image_drop_cli.connection import Exit, explaining
from image_drop_cli.wording import duration


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is at the embedded stack's usual port."""
    monkeypatch.setenv("PORT", "1")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def sentence(result: Result) -> str:
    assert "Traceback" not in result.output
    assert result.stderr.startswith("image-drop: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_without_credentials_it_says_how_to_sign_in(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    result = run("status")
    assert (result.exit_code, "aws configure" in sentence(result)) == (3, True)


def test_without_region_it_says_how_to_name_one(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    result = run("status")
    assert (result.exit_code, "--region" in sentence(result)) == (3, True)


def test_unknown_profile_is_named() -> None:
    result = run("status", "--stack", "x", "--profile", "nope")
    assert (result.exit_code, "(nope)" in sentence(result)) == (3, True)


@pytest.mark.slow
def test_where_nothing_runs_it_says_how_to_start_it() -> None:
    result = run("status", "--endpoint-url", "http://127.0.0.1:1")
    assert (result.exit_code, "make local" in sentence(result)) == (3, True)


def test_wrong_usage_has_its_own_exit_code(tmp_path: Path) -> None:
    assert run("put", tmp_path / "nothing.jpg").exit_code == 2
    assert run("put").exit_code == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mode", "edt"), "Did you mean 'edit'?"),
        (("--prompt", "red", "--finish", '{"trm": true}'), "Did you mean 'trim'?"),
        (("--prompt", "red", "--finish", "{"), "--finish is not JSON"),
        (("--mode", "edit"), "--mode edit needs a prompt. Add --prompt."),
        ((), "No instructions given."),
        (("--prompt", "red", "--aspect-ratio", "7:1"), "Correct --aspect-ratio"),
        (("--prompt", "red", "--layer", ""), "Correct --layer"),
    ],
)
def test_wrong_instructions_are_refused_before_any_write(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = run("init", tmp_path, *options)
    assert (result.exit_code, said in sentence(result)) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_init_writes_folder_file_once(tmp_path: Path) -> None:
    assert run("init", tmp_path / "new", "--mode", "background-remove").exit_code == 0
    path = tmp_path / "new" / ".image-drop.json"
    assert json.loads(path.read_text()) == {"mode": "background-remove"}
    again = run("init", tmp_path / "new", "--prompt", "red")
    assert (again.exit_code, "--overwrite" in sentence(again)) == (1, True)
    assert run("init", tmp_path / "new", "--prompt", "red", "--overwrite").exit_code == 0
    assert json.loads(path.read_text()) == {"prompt": "red"}


def test_schema_is_json_that_knows_every_key() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert "background-remove" in json.dumps(json.loads(result.stdout))


def errors() -> Iterator[tuple[BotoCoreError | ClientError, Exit, str]]:
    def refused(code: str) -> ClientError:
        answer: Any = {"Error": {"Code": code, "Message": "no"}}
        return ClientError(answer, "PutObject")

    url = "https://s3"
    yield botocore.exceptions.EndpointConnectionError(endpoint_url=url), Exit.NETWORK, "again"
    yield botocore.exceptions.ConnectionClosedError(endpoint_url=url), Exit.NETWORK, "again"
    yield botocore.exceptions.ReadTimeoutError(endpoint_url=url), Exit.NETWORK, "again"
    yield botocore.exceptions.ConnectTimeoutError(endpoint_url=url), Exit.NETWORK, "again"
    yield refused("ExpiredToken"), Exit.UNUSABLE, "Sign in again"
    yield refused("AccessDenied"), Exit.UNUSABLE, "may not do this (PutObject)"
    yield refused("NoSuchBucket"), Exit.UNUSABLE, "NoSuchBucket"


@pytest.mark.parametrize(("error", "code", "said"), list(errors()), ids=lambda each: str(each)[:40])
def test_errors_of_aws_become_sentence_and_code(
    error: BotoCoreError | ClientError,
    code: Exit,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from typer import Exit as Ended

    with pytest.raises(Ended) as ended, explaining():
        raise error
    assert ended.value.exit_code == code
    assert said in capsys.readouterr().err
    assert "\n" not in explained(error)


def test_object_that_s3_refuses_is_told_in_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from typer import Exit as Ended

    with pytest.raises(Ended) as ended, explaining():
        raise UnreadableObjectError("S3 refuses to give shoe.jpg: 403.")
    assert ended.value.exit_code == Exit.UNUSABLE
    assert "image-drop: S3 refuses to give shoe.jpg: 403." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (40, "40 s"), (180, "3 min"), (19_800, "5.5 h"), (1_036_800, "12 days")],
)
def test_durations_are_said_in_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
