"""The ids of edits stay what they were, or what is paid and done would be made again."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.account import INPUT_BUCKET
from tests.support.quiet_stack import QuietStack, quiet_stack

# As the first version that published them made them.
IDS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"mode": "background-remove"},
        "c624edc936faffd66571d513f97483bb",
        "287256ea472f16092f526633a9d03542",
    ),
    (
        {"prompt": "blue", "aspect_ratio": "3:2", "reference": "4711"},
        "6352788312f0392b835ef04d23217aac",
        "33e3cdeb2319285bd2c838757bec13e8",
    ),
    (
        {"mode": "edit", "prompt": "blue", "resolution": "2k", "keep_original": True},
        "fad48bf8ae6b8ccd1f485cb6d36440a4",
        "495f2ee2decd49e265c708474fbd3427",
    ),
    (
        {"mode": "background-remove", "finish": "amazon"},
        "c624edc936faffd66571d513f97483bb",
        "70dc108c67e0dacdc1315eb98ee0f828",
    ),
    (
        {"mode": "background-remove", "finish": {"preset": "shopify", "margin": 9}},
        "c624edc936faffd66571d513f97483bb",
        "de849b3bfd1eeb25be3988a85ea9ad00",
    ),
    (
        {
            "mode": "background-remove",
            "finish": {
                "preset": "square-white",
                "trim": False,
                "shadow": True,
                "margin": "8.5%",
                "size": "900x600",
                "format": "webp",
                "max_bytes": 50_000,
                "background": "ivory",
            },
        },
        "c624edc936faffd66571d513f97483bb",
        "4e1f71e474e1f54d229b40122e83ba2f",
    ),
]


@pytest.fixture
def stack(
    input_bucket: str, output_bucket: str, table: str, boto_client: Callable[[str], Any]
) -> QuietStack:
    return quiet_stack(boto_client)


@pytest.mark.parametrize(("instructions", "call_digest", "id"), IDS)
def test_same_instructions_are_same_edit_in_every_version(
    stack: QuietStack, instructions: dict[str, Any], call_digest: str, id: str
) -> None:
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="shoe.jpg", Body=b"a photo")
    body = json.dumps(instructions).encode()
    stack.s3.put_object(Bucket=INPUT_BUCKET, Key="shoe.jpg.json", Body=body)
    edit = stack.edit("shoe.jpg")
    assert (edit.call_digest, edit.id) == (call_digest, id)
