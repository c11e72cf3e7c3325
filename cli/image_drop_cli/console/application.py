"""The console as a web application: its pages, what they ask for, and what they are told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from image_drop_cli.console import deciding, dropping, looking
from image_drop_cli.console.access import Access, Guard
from image_drop_cli.console.live import Live, state_of
from image_drop_cli.console.workspace import Workspace, workspace_of
from image_drop_cli.wording import printable

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

STATIC = Path(__file__).parent / "static"
PAGES = {"/": "drop", "/look": "look", "/decide": "decide"}


def application(workspace: Workspace, access: Access) -> "ASGIApp":
    """Return the application, which only the browser with the token can use."""
    environment = Environment(
        loader=PackageLoader("image_drop_cli.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    app = Starlette(routes=[*_pages(environment), *_routes()])
    app.state.workspace = workspace
    return Guard(app, access)


def _pages(environment: Environment) -> list[Route]:
    template = environment.get_template("page.html")

    def page(name: str) -> Any:
        async def handler(request: "Request") -> Response:
            stack = workspace_of(request).deployment
            where = "on this machine" if stack.is_local else f"on AWS, {stack.aws.region}"
            return HTMLResponse(template.render(view=name, stack=stack.name, where=where))

        return handler

    return [Route(path, page(name)) for path, name in PAGES.items()]


def _routes() -> list[Route | Mount]:
    def get(path: str, handler: Any) -> Route:
        return Route(f"/api/{path}", handler)

    def post(path: str, handler: Any) -> Route:
        return Route(f"/api/{path}", handler, methods=["POST"])

    return [
        get("events", events),
        get("form", dropping.form),
        post("drops", dropping.new_drop),
        Route("/api/files", dropping.take_file, methods=["PUT"]),
        post("files/remove", dropping.remove_files),
        post("plan", dropping.plan),
        post("finish", dropping.draw_finish),
        get("tiles", looking.tiles),
        get("place", looking.place),
        get("thumbnail", looking.thumbnail),
        get("picture", looking.picture),
        get("explain", looking.explained),
        get("results.zip", looking.as_zip),
        get("manifest.csv", looking.as_csv),
        post("decide", looking.decide),
        get("groups", deciding.groups),
        get("report", deciding.report),
        get("spend", deciding.spend),
        post("retry", deciding.offer_retry),
        post("rewrite", deciding.offer_rewrite),
        post("redrive", deciding.offer_redrive),
        post("backfill", deciding.offer_backfill),
        post("backfill/cancel", deciding.cancel_backfill),
        post("accept", deciding.accept),
        post("pause", deciding.pause),
        post("resume", deciding.resume),
        post("limit", deciding.limit),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


async def events(request: "Request") -> Response:
    """Tell a window what happens, as it happens (server-sent events)."""
    return StreamingResponse(_told(workspace_of(request)), media_type="text/event-stream")


async def _told(workspace: Workspace) -> AsyncIterator[bytes]:
    live = workspace.live
    with live.window() as queue:
        yield b"retry: 1000\n\n" + _welcome(workspace, live)
        while not live.closing:
            try:
                yield await asyncio.wait_for(queue.get(), 1.0)
            except TimeoutError:
                yield b": still here\n\n"


def _welcome(workspace: Workspace, live: Live) -> bytes:
    """Return what a window needs to begin with."""
    known = live.overview
    now = {
        "history": list(live.history),
        "state": state_of(known, workspace.gallery, live.history[-1]) if known else None,
        "problem": live.problem,
        "counts": workspace.gallery.counts(),
        "version": workspace.gallery.version,
    }
    return b"event: welcome\ndata: " + msgspec.json.encode(now, enc_hook=str) + b"\n\n"
