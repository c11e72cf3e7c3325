"""Decide: what failed and why, its cures with their price, pausing, the day's limit, backfills."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from image_drop.storage import output_bucket
from image_drop.storage.output_bucket import Report
from image_drop_cli import operating, rewriting
from image_drop_cli.console.cures import cure_of
from image_drop_cli.console.gallery import View
from image_drop_cli.console.live import told
from image_drop_cli.console.workspace import (
    NotFoundError,
    Workspace,
    WrongError,
    asked,
    posted,
    shown_offer,
)
from image_drop_cli.dead_letters import DeadLetters
from image_drop_cli.image_state import ERRORS
from image_drop_cli.retrying import Failed, plan_retry, retry_images
from image_drop_cli.spending import spending
from image_drop_cli.upload.plan import plan_backfill

if TYPE_CHECKING:
    from starlette.requests import Request

SHOWN_OF_EACH = 24  # images of one cause
DEAD = "dead letter"
PRICED = 1000  # dead letters that are looked at for their price; 100 requests


class Chosen(msgspec.Struct, frozen=True):
    """Images that are retried: those named, or all that failed with a code.

    `dead`: only dead letters. `fresh`: a new draw in spite of a result.
    """

    images: list[tuple[str, str]] = []
    code: str = ""
    dead: bool = False
    fresh: bool = False


class Rewritten(msgspec.Struct, frozen=True):
    """Other instructions for images. `folder`: for its file instead of their sidecars."""

    images: list[tuple[str, str]]
    instructions: dict[str, Any]
    folder: str | None = None


class Place(msgspec.Struct, frozen=True):
    """A prefix of the input bucket."""

    prefix: str = ""


class Accepted(msgspec.Struct, frozen=True):
    """An offer that somebody agrees to."""

    offer: str


class Limit(msgspec.Struct, frozen=True):
    """The spend limit of today, in US dollars."""

    usd: float


@dataclass(frozen=True)
class Group:
    """Images that failed for the same reason. `cure`: see `cures`; `dead`: how many of them are."""

    code: str
    title: str
    what_to_do: str
    cure: str
    count: int
    dead: int
    tiles: tuple[dict[str, Any], ...]


@asked
def groups(_: "Request", workspace: Workspace) -> dict[str, Any]:
    """Return what failed, grouped by cause, the largest group first."""
    by_code: dict[str, list[Any]] = {}
    for tile in workspace.gallery.view(View("needs-you")):
        by_code.setdefault(tile.row.code, []).append(tile)
    found = [
        Group(
            code=code,
            title=ERRORS[code].title if code in ERRORS else code,
            what_to_do=tiles[0].row.what_to_do,
            cure=cure_of(code),
            count=len(tiles),
            dead=sum(tile.row.outcome == DEAD for tile in tiles),
            tiles=tuple(told(tile) for tile in tiles[:SHOWN_OF_EACH]),
        )
        for code, tiles in by_code.items()
    ]
    return {"groups": sorted(found, key=lambda group: (-group.count, group.code))}


@asked
def report(request: "Request", workspace: Workspace) -> Report:
    """Return the report on an image."""
    query, bucket = request.query_params, workspace.deployment.services.output_bucket
    key, variant = query.get("file", ""), query.get("variant") or None
    for report_key in output_bucket.report_keys(key, variant):
        found = bucket.read_output(report_key)
        if found and found[0].is_of(key, variant):
            return msgspec.json.decode(found[2], type=Report)
    raise NotFoundError("The report is no longer there.")


@posted(Chosen)
def offer_retry(chosen: Chosen, workspace: Workspace) -> dict[str, Any]:
    """Say what retrying images will cost."""
    images = _failed(chosen, workspace)
    if not images:
        raise NotFoundError("None of them has to be retried any more.")
    deployment = workspace.deployment
    plan = plan_retry(images, deployment, fresh=chosen.fresh)

    def carry_out() -> dict[str, int]:
        queued = retry_images(images, deployment, fresh=chosen.fresh)
        workspace.live.expect(dict.fromkeys(image.key for image in images))
        return {"queued": queued}

    return shown_offer(workspace.offers.make(plan, carry_out))


@posted(Rewritten)
def offer_rewrite(wanted: Rewritten, workspace: Workspace) -> dict[str, Any]:
    """Say what other instructions for images will cost."""
    deployment = workspace.deployment
    images = [(file, variant or None) for file, variant in wanted.images]
    keys = list(dict.fromkeys(file for file, _ in images))
    if not keys or not wanted.instructions:
        raise WrongError("Choose images, and say what to do with them.")
    if wanted.folder is None:
        files = rewriting.sidecars(images, wanted.instructions, deployment)
    else:
        files = rewriting.folder_file(wanted.folder, wanted.instructions)
    rewriting.require_valid(files)
    plan = rewriting.plan_rewritten(files, keys, deployment)

    def carry_out() -> dict[str, int]:
        again = list(rewriting.same_edits(files, images, deployment))
        rewriting.rewrite(files, deployment)
        if wanted.folder is not None:  # a sidecar starts a new edit by itself
            again = images
        retry_images([Failed(*image) for image in again], deployment)
        workspace.live.expect(keys)
        return {"queued": len(keys)}

    return shown_offer(workspace.offers.make(plan, carry_out))


@posted(Place)
def offer_redrive(_: Place, workspace: Workspace) -> dict[str, Any]:
    """Say what retrying all dead letters will cost."""
    deployment, dead = workspace.deployment, DeadLetters(workspace.deployment)
    with dead.held(PRICED) as letters:
        keys = dict.fromkeys(each.upload.key for each in letters if each.upload)
    if not keys:
        raise NotFoundError("There are no dead letters.")
    plan = plan_retry([Failed(key, None, dead=True) for key in keys], deployment)

    def carry_out() -> dict[str, int]:
        queued = dead.redrive_all()
        workspace.live.expect(keys)
        return {"queued": queued}

    return shown_offer(workspace.offers.make(plan, carry_out))


@posted(Place)
def offer_backfill(place: Place, workspace: Workspace) -> dict[str, Any]:
    """Say what editing all images below a prefix without a result will cost."""
    plan = plan_backfill(place.prefix, workspace.deployment)

    def carry_out() -> Any:
        return workspace.deployment.services.scans.start(place.prefix, time.time())

    return shown_offer(workspace.offers.make(plan, carry_out))


@posted(Place)
def cancel_backfill(_: Place, workspace: Workspace) -> Any:
    """Stop the backfill; what it has queued is still edited."""
    return workspace.deployment.services.scans.cancel()


@posted(Accepted)
def accept(accepted: Accepted, workspace: Workspace) -> Any:
    """Carry out what somebody has seen the price of and agreed to."""
    return workspace.offers.accept(accepted.offer)


@posted(Place)
def pause(_: Place, workspace: Workspace) -> Any:
    """Pause processing."""
    return _woken(operating.pause(workspace.deployment, _now(workspace)), workspace)


@posted(Place)
def resume(_: Place, workspace: Workspace) -> Any:
    """Resume processing."""
    return _woken(operating.resume(workspace.deployment, _now(workspace)), workspace)


@posted(Limit)
def limit(wanted: Limit, workspace: Workspace) -> Any:
    """Set the spend limit of today."""
    if not 0.01 <= wanted.usd <= 1_000_000:
        raise WrongError("The limit has to be a cent at least.")
    day = operating.limit_today(wanted.usd, workspace.deployment, _now(workspace))
    return _woken(day, workspace)


@asked
def spend(_: "Request", workspace: Workspace) -> Any:
    """Return what the last days have cost."""
    return spending(workspace.deployment, 30)


def _woken(change: Any, workspace: Workspace) -> Any:
    operating.wake_account_watch(workspace.deployment)
    workspace.live.look_soon()
    return change


def _now(workspace: Workspace) -> float:
    return operating.time_of(workspace.deployment)


def _failed(chosen: Chosen, workspace: Workspace) -> Sequence[Failed]:
    gallery = workspace.gallery
    if chosen.images:
        tiles = [tile for each in chosen.images if (tile := gallery.find(*each))]
        if not chosen.fresh:
            tiles = [tile for tile in tiles if tile.failed]
    else:
        tiles = [tile for tile in gallery.view(View("needs-you")) if tile.row.code == chosen.code]
    if chosen.dead:
        tiles = [tile for tile in tiles if tile.row.outcome == DEAD]
    return [
        Failed(tile.row.file, tile.row.variant or None, tile.row.outcome == DEAD) for tile in tiles
    ]
