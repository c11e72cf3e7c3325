"""Where the result of a paid call is found again, for the same picture under another name.

An item of the state table for each call, by what was sent: the pictures' bytes and the request,
whatever the image is called. It is written in the transaction that writes the result's outcome.
This module is pure; `records` reads and writes items.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

ANSWER_TTL = 400 * 86_400  # seconds; as long as the record of its image


class Known(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where an answer is in the output bucket: in a result, or in an original that was kept.

    `mark`: the `edit-id` in the metadata of a result, the `call-digest` in those of an original.
    `sha256`: of the object's bytes, in hexadecimal digits. `micro_usd`: what the call cost,
    millionths of a dollar. `finished`: whether the object is a finished result; `fill`: see
    `canvas.Drawn`; `micro_usd` includes its enlargement. The others are as in the metadata of a
    result.
    """

    key: str
    mark: str
    sha256: str
    media_type: str
    micro_usd: int
    finished: bool = False
    fill: float = 0.0
    model: str = ""
    request_id: str = ""
    blurred: bool = False
    enlarged: str = ""


def answer_id(scope: Sequence[str], request: object, sums: Sequence[str]) -> str:
    """Return the id of the item about a call.

    `scope`: what reuse is limited to. `request`: what is sent besides the pictures, whose SHA-256
    are the `sums`.
    """
    return f"answer#{_digest([scope, request, sums])}"


def finished_id(id: str, finish: object) -> str:
    """Return the id of the item about a finished result of that call."""
    return f"answer#{_digest([id, finish])}"


def put(table: str, id: str, known: Known, now: float) -> Mapping[str, Any]:
    """Return the item as a parameter of DynamoDB's `Put`."""
    item = {
        "id": {"S": id},
        "answer": {"S": msgspec.json.encode(known).decode()},
        "expiration": {"N": str(int(now) + ANSWER_TTL)},
    }
    return {"TableName": table, "Item": item}


def known_in(item: Mapping[str, Any] | None) -> Known | None:
    """Return what an item says; None without one, or if it cannot be read."""
    try:
        return msgspec.json.decode(item["answer"]["S"], type=Known) if item else None
    except (msgspec.DecodeError, KeyError):
        return None


def _digest(parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()
