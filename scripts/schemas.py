"""Write the published JSON Schemas to events/schema/: `python -m scripts.schemas`.

People write instructions; other systems build on reports and events. An event's schema describes it
as EventBridge delivers it. Its file is named after the `version` in the detail.
"""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec

from image_drop import events
from image_drop.instructions import schema
from image_drop.storage.output_bucket import Report

FOLDER = Path(__file__).parent.parent / "events" / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Return all schemas by file name."""
    found = {"instructions.json": schema.json_schema(), "report.json": report()}
    for event in get_args(events.Event):
        name = event.name.lower().replace(" ", "-")
        found[f"{name}.v{_version(event)}.json"] = delivered(event)
    return found


def report() -> dict[str, Any]:
    """Return the schema of a report in the output bucket."""
    return {"$schema": DIALECT, "title": "Image Drop report"} | msgspec.json.schema(Report)


def delivered(event: type[events.Event]) -> dict[str, Any]:
    """Return the schema of an event, with the envelope that EventBridge puts around it."""
    (detail,), parts = msgspec.json.schema_components([event], ref_template="#/$defs/{name}")
    body = parts[event.__name__]
    body["properties"]["version"] = {"const": _version(event)}
    body["required"] = list(body["properties"])  # all are sent, including those with a default
    return {
        "$schema": DIALECT,
        "title": event.name,
        "type": "object",
        "properties": {
            "source": {"const": events.SOURCE},
            "detail-type": {"const": event.name},
            "detail": detail,
            "id": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "account": {"type": "string"},
            "region": {"type": "string"},
        },
        "required": ["source", "detail-type", "detail"],
        "$defs": parts,
    }


def text(schema: dict[str, Any]) -> str:
    """Return the content of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _version(event: type[events.Event]) -> int:
    (field,) = (each for each in msgspec.structs.fields(event) if each.name == "version")
    return int(field.default)


def main() -> None:
    """Write all schemas, and delete other JSON files in the folder."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = schemas()
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(text(content), "utf-8")


if __name__ == "__main__":
    main()
