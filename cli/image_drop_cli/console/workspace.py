"""What the pages work with, made once for a run of the console, and how they answer."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from image_drop.errors import ImageDropError
from image_drop.state.orders import TooManyCancellationsError
from image_drop.state.scans import AlreadyRunningError
from image_drop_cli.aws import DeploymentError, explained
from image_drop_cli.console.drops import Drops
from image_drop_cli.console.gallery import Gallery
from image_drop_cli.console.live import Live
from image_drop_cli.console.marks import Marks
from image_drop_cli.console.offers import Offer, OfferGoneError, Offers
from image_drop_cli.console.thumbnails import Thumbnails
from image_drop_cli.fetching import UnsafeKeyError
from image_drop_cli.plan_words import CONFIRM_OVER
from image_drop_cli.wording import duration

if TYPE_CHECKING:
    from starlette.requests import Request

    from image_drop_cli.deployment import Deployment
    from image_drop_cli.upload.plan import Plan

MAX_BODY = 4_000_000  # bytes of JSON; 100,000 names have less


@dataclass(frozen=True)
class Workspace:
    """The stack, and what this run of the console remembers of it."""

    deployment: "Deployment"
    gallery: Gallery
    marks: Marks
    live: Live
    offers: Offers
    drops: Drops
    thumbnails: Thumbnails


class NotFoundError(Exception):
    """Raised when there is nothing of that name; its text is a sentence."""


class WrongError(Exception):
    """Raised when what a page asks for makes no sense; its text is a sentence."""


def workspace_of(request: "Request") -> Workspace:
    """Return the workspace of the application that got a request."""
    found: Workspace = request.app.state.workspace
    return found


def json(value: Any, status: int = 200) -> Response:
    """Return a value as JSON. Paths are printed as text."""
    return Response(msgspec.json.encode(value, enc_hook=str), status, media_type="application/json")


type Answering = Callable[["Request"], Awaitable[Response]]


def asked(answer: Callable[["Request", Workspace], Any]) -> Answering:
    """Make a handler of a function that looks something up; it runs in a thread."""

    @functools.wraps(answer)
    async def handler(request: "Request") -> Response:
        return await _answered(answer, request, workspace_of(request))

    return handler


def posted[Body](
    kind: type[Body],
) -> Callable[[Callable[[Body, Workspace], Any]], Answering]:
    """Make a handler of a function that gets the JSON of a request; it runs in a thread."""

    def decorate(answer: Callable[[Body, Workspace], Any]) -> Answering:
        @functools.wraps(answer)
        async def handler(request: "Request") -> Response:
            content = b""
            async for part in request.stream():
                content += part
                if len(content) > MAX_BODY:
                    return json({"problem": "That is too much at once."}, 413)
            try:
                body = msgspec.json.decode(content or b"{}", type=kind)
            except msgspec.MsgspecError as error:
                return json({"problem": f"The request cannot be read: {error}."}, 400)
            return await _answered(answer, body, workspace_of(request))

        return handler

    return decorate


async def _answered(answer: Callable[..., Any], *args: Any) -> Response:
    try:
        value = await run_in_threadpool(answer, *args)
    except NotFoundError as error:
        return json({"problem": str(error)}, 404)
    except (WrongError, UnsafeKeyError) as error:
        return json({"problem": str(error)}, 400)
    except OfferGoneError:
        problem = "This was done already, or the page is too old. Look again, then decide."
        return json({"problem": problem}, 409)
    except AlreadyRunningError:
        return json({"problem": "A backfill is running already. Wait until it ends."}, 409)
    except TooManyCancellationsError:
        return json({"problem": "There is no room for more cancellations today."}, 409)
    except ImageDropError as error:
        return json({"problem": f"{error.title}. {error.detail} {error.advice}".strip()}, 422)
    except DeploymentError as error:
        return json({"problem": str(error)}, 502)
    except (BotoCoreError, ClientError) as error:
        return json({"problem": explained(error)}, 502)
    return value if isinstance(value, Response) else json(value)


def shown_plan(plan: "Plan") -> dict[str, Any]:
    """Return a plan as the page shows it. `lasts`: in words; `ask`: whether the sum is large."""
    return {
        "images": plan.images,
        "done": plan.done,
        "calls": plan.calls,
        "usd": plan.usd,
        "models": plan.by_model,
        "lasts": duration(plan.seconds) if plan.seconds else "",
        "left_today": plan.left_today_usd,
        "balance": plan.balance_usd,
        "paused": plan.paused,
        "problems": plan.problems,
        "left_at_home": plan.left_at_home,
        "not_sent": plan.not_sent,
        "sampled": plan.sampled,
        "replaced": plan.replaced,
        "free": plan.free,
        "enlargements": plan.enlargements,
        "enlarging_usd": plan.enlarging_usd,
        "at_most": plan.at_most_usd,
        "ask": plan.at_most_usd > CONFIRM_OVER,
    }


def shown_offer(offer: Offer) -> dict[str, Any]:
    """Return an offer as the page shows it."""
    return {"offer": offer.id, **shown_plan(offer.plan)}
