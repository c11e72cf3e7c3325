"""What the stack would do with an image, and why, without a call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from image_drop.edits import Edit, Wanted, instruction_sources
from image_drop.errors import PermanentError
from image_drop.instructions import schema
from image_drop.instructions.sources import Source, checked, resolve
from image_drop.storage.input_bucket import InputObject
from image_drop.uploads import starts_nothing
from image_drop.venice import client
from image_drop_cli.planning import VariantPlan, plan_variants

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

AFTERWARDS = ("finish", "keep_original")  # instructions for Venice's answer, not for Venice


@dataclass(frozen=True)
class Given:
    """One key of the instructions, its value, and the source of that.

    `overridden`: farther sources with another value.
    """

    key: str
    value: Any
    source: str
    overridden: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """A call as it would be made. `images`: keys and URLs, the image first.

    `model` is the one that Venice charges for, `usd` the price of the call. `afterwards`: what is
    done with the answer.
    """

    variant: str | None
    endpoint: str
    parameters: Mapping[str, Any]
    images: tuple[str, ...]
    afterwards: Mapping[str, Any]
    model: str
    usd: float
    output_key: str | None
    state: str


@dataclass(frozen=True)
class Explanation:
    """What the stack would do with one key, or the `problem` with it and the `advice`.

    `ignored`: instructions that do not count, because strangers can upload where they are.
    """

    key: str
    in_bucket: bool
    given: tuple[Given, ...]
    requests: tuple[Request, ...]
    problem: str | None = None
    advice: str | None = None
    ignored: tuple[str, ...] = ()


def explain(key: str, deployment: "Deployment") -> Explanation:
    """Return what would happen if an image were uploaded as `key` now; it need not be there."""
    if starts_nothing(key):
        return Explanation(
            key,
            False,
            (),
            (),
            "Image Drop ignores folders, hidden names and everything below a folder _layers/.",
            "Upload the image under another key.",
        )
    services, bucket = deployment.services, deployment.input_bucket
    found = services.input_bucket.find_object(bucket, key)
    image = found or InputObject(bucket, key, "", 0, datetime.now(UTC), {}, tagged=False)
    ignored = services.input_bucket.ignored(image)
    given: tuple[Given, ...] = ()
    try:
        sources = instruction_sources(image, services)
        given = origins(sources)
        wanted = Wanted(image, resolve(sources))
    except PermanentError as error:
        return Explanation(
            key, found is not None, given, (), error.detail, error.advice, ignored=ignored
        )
    requests = tuple(
        _request(wanted, plan, deployment, in_bucket=found is not None)
        for plan in plan_variants(wanted, services)
    )
    return Explanation(key, found is not None, given, requests, ignored=ignored)


def origins(sources: Sequence[Source]) -> tuple[Given, ...]:
    """Return each key that is given, with its value from the nearest of `sources`."""
    known = [(source.name, checked(source)) for source in sources]
    keys = [key for key in schema.KEYS if any(key in values for _, values in known)]
    return tuple(_origin(key, [(name, v[key]) for name, v in known if key in v]) for key in keys)


def _origin(key: str, places: Sequence[tuple[str, Any]]) -> Given:
    (name, value), *farther = places
    return Given(key, value, name, tuple(place for place, other in farther if other != value))


def _request(
    wanted: Wanted, plan: VariantPlan, deployment: "Deployment", *, in_bucket: bool
) -> Request:
    chosen = wanted.instructions_of(plan.variant)
    assert chosen is not None, "one of `wanted.variants`"
    mode = chosen.mode or schema.Mode.EDIT
    layers = chosen.layers or () if mode is schema.Mode.MULTI_EDIT else ()
    sent, images = client.parameters(chosen), (wanted.image.key, *layers)
    catalogue = deployment.services.catalogue.current()
    enhanced = bool(sent.get("enhance_prompt"))
    return Request(
        variant=plan.variant,
        endpoint=client.ENDPOINTS[mode].path,
        parameters=sent,
        images=images,
        model=catalogue.name(mode, chosen.model),
        usd=catalogue.price(mode, sent, len(images), enhanced=enhanced),
        afterwards={key: value for key, value in chosen.as_dict().items() if key in AFTERWARDS},
        output_key=plan.outcome.output_key if isinstance(plan.outcome, Edit) else None,
        state=_state(plan, deployment, in_bucket=in_bucket),
    )


def _state(plan: VariantPlan, deployment: "Deployment", *, in_bucket: bool) -> str:
    if not isinstance(plan.outcome, Edit):
        return f"{plan.outcome.detail} {plan.outcome.advice}"
    if not in_bucket:
        return "the image is not in the bucket"
    found = deployment.services.output_bucket.find_output(plan.outcome.output_key)
    if found is not None and found.edit_id == plan.outcome.id:
        stored = f"{found.stored_at:%Y-%m-%d %H:%M} UTC"
        return f"done: the result was stored on {stored}, so no call would be made"
    return "this call would be made"
