"""Look: the gallery, pictures before and after, decisions about results, and taking them home."""

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response, StreamingResponse

from image_drop.imaging.headers import media_type_of
from image_drop_cli.console.gallery import SHOWN, Tile, View
from image_drop_cli.console.live import told
from image_drop_cli.console.marks import Mark, Verdict
from image_drop_cli.console.taking_home import csv_of, zip_of
from image_drop_cli.console.thumbnails import browsable
from image_drop_cli.console.workspace import (
    NotFoundError,
    Workspace,
    WrongError,
    asked,
    posted,
    workspace_of,
)
from image_drop_cli.explanation import explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from image_drop_cli.manifest import Row

MOST = 500  # tiles in one answer
FOR_A_DAY = {"cache-control": "private, max-age=86400"}  # the address changes with the picture


class Decision(msgspec.Struct, frozen=True):
    """What somebody thinks of results: `kept`, `rejected`, or nothing to take it back."""

    images: list[tuple[str, str]]
    verdict: Verdict | None = None
    note: str = ""


@asked
def tiles(request: "Request", workspace: Workspace) -> dict[str, Any]:
    """Return a part of the gallery, and how long all of it is."""
    found, first, most = workspace.gallery.view(_view(request)), *_range(request)
    return {
        "version": workspace.gallery.version,
        "total": len(found),
        "first": first,
        "tiles": [told(tile) for tile in found[first : first + most]],
        "counts": workspace.gallery.counts(),
    }


@asked
def place(request: "Request", workspace: Workspace) -> dict[str, int]:
    """Return where an image is in a view; -1 if it is not there."""
    name = _name(request)
    found = workspace.gallery.view(_view(request))
    return {"place": next((n for n, tile in enumerate(found) if tile.name == name), -1)}


async def thumbnail(request: "Request") -> Response:
    """Return a small picture of a photo or of its result.

    A window that is scrolled fast asks for many and waits for few: those that nobody waits for any
    more, when it is their turn, are not made.
    """
    thumbnails = workspace_of(request).thumbnails
    async with thumbnails.turn:
        if await request.is_disconnected():
            return Response(status_code=499)
        return await _thumbnail(request)


@asked
def _thumbnail(request: "Request", workspace: Workspace) -> Response:
    tile, before = _tile(request, workspace), _is_before(request)
    version = request.query_params.get("v", "")
    name = f"{before} {tile.row.file} {tile.row.result} {tile.row.at} {version}"
    small = workspace.thumbnails.of(name, lambda: _bytes_of(tile, before, workspace))
    if small is None:
        raise NotFoundError("There is no picture.")
    return Response(small, media_type=media_type_of(small), headers=FOR_A_DAY)


@asked
def picture(request: "Request", workspace: Workspace) -> Response:
    """Return a photo or its result in full size, in a format that browsers show."""
    tile = _tile(request, workspace)
    data = _bytes_of(tile, _is_before(request), workspace)
    found = browsable(data) if data else None
    if found is None:
        raise NotFoundError("There is no picture.")
    return Response(found[0], media_type=found[1], headers=FOR_A_DAY)


@asked
def explained(request: "Request", workspace: Workspace) -> Any:
    """Return where an image is now and its life, as `image-drop explain` tells it."""
    file, _ = _name(request)
    found = msgspec.to_builtins(explain(file, workspace.deployment), enc_hook=str)
    return found | {"tiles": [told(tile) for tile in workspace.gallery.variants(file)]}


@posted(Decision)
def decide(decision: Decision, workspace: Workspace) -> dict[str, Any]:
    """Note what somebody thinks of results."""
    marks = {}
    for file, variant in decision.images:
        tile = workspace.gallery.find(file, variant)
        if tile is None or tile.kind == "on-the-way":
            raise NotFoundError("It has no outcome to decide about yet.")
        verdict = decision.verdict
        marks[tile.name] = Mark(verdict, tile.row.at, decision.note[:2000]) if verdict else None
    workspace.marks.put(marks.items())
    workspace.live.tell_tiles(workspace.gallery.mark(marks))
    return {"counts": workspace.gallery.counts()}


@asked
def as_zip(request: "Request", workspace: Workspace) -> Response:
    """Return the results of a view as a zip, with their manifest."""
    rows = [row for row in _rows(request, workspace) if row.result]
    parts = iterate_in_threadpool(zip_of(rows, workspace.deployment))
    return _download(parts, "image-drop-results.zip", "application/zip")


@asked
def as_csv(request: "Request", workspace: Workspace) -> Response:
    """Return the manifest of a view, for a spreadsheet."""
    parts = iterate_in_threadpool(csv_of(_rows(request, workspace)))
    return _download(parts, "image-drop-manifest.csv", "text/csv; charset=utf-8")


def _download(parts: Any, name: str, media_type: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(parts, media_type=media_type, headers=headers)


def _rows(request: "Request", workspace: Workspace) -> "Sequence[Row]":
    chosen = request.query_params.getlist("image")  # keys with their variants, as JSON
    if not chosen:
        return [tile.row for tile in workspace.gallery.view(_view(request))]
    names = [msgspec.json.decode(each, type=tuple[str, str]) for each in chosen]
    found = (workspace.gallery.find(*name) for name in names)
    return [tile.row for tile in found if tile]


def _view(request: "Request") -> View:
    query = request.query_params
    show = query.get("show", "all")
    if show not in SHOWN:
        raise WrongError(f"There is no view called {show}.")
    by_name = query.get("order") == "name"
    return View(show, query.get("prefix", ""), query.get("text", ""), by_name)


def _range(request: "Request") -> tuple[int, int]:
    query = request.query_params
    try:
        first, most = int(query.get("first", "0")), int(query.get("most", "100"))
    except ValueError:
        raise WrongError("These are no numbers.") from None
    return max(0, first), min(MOST, max(1, most))


def _name(request: "Request") -> tuple[str, str]:
    return request.query_params.get("file", ""), request.query_params.get("variant", "")


def _tile(request: "Request", workspace: Workspace) -> Tile:
    """Return the tile of a request: only what the stack has worked on is shown."""
    tile = workspace.gallery.find(*_name(request))
    if tile is None:
        raise NotFoundError("There is no such image.")
    return tile


def _is_before(request: "Request") -> bool:
    return request.query_params.get("side") == "before"


def _bytes_of(tile: Tile, before: bool, workspace: Workspace) -> bytes | None:
    services, deployment = workspace.deployment.services, workspace.deployment
    if not before:
        found = services.output_bucket.read_output(tile.row.result) if tile.row.result else None
        return found[2] if found and tile.kind == "results" else None
    image = services.input_bucket.find_object(deployment.input_bucket, tile.row.file)
    if image is None:
        return None
    return services.input_bucket.read_object(image, services.settings.max_image_bytes)
