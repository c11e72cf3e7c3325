"""`explain` tells what the functions would do, from where, without doing it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from image_drop_cli.explanation import Given, explain
from image_drop_cli.image_state import Kind
from image_drop_cli.upload.folders import LocalFile
from tests.support.account import INPUT_BUCKET
from tests.support.quiet_stack import QuietStack, file, quiet_stack


@pytest.fixture
def stack(
    input_bucket: str, output_bucket: str, table: str, boto_client: Callable[[str], Any]
) -> QuietStack:
    return quiet_stack(boto_client, DefaultMode="edit")


@pytest.fixture
def shoe(stack: QuietStack, tmp_path: Path) -> str:
    """An image with instructions in four places."""
    stack.s3.put_object(
        Bucket=INPUT_BUCKET, Key=".image-drop.json", Body=b'{"prompt": "blue", "quality": "low"}'
    )
    photo = file(tmp_path, "shoe.jpg")
    stack.send(LocalFile(photo, "p/shoe.jpg", b'{"prompt": "red"}', {"prompt": "green"}))
    return "p/shoe.jpg"


def test_each_key_is_shown_with_its_source_and_what_it_overrides(
    stack: QuietStack, shoe: str
) -> None:
    assert explain(shoe, stack.deployment).given == (
        Given("mode", "edit", "the template's defaults", ()),
        Given("prompt", "red", "p/shoe.jpg.json", ("the object tags", ".image-drop.json")),
        Given("quality", "low", ".image-drop.json", ()),
    )


def test_only_what_endpoint_takes_would_be_sent(stack: QuietStack, shoe: str) -> None:
    [request] = explain(shoe, stack.deployment).requests
    assert (request.endpoint, request.parameters) == ("/image/edit", {"prompt": "red"})
    assert (request.output_key, request.state.kind) == ("p/shoe.jpg.png", Kind.NEVER_SEEN)


def test_instructions_that_do_not_count_are_said_to_be_ignored(
    boto_client: Callable[[str], Any],
    input_bucket: str,
    output_bucket: str,
    table: str,
    tmp_path: Path,
) -> None:
    stack = quiet_stack(
        boto_client, DefaultMode="background-remove", UntrustedPrefixes="customers/"
    )
    theirs = LocalFile(
        file(tmp_path, "a.jpg"), "customers/a.jpg", b'{"prompt": "x"}', {}, {"prompt": "x"}
    )
    stack.send(theirs)
    explanation = explain("customers/a.jpg", stack.deployment)
    assert [each.key for each in explanation.given] == ["mode"]
    assert explanation.ignored == ("instructions below customers/", "the user metadata")
    assert explain("a.jpg", stack.deployment).ignored == ()


def test_what_call_would_cost_is_told(stack: QuietStack, tmp_path: Path) -> None:
    photo = file(tmp_path, "shoe.jpg")
    cut_out = LocalFile(photo, "a.jpg", b'{"mode": "background-remove"}')
    enhanced = LocalFile(photo, "b.jpg", b'{"prompt": "red", "enhance_prompt": true}')
    unheard = LocalFile(photo, "c.jpg", b'{"prompt": "red", "model": "new-edit"}')
    stack.send(cut_out, enhanced, unheard)
    requests = [explain(key, stack.deployment).requests[0] for key in ("a.jpg", "b.jpg", "c.jpg")]
    assert [(request.model, request.usd) for request in requests] == [
        ("bria-bg-remover", 0.03),
        ("firered-image-edit", 0.08),
        ("new-edit", 0.84),
    ]


def test_what_is_done_is_said_to_be_done(stack: QuietStack, shoe: str) -> None:
    stack.make(shoe)
    [request] = explain(shoe, stack.deployment).requests
    assert request.state.kind is Kind.RESULT
    assert "no call would be made" in request.state.text


def test_missing_image_is_explained_from_its_folders(stack: QuietStack, shoe: str) -> None:
    explanation = explain("p/other.jpg", stack.deployment)
    assert not explanation.in_bucket
    assert [(each.key, each.value) for each in explanation.given][1] == ("prompt", "blue")
    assert explanation.requests[0].state.kind is Kind.NO_IMAGE


def test_variants_are_requests_of_their_own(stack: QuietStack, tmp_path: Path) -> None:
    variants = (
        b'{"prompt": "red", "variants": {"cut": {"mode": "background-remove"},'
        b' "shop": {"finish": {"size": "800x800"}}}}'
    )
    stack.send(LocalFile(file(tmp_path, "shoe.jpg"), "shoe.jpg", variants))
    cut, shop = explain("shoe.jpg", stack.deployment).requests
    assert (cut.variant, cut.endpoint, cut.parameters) == ("cut", "/image/background-remove", {})
    assert cut.output_key == "shoe.jpg.cut.png"
    assert (shop.variant, shop.endpoint) == ("shop", "/image/edit")
    assert shop.afterwards == {"finish": {"size": "800x800"}}


def test_wrong_instructions_are_explained_as_report_would(
    stack: QuietStack, tmp_path: Path
) -> None:
    stack.send(LocalFile(file(tmp_path, "shoe.jpg"), "shoe.jpg", b'{"promt": "red"}'))
    explanation = explain("shoe.jpg", stack.deployment)
    assert explanation.requests == ()
    assert explanation.problem is not None
    assert "Did you mean 'prompt'?" in explanation.problem


def test_missing_layer_is_named(stack: QuietStack, tmp_path: Path) -> None:
    layers = b'{"mode": "multi-edit", "prompt": "red", "layers": ["_layers/a.png"]}'
    stack.send(LocalFile(file(tmp_path, "shoe.jpg"), "p/shoe.jpg", layers))
    [request] = explain("p/shoe.jpg", stack.deployment).requests
    assert request.images == ("p/shoe.jpg", "_layers/a.png")
    assert request.state.kind is Kind.QUEUED
    assert "p/_layers/a.png" in request.state.text


@pytest.mark.parametrize("key", ["p/", ".hidden.jpg", "p/_layers/a.png"])
def test_keys_that_start_nothing_are_told(stack: QuietStack, key: str) -> None:
    problem = explain(key, stack.deployment).problem
    assert problem is not None
    assert "Image Drop ignores" in problem
