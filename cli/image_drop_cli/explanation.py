"""What the stack would do with a key, and why: the layer's own reckoning, without a call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from image_drop import edits
from image_drop.edits import Edit, Wanted
from image_drop.errors import ImageDropError, PermanentError, RetryableError
from image_drop.instructions import schema
from image_drop.instructions.sources import Source, checked, from_defaults, resolve
from image_drop.storage.input_bucket import InputObject
from image_drop.uploads import starts_nothing
from image_drop.venice import client

if TYPE_CHECKING:
    from image_drop_cli.deployment import Deployment

PARTS = ("finish", "keep_original")  # instructions that are not sent: they are for afterwards


@dataclass(frozen=True)
class Given:
    """One key of the instructions, its value, and where that came from.

    `overridden`: farther places that say something else.
    """

    key: str
    value: Any
    source: str
    overridden: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """A call as it would be made. `images`: keys and URLs, the image first.

    `model` is the one that is paid for, `usd` what the call costs.
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
    """`problem` says why nothing, or not everything, would be done; `advice` what to do then.

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
    """What would happen if `key` were dropped now; it need not be there."""
    if starts_nothing(key):
        return Explanation(
            key,
            False,
            (),
            (),
            "Folders, hidden names and everything below a folder _layers/ start nothing.",
            "Drop the image under another key.",
        )
    services, bucket = deployment.services, deployment.input_bucket
    found = services.input_bucket.find(bucket, key)
    original = found or InputObject(bucket, key, "", 0, datetime.now(UTC), {}, "")
    ignored = services.input_bucket.ignored(original)
    settings = services.settings
    given: tuple[Given, ...] = ()
    try:
        sources = [
            *services.input_bucket.sources(original),
            from_defaults(settings.default_mode, settings.default_prompt),
        ]
        given = origins(sources)
        wanted = Wanted(original, resolve(sources))
    except PermanentError as error:
        return Explanation(
            key, found is not None, given, (), error.detail, error.advice, ignored=ignored
        )
    requests = tuple(
        _request(wanted, variant, deployment, there=found is not None)
        for variant in wanted.variants
    )
    return Explanation(key, found is not None, given, requests, ignored=ignored)


def origins(sources: Sequence[Source]) -> tuple[Given, ...]:
    """Each key that is given, from the nearest of `sources`."""
    known = [(source.name, checked(source)) for source in sources]
    keys = [key for key in schema.KEYS if any(key in values for _, values in known)]
    return tuple(_origin(key, [(name, v[key]) for name, v in known if key in v]) for key in keys)


def _origin(key: str, places: Sequence[tuple[str, Any]]) -> Given:
    (name, value), *farther = places
    return Given(key, value, name, tuple(other for other, said in farther if said != value))


def _request(
    wanted: Wanted, variant: str | None, deployment: "Deployment", *, there: bool
) -> Request:
    services = deployment.services
    chosen = wanted.instructions_of(variant)
    assert chosen is not None, "one of `wanted.variants`"
    mode = chosen.mode or schema.Mode.EDIT
    edit, state = None, ""
    try:
        edit = edits.plan_edit(wanted, variant, services)
        state = _state(edit, deployment) if there else "the image is not in the bucket"
    except (PermanentError, RetryableError) as error:
        state = _problem(error)
    layers = chosen.layers or () if mode is schema.Mode.MULTI_EDIT else ()
    sent, images = client.parameters(chosen), (wanted.image.key, *layers)
    catalogue, enhanced = services.catalogue.current(), bool(sent.get("enhance_prompt"))
    return Request(
        variant=variant,
        endpoint=client.ENDPOINTS[mode].path,
        parameters=sent,
        images=images,
        model=catalogue.name(mode, chosen.model),
        usd=catalogue.price(mode, sent, len(images), enhanced=enhanced),
        afterwards={key: value for key, value in chosen.as_dict().items() if key in PARTS},
        output_key=edit.output_key if edit else None,
        state=state,
    )


def _state(edit: Edit, deployment: "Deployment") -> str:
    found = deployment.services.output_bucket.find(edit.output_key)
    if found is not None and found.edit_id == edit.id:
        return f"done: nothing would be called, the result is there since {found.stored_at:%c}"
    return "would be made"


def _problem(error: ImageDropError) -> str:
    return f"{error.detail} {error.advice}"
