"""Where an image is now, what the stack would do with it, and why, without a call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from image_drop.edits import Edit, Wanted, enlarging_price, instruction_sources
from image_drop.errors import PermanentError
from image_drop.instructions import schema
from image_drop.instructions.sources import Source, checked, presets_in, resolve
from image_drop.state.edit_record import Record
from image_drop.storage.input_bucket import InputObject
from image_drop.uploads import starts_nothing
from image_drop.venice import client
from image_drop_cli.image_facts import gather, obstacle_to, records_of
from image_drop_cli.image_state import Moment, State, life_of, state_of
from image_drop_cli.older_results import older_than
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
    done with the answer; for `finish.upscale` that costs at most `enlarging_usd`. `state`: where
    this edit is now.
    """

    variant: str | None
    endpoint: str
    parameters: Mapping[str, Any]
    images: tuple[str, ...]
    afterwards: Mapping[str, Any]
    model: str
    usd: float
    output_key: str | None
    state: State
    enlarging_usd: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """Everything about one key: its instructions, its calls, where it is now, and its life.

    `problem`, `advice`: why there are no calls, and what to do. `state`: where the image as a whole
    is, if it has no calls. `ignored`: instructions that do not count, because strangers can upload
    where they are. `older`: keys of results of earlier instructions, next to the present ones.
    """

    key: str
    in_bucket: bool
    given: tuple[Given, ...] = ()
    requests: tuple[Request, ...] = ()
    problem: str | None = None
    advice: str | None = None
    ignored: tuple[str, ...] = ()
    state: State | None = None
    life: tuple[Moment, ...] = ()
    older: tuple[str, ...] = ()

    @property
    def needs_you(self) -> bool:
        """Whether a person has to do something before there is a result."""
        states = [each.state for each in self.requests] + ([self.state] if self.state else [])
        return bool(self.problem) or any(each.needs_you for each in states)


def explain(key: str, deployment: "Deployment") -> Explanation:
    """Return where an image is now, and what would happen if it were uploaded as `key`.

    The image need not be there. This makes no call to Venice.
    """
    if starts_nothing(key):
        return Explanation(
            key,
            False,
            problem="Image Drop ignores folders, hidden names and everything below a folder "
            "_layers/.",
            advice="Upload the image under another key.",
        )
    services, bucket = deployment.services, deployment.input_bucket
    found = services.input_bucket.find_object(bucket, key)
    image = found or InputObject(bucket, key, "", 0, datetime.now(UTC), {}, tagged=False)
    base = Explanation(key, found is not None, ignored=services.input_bucket.ignored(image))
    try:
        sources = instruction_sources(image, services)
        base = replace(base, given=origins(sources))
        changed_at = max(image.changed_at.timestamp(), *(each.changed_at for each in sources))
        wanted = Wanted(image, resolve(sources), changed_at)
    except PermanentError as error:
        return _without_calls(base, image, error, deployment)
    records = records_of(key, wanted.variants, deployment)
    plans = list(plan_variants(wanted, services))
    requests = tuple(
        _request(wanted, plan, records[plan.variant], deployment, in_bucket=found is not None)
        for plan in plans
    )
    edits = [plan.outcome for plan in plans if found and isinstance(plan.outcome, Edit)]
    older = tuple(each.stored.key for edit in edits for each in older_than(edit, services))
    return replace(base, requests=requests, life=life_of(records), older=older)


def _without_calls(
    base: Explanation, image: InputObject, error: PermanentError, deployment: "Deployment"
) -> Explanation:
    records = records_of(base.key, (), deployment)
    plan = VariantPlan(image, None, error)
    facts = gather(base.key, plan, records[None], deployment, in_bucket=base.in_bucket)
    return replace(
        base,
        problem=error.detail,
        advice=error.advice,
        state=state_of(facts),
        life=life_of(records),
    )


def origins(sources: Sequence[Source]) -> tuple[Given, ...]:
    """Return each key that is given, with its value from the nearest of `sources`."""
    presets = presets_in(sources)
    known = [(source.name, checked(source, presets)) for source in sources]
    keys = [key for key in schema.KEYS if any(key in values for _, values in known)]
    return tuple(_origin(key, [(name, v[key]) for name, v in known if key in v]) for key in keys)


def _origin(key: str, places: Sequence[tuple[str, Any]]) -> Given:
    (name, value), *farther = places
    return Given(key, value, name, tuple(place for place, other in farther if other != value))


def _request(
    wanted: Wanted,
    plan: VariantPlan,
    record: Record,
    deployment: "Deployment",
    *,
    in_bucket: bool,
) -> Request:
    chosen = wanted.instructions_of(plan.variant)
    assert chosen is not None, "one of `wanted.variants`"
    mode = chosen.mode or schema.Mode.EDIT
    layers = chosen.layers or () if mode is schema.Mode.MULTI_EDIT else ()
    sent, images = client.parameters(chosen), (wanted.image.key, *layers)
    services, outcome = deployment.services, plan.outcome
    catalogue = services.catalogue.current()
    enhanced = bool(sent.get("enhance_prompt"))
    obstacle = obstacle_to(outcome, wanted, services) if isinstance(outcome, Edit) else None
    facts = gather(
        wanted.image.key,
        plan,
        record,
        deployment,
        in_bucket=in_bucket,
        changed_at=wanted.changed_at,
        obstacle=obstacle,
    )
    return Request(
        variant=plan.variant,
        endpoint=client.ENDPOINTS[mode].path,
        parameters=sent,
        images=images,
        model=catalogue.name(mode, chosen.model),
        usd=catalogue.price(mode, sent, len(images), enhanced=enhanced),
        afterwards={key: value for key, value in chosen.as_dict().items() if key in AFTERWARDS},
        output_key=outcome.output_key if isinstance(outcome, Edit) else None,
        state=state_of(facts),
        enlarging_usd=enlarging_price(chosen, catalogue),
    )
