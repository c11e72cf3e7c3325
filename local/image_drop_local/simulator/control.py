"""Switches over HTTP, for tests and demos in another process: everything below `/_simulator`.

| request | does |
|---|---|
| `GET /_simulator/settings`, `PATCH` with some of them | lists, changes |
| `GET /_simulator/faults`, `POST` one, `DELETE` | lists, adds, removes all |
| `GET /_simulator/calls`, `DELETE` | lists (with `spent_usd` and `lock_outs`), removes |
| `GET /_simulator/charges` | lists every charged call since the start, answered or not |
"""

from typing import Any

import msgspec
from werkzeug.wrappers import Request

from image_drop_local.simulator.answers import Answer, json_answer
from image_drop_local.simulator.api import Api

PREFIX = "/_simulator/"


def answer(http: Request, api: Api) -> Answer:
    try:
        match http.method, http.path.removeprefix(PREFIX):
            case "GET", "settings":
                return json_answer(api.settings)
            case "PATCH", "settings":
                api.settings = api.settings.changed(_body(http))
                return json_answer(api.settings)
            case "GET", "faults":
                return json_answer(api.faults.waiting())
            case "POST", "faults":
                api.faults.add(**_body(http))
                return json_answer(api.faults.waiting(), 201)
            case "DELETE", "faults":
                api.faults.clear()
                return json_answer([])
            case "GET", "calls":
                return json_answer(_calls(api))
            case "DELETE", "calls":
                api.calls.clear()
                return json_answer(_calls(api))
            case "GET", "charges":
                return json_answer(api.calls.charges())
            case _:
                return json_answer({"error": f"There is no {http.method} {http.path}"}, 404)
    except (msgspec.MsgspecError, TypeError) as error:
        return json_answer({"error": str(error)}, 400)


def _body(http: Request) -> dict[str, Any]:
    return msgspec.json.decode(http.get_data(), type=dict[str, Any])


def _calls(api: Api) -> dict[str, Any]:
    return {
        "calls": api.calls.snapshot(),
        "spent_usd": api.calls.spent_usd,
        "lock_outs": api.lock_out.begun,
    }
