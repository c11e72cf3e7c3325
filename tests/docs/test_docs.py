"""The documents say what the code does: what exists is documented, and what they show exists."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import cfnlint.api
import msgspec
import pytest
import typer.main
from cfnlint.decode import cfn_yaml

from image_drop import events, retry
from image_drop.errors import (
    ImageDropError,
    InstructionsError,
    PermanentError,
    SupersededError,
    WaitsForImageError,
    subclasses,
)
from image_drop.instructions.finish import Finish
from image_drop.instructions.presets import PRESETS
from image_drop.instructions.schema import KEYS, Instructions, Mode
from image_drop.instructions.sources import from_file, resolve
from image_drop.state import catalogue_store, circuit_breaker, edit_record, orders, scans
from image_drop.storage.output_bucket import Report
from image_drop_cli import app
from image_drop_cli.spending import AWS_USD
from tests.docs.aws_commands import parsed
from tests.docs.pages import (
    LAYER,
    PROJECT,
    Page,
    page,
    pages,
    rows,
    shell_lines,
    shown_commands,
)

OPERATIONS, INTEGRATING = "docs/operations.md", "docs/integrating.md"
INSTRUCTIONS, ARCHITECTURE = "docs/instructions.md", "docs/architecture.md"
SOURCES = (".py", ".yaml", ".yml", ".md", ".toml", ".lock", ".svg", ".txt")  # that docs may name
FOLDERS = tuple(path.name for path in PROJECT.iterdir() if path.is_dir())
MAKEFILE = (PROJECT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE)) - {"setup"}
TEMPLATE = cfn_yaml.load(str(PROJECT / "template.yaml"))


# --- links and files


@pytest.mark.parametrize("document", pages(), ids=lambda each: each.name)
def test_links_and_anchors_resolve(document: Page) -> None:
    for link in document.links:
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (document.path.parent / file).resolve() if file else document.path
        assert target.exists(), link
        if anchor:
            assert anchor in page(target.relative_to(PROJECT).as_posix()).anchors, link


@pytest.mark.parametrize("document", pages(), ids=lambda each: each.name)
def test_files_that_page_names_exist(document: Page) -> None:
    for name in document.code:
        path = name.rstrip("/")
        if " " in name or "/" not in name or not path.startswith((*FOLDERS, "state/", "venice/")):
            continue
        if name.endswith((*SOURCES, "/")):
            assert any(_found(path)), name


def test_tree_of_contributing_is_that_of_repository() -> None:
    for block in page("CONTRIBUTING.md").blocks(""):
        for line in block.splitlines():
            for name in line.partition("  ")[0].split():
                assert any(_found(name.rstrip("/"))), name


def _found(name: str) -> Iterator[Path]:
    """Where a name is in the repository, or in the layer; `<name>` stands for any."""
    pattern = re.sub(r"<[^>]*>", "*", name)
    yield from PROJECT.glob(pattern)
    yield from LAYER.glob(pattern)


# --- the command line


def commands(command: Any = None, *path: str) -> Iterator[tuple[str, Any]]:
    """All commands of the live app, by their words."""
    command = command or typer.main.get_command(app)
    children = getattr(command, "commands", {})
    yield " ".join(path), command
    for name, child in children.items():
        yield from commands(child, *path, name)


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", [words for words in COMMANDS if words])
def test_every_command_and_option_is_documented(words: str) -> None:
    section = page(OPERATIONS).section("The command line")
    common, *parts = re.split(r"^### ", section, flags=re.MULTILINE)
    first = rf"image-drop {re.escape(words.split()[0])}\b"
    own = "".join(part for part in parts if re.search(first, part.partition("\n")[0]))
    assert re.search(rf"image-drop {re.escape(words)}\b", own), words
    for option in _options(COMMANDS[words]):
        assert re.search(rf"{option}(?![\w-])", own + common), f"{words} {option}"


def test_every_option_of_program_itself_is_documented() -> None:
    section = page(OPERATIONS).section("The command line")
    for option in _options(COMMANDS[""]) - {"--install-completion", "--show-completion"}:
        assert re.search(rf"{option}(?![\w-])", section), option


def test_every_command_shown_exists_with_its_options() -> None:
    shown = shown_commands("image-drop")
    assert len(shown) > 20
    for line in shown:
        words = shlex.split(line, comments=True)[1:]
        path = ""
        while words and (longer := f"{path} {words[0]}".strip()) in COMMANDS:
            path, words = longer, words[1:]
        is_group = hasattr(COMMANDS[path], "commands")
        assert not is_group or not words or words[0][:1] in "-…", f"{line}: no such command"
        known = _options(COMMANDS[path]) | _options(COMMANDS[""]) | {"--help", "-h"}
        for word in words:
            assert word[:1] != "-" or word.partition("=")[0] in known, f"{line}: no {word}"


def _options(command: Any) -> set[str]:
    """The long options of a command."""
    return {
        option
        for each in command.params
        for option in (*each.opts, *each.secondary_opts)
        if option.startswith("--")
    }


# --- make and the shell


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_make_target_is_documented(target: str) -> None:
    assert re.search(rf"`make {target}[ `]", page("CONTRIBUTING.md").text)


def test_every_make_command_shown_exists_with_its_variables() -> None:
    read = MAKEFILE + "".join(path.read_text("utf-8") for path in (PROJECT / "local").rglob("*.py"))
    shown = shown_commands("make")
    assert len(shown) > 10
    for line in shown:
        for word in shlex.split(line, comments=True)[1:]:
            variable, is_set, _ = word.partition("=")
            known = re.search(rf"\b{variable}\b", read) if is_set else word in TARGETS | {"…"}
            assert known, line


def test_every_aws_command_shown_is_one_of_aws() -> None:
    blocks = [block for each in pages() for block in each.blocks("sh")]
    found = (re.search(r"\baws (?!s3 )[^|;)]*", line) for b in blocks for line in shell_lines(b))
    lines = [each[0] for each in found if each]
    assert len(lines) > 5
    for line in lines:
        assert parsed(line)


# --- the template


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_every_parameter_is_documented_with_its_default(name: str) -> None:
    table = {row[0]: row[1:] for row in rows(page(OPERATIONS).section("Template parameters"))}
    assert table[name][0] == (str(TEMPLATE["Parameters"][name]["Default"]) or "empty")
    assert len(table[name][1]) > 10


def test_every_alarm_is_documented_with_what_to_do() -> None:
    resources = TEMPLATE["Resources"].items()
    alarms = {name for name, each in resources if each["Type"] == "AWS::CloudWatch::Alarm"}
    table = rows(page(OPERATIONS).section("When an alarm fires"))
    assert {row[0] for row in table[2:]} == alarms
    assert all(len(row) == 3 and all(row) for row in table)


def test_every_output_is_documented() -> None:
    for name in TEMPLATE["Outputs"]:
        assert f"`{name}`" in page(OPERATIONS).text


@pytest.mark.parametrize("block", page(INTEGRATING).blocks("yaml"))
def test_templates_shown_are_good(block: str) -> None:
    found = cfnlint.api.lint(block, rules=None, regions=["us-east-1"])
    assert [each.message for each in found] == []


# --- instructions


def test_every_key_of_instructions_is_documented() -> None:
    documented = page(INSTRUCTIONS).section("The keys")
    for key in KEYS:
        assert f"| `{key}` |" in documented
    for mode in Mode:
        assert f"`{mode}`" in documented


def test_every_key_of_finish_is_documented() -> None:
    section = page(INSTRUCTIONS).section("Finish")
    for field in msgspec.structs.fields(Finish):
        assert f"| `{field.name}` |" in section


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_documented_with_its_values(preset: str) -> None:
    heading, *table = [
        row for row in rows(page(INSTRUCTIONS).section("Finish")) if len(row) == 1 + 6
    ]
    values = dict(zip(heading, next(row for row in table if row[0] == preset), strict=True))
    for key, value in PRESETS[preset].keys.items():
        assert values[key] == (f"{value:,}" if key == "max_bytes" else str(value).lower()), key


@pytest.mark.parametrize("name", ["README.md", INSTRUCTIONS])
def test_instructions_shown_are_good(name: str) -> None:
    shown = [block for block in page(name).blocks("json") if '"code"' not in block]
    assert len(shown) > 1
    for block in shown:
        try:
            resolve([from_file("shown", block.encode())])
        except InstructionsError as error:
            pytest.fail(f"{block}\n{error.detail}")


def test_no_limit_of_schema_is_told_wrongly() -> None:
    limits = msgspec.json.schema(Instructions)["$defs"]["Instructions"]["properties"]["prompt"]
    (text,) = (each for each in limits["anyOf"] if each["type"] == "string")
    told = f"{text['minLength']} to {text['maxLength']:,} characters"
    assert told in page(INSTRUCTIONS).section("The keys")


# --- reports, errors and events

WAITING = {each.code for each in retry.WAITS}
LEFT = {WaitsForImageError.code, SupersededError.code}
REPORTED = {each.code for each in subclasses(PermanentError)} - {ImageDropError.code}
OTHERS = {each.code for each in subclasses(ImageDropError)} - WAITING - LEFT - REPORTED


@pytest.mark.parametrize(
    ("heading", "number", "codes"),
    [
        ("Error codes", 0, REPORTED),
        ("Codes of attempts", 0, OTHERS),
        ("Codes of attempts", 1, WAITING | {"daily_spend_limit"}),
        ("Codes of attempts", 2, LEFT),
    ],
)
def test_every_error_code_is_in_its_table(heading: str, number: int, codes: set[str]) -> None:
    section = page(INTEGRATING).section(heading).partition("\n### ")[0]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    table = [row for row in rows(tables[number])[2:] if all(row)]
    expected = codes - {"daily_spend_limit"} if number == 0 else codes
    assert {row[0] for row in table} == expected


@pytest.mark.parametrize("event", get_args(events.Event), ids=lambda each: each.name)
def test_every_event_is_documented_with_schema_and_example(event: Any) -> None:
    name = event.name.lower().replace(" ", "-")
    row = next(row for row in rows(page(INTEGRATING).section("Events")) if row[0] == event.name)
    assert f"../events/schema/{name}.v1.json" in row[2]
    fields = set(event.__struct_fields__)
    shown = [part for each in _examples() for part in (each, each.get("detail"))]
    examples = [each for each in shown if isinstance(each, dict) and each.keys() == fields]
    assert [msgspec.convert(each, event) for each in examples]


def test_report_shown_is_one() -> None:
    (shown,) = (each for each in _examples() if "what_to_do" in each)
    assert shown.keys() == set(Report.__struct_fields__)
    assert msgspec.convert(shown, Report)


def _examples() -> list[dict[str, Any]]:
    return [msgspec.json.decode(block) for block in page(INTEGRATING).blocks("json")]


# --- what is inside


def test_items_of_state_table_are_documented() -> None:
    table = {row[0] for row in rows(page(ARCHITECTURE).section("The state table"))}
    assert edit_record.record_id("<bucket>", "<key>", "<variant>") in table
    assert {circuit_breaker.ITEM, orders.ITEM, scans.ITEM, catalogue_store.ITEM} <= table


def test_every_metric_is_documented() -> None:
    section = page(OPERATIONS).section("Dashboard, metrics and logs")
    measured = {
        key.value
        for path in LAYER.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "measure"
        for each in ast.walk(call)
        if isinstance(each, ast.Dict)
        for key in each.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
    assert len(measured) > 8
    for name in measured:
        assert f"`{name}`" in section


def test_every_decision_is_listed() -> None:
    folder = PROJECT / "docs" / "decisions"
    records_there = {path.name for path in folder.glob("[0-9]*.md")}
    assert set(page("docs/decisions/README.md").links) == records_there


def test_terminal_picture_is_demos_and_fetches_nothing() -> None:
    picture = (PROJECT / "docs" / "demo-terminal.svg").read_text("utf-8")
    assert "make&#160;demo" in picture or "make demo" in picture
    assert "rocket.jpg" in picture
    assert re.findall(r"https?://[^\"' ]+", picture) == ["http://www.w3.org/2000/svg"]


def test_estimate_of_aws_is_what_pages_say() -> None:
    said = f"AWS costs about ${1000 * AWS_USD:.2f} for a thousand edits of 12 s"
    for name in ("README.md", OPERATIONS):
        assert said in " ".join(page(name).text.split())
