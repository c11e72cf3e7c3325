"""Drop: take files in, say what they will cost, and send them."""

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from image_drop.errors import InstructionsError
from image_drop.imaging import canvas
from image_drop.instructions import presets
from image_drop.instructions.finish import Finish
from image_drop.instructions.schema import PROMPTED, TAKES, Instructions, Mode, json_schema
from image_drop.instructions.sources import Source, checked, presets_in
from image_drop.uploads import starts_nothing
from image_drop.venice import client
from image_drop.venice.known_models import DEFAULT_EDIT_MODEL
from image_drop_cli.console.drops import Drop, Instructed, Sending
from image_drop_cli.console.sample_picture import sample_picture
from image_drop_cli.console.workspace import (
    NotFoundError,
    Workspace,
    WrongError,
    asked,
    json,
    posted,
    shown_offer,
    workspace_of,
)
from image_drop_cli.fetching import UnsafeKeyError

if TYPE_CHECKING:
    from starlette.requests import Request

    from image_drop.venice.catalogue import Catalogue

SAMPLE = 3  # images that "try three first" sends


class Wanted(msgspec.Struct, frozen=True):
    """What a page wants to be done with a drop."""

    drop: str
    instructions: dict[str, Any] = {}
    to: str = ""
    overwrite: bool = False
    sample: bool = False

    @property
    def instructed(self) -> Instructed:
        """The same for the files."""
        return Instructed(self.instructions, self.to, self.overwrite)


class Named(msgspec.Struct, frozen=True):
    """A drop, and files of it."""

    drop: str
    names: list[str] = []


class Shown(msgspec.Struct, frozen=True):
    """A finish to be drawn."""

    finish: Any


class Nothing(msgspec.Struct, frozen=True):
    """A request without content."""


@asked
def form(_: "Request", workspace: Workspace) -> dict[str, Any]:
    """Return what the form of instructions is made from: the schema, models, presets."""
    catalogue = workspace.deployment.services.catalogue.current()
    allowed = workspace.deployment.services.settings.allowed_models
    models = [
        {
            "name": name,
            "usd": _price(catalogue, Mode.EDIT, name),
            "limits": model.limits,
            "default": name == DEFAULT_EDIT_MODEL,
        }
        for name, model in sorted(catalogue.edit_models.items())
        if not allowed or name in allowed
    ]
    return {
        "schema": json_schema(),
        "takes": TAKES,
        "models": models,
        "prices": {mode.value: _price(catalogue, mode) for mode in Mode},
        "prompted": PROMPTED,
        "presets": {name: preset.keys for name, preset in presets.PRESETS.items()},
        "defaults": {
            "mode": workspace.deployment.services.settings.default_mode,
            "prompt": workspace.deployment.services.settings.default_prompt,
        },
        "max_bytes": workspace.deployment.services.settings.max_image_bytes,
        "sample": SAMPLE,
    }


def _price(catalogue: "Catalogue", mode: Mode, model: str | None = None) -> float:
    wanted = Instructions(mode=mode, model=model)
    return catalogue.price(mode, client.parameters(wanted), 1, enhanced=False)


@posted(Nothing)
def new_drop(_: Nothing, workspace: Workspace) -> dict[str, str]:
    """Begin a drop."""
    return {"drop": workspace.drops.new().id}


async def take_file(request: "Request") -> Response:
    """Keep one file of a drop; its bytes are the request's body."""
    workspace = workspace_of(request)
    drop = workspace.drops.find(request.query_params.get("drop", ""))
    if drop is None:
        return json({"problem": "The console was started again. Drop the files again."}, 404)
    most = workspace.deployment.services.settings.max_image_bytes
    try:
        path = drop.place(request.query_params.get("name", ""))
        await run_in_threadpool(path.parent.mkdir, parents=True, exist_ok=True)
        size = 0
        with path.open("wb") as file:
            async for part in request.stream():
                size += len(part)
                if size > most:
                    path.unlink()
                    problem = f"It is larger than {most:,} bytes. Make it smaller."
                    return json({"problem": problem}, 413)
                await run_in_threadpool(file.write, part)
    except UnsafeKeyError:
        return json({"problem": "Its name cannot be used. Rename the file."}, 400)
    except ClientDisconnect:
        path.unlink(missing_ok=True)
        return json({"problem": "It did not arrive."}, 400)
    except OSError as error:
        return json({"problem": f"It cannot be kept here: {error.strerror or error}."}, 507)
    return json({"size": size})


@posted(Named)
def remove_files(named: Named, workspace: Workspace) -> dict[str, Any]:
    """Forget files of a drop, or the whole drop if none is named."""
    drop = _found(named.drop, workspace)
    if not named.names:
        workspace.drops.forget(drop.id)
    for name in named.names:
        drop.remove(name)
    return {}


@posted(Wanted)
def plan(wanted: Wanted, workspace: Workspace) -> dict[str, Any]:
    """Say what sending a drop will do and cost, and what is wrong already."""
    drop = _found(wanted.drop, workspace)
    if starts_nothing(f"{wanted.to.strip('/')}/image" if wanted.to else "image"):
        raise WrongError(f"Images in {wanted.to} are never edited. Choose another folder.")
    try:
        given = Source("the form", wanted.instructions)
        checked(given, presets_in([given]))
    except InstructionsError as error:
        return {"wrong": f"{error.detail} {error.advice}".strip()}
    found = drop.plan(wanted.instructed, workspace.deployment)
    part = found.part(SAMPLE) if wanted.sample else found
    offer = workspace.offers.make(part, lambda: _send(drop, wanted, found, workspace))
    return shown_offer(offer) | {"left_out": drop.left_out(wanted.instructed)}


def _send(drop: Drop, wanted: Wanted, found: Any, workspace: Workspace) -> dict[str, Any]:
    live, began = workspace.live, workspace.deployment.services.now()
    sending = Sending(
        drop,
        wanted.instructed,
        found,
        SAMPLE if wanted.sample else 0,
        workspace.deployment,
        lambda progress: live.tell("drop", progress),
        lambda keys: live.expect(keys, began),
        lambda: live.closing,
    )
    workspace.drops.note(sending.start())
    return {"drop": drop.id, "sample": wanted.sample}


@posted(Shown)
def draw_finish(shown: Shown, _: Workspace) -> Response:
    """Draw a finish around a sample, by the functions' own code."""
    finish = Finish.parse(shown.finish)
    if finish.background_key:
        raise WrongError("A background of your own is not drawn here.")
    drawn = canvas.render(finish, sample_picture())
    return Response(drawn.data, media_type=finish.media_type)


def _found(id: str, workspace: Workspace) -> Drop:
    drop = workspace.drops.find(id)
    if drop is None:
        raise NotFoundError("The console was started again. Drop the files again.")
    return drop
