"""The price and limits of a Venice model, and how to read them from `GET /models`.

Sources: Venice's API description of 2026-08-21 and its skill documents of 2026-10-02. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

REMOVAL_MODEL = "bria-bg-remover"
UPSCALE_MODEL = "upscaler"
DEFAULT_MAX_IMAGES = 3  # of a model that combines images without naming a number

type Kind = Literal["inpaint", "image"]
KINDS: tuple[Kind, ...] = ("inpaint", "image")  # edit models; others, with the background remover


class Price(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """US dollars for an image made by one model.

    `tiers`: by resolution. `qualities`: by resolution, then by quality; they override `tiers`.
    A model without either costs `usd`. `included` input images are free, and each further one
    costs `image_usd`; with 0 included, the photo itself costs that as well.
    """

    usd: float
    tiers: dict[str, float] = {}
    qualities: dict[str, dict[str, float]] = {}
    default_resolution: str = "1K"
    default_quality: str = ""
    included: int = 0
    image_usd: float = 0.0

    def of(self, images: int, resolution: str = "", quality: str = "") -> float:
        """Return the price of a call with so many images, the photo and its layers.

        An unknown resolution or quality costs as much as the model's dearest.
        """
        base = self._base(resolution or self.default_resolution, quality or self.default_quality)
        return base + self._surcharge(images)

    def dearest(self, images: int) -> float:
        """Return the highest price of a call, whatever its resolution and quality."""
        return self._dearest_base() + self._surcharge(images)

    def _base(self, tier: str, quality: str) -> float:
        by_quality = self.qualities.get(tier, {})
        if quality in by_quality:
            return by_quality[quality]
        if tier in self.tiers and not by_quality:
            return self.tiers[tier]
        return self._dearest_base()

    def _dearest_base(self) -> float:
        by_quality = [usd for tier in self.qualities.values() for usd in tier.values()]
        return max([*by_quality, *self.tiers.values()], default=self.usd)

    def _surcharge(self, images: int) -> float:
        return max(0, images - self.included) * self.image_usd


class Limits(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one model accepts; Venice answers anything else with 400, or ignores it.

    `prompt`: characters. `images`: the photo and its layers; a model with 1 has no multi-edit.
    `reshapes_one`: whether `aspect_ratio` has an effect on a single image.
    """

    ratios: tuple[str, ...]
    prompt: int
    images: int = DEFAULT_MAX_IMAGES
    reshapes_one: bool = True
    resolutions: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()


class Model(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model; None for what Venice has not published."""

    price: Price | None = None
    limits: Limits | None = None


def listed(kind: Kind, listing: Mapping[str, Any]) -> dict[str, Model]:
    """Return the models in the answer to `GET /models?type=<kind>` that this package calls.

    A price or limits in an unknown form are None; an entry without an id is skipped.
    """
    data = listing.get("data")
    entries = data if isinstance(data, list) else []
    found = dict(each for entry in entries for each in _model(entry))
    return {name: model for name, model in found.items() if kind == "inpaint" or _removes(name)}


def _removes(name: str) -> bool:
    return name == REMOVAL_MODEL


def _model(entry: Any) -> Iterator[tuple[str, Model]]:
    known = _converted(entry, _Entry)
    if known is None:
        return
    constraints = _converted(known.model_spec.constraints, _Constraints)
    pricing = _converted(known.model_spec.pricing, _Pricing)
    amount = pricing and (pricing.generation if _removes(known.id) else pricing.inpaint)
    yield (
        known.id,
        Model(
            price=_price(amount.usd, pricing, constraints) if pricing and amount else None,
            limits=_limits(constraints) if constraints and not _removes(known.id) else None,
        ),
    )


def _converted[T](value: Any, form: type[T]) -> T | None:
    try:
        return msgspec.convert(value, form)
    except msgspec.ValidationError:
        return None


def _price(usd: float, pricing: "_Pricing", constraints: "_Constraints | None") -> Price:
    more = pricing.input_images
    return Price(
        usd=usd,
        tiers={tier: each.usd for tier, each in pricing.resolutions.items()},
        qualities={
            tier: {name: each.usd for name, each in by_quality.items()}
            for tier, by_quality in pricing.quality.items()
        },
        default_resolution=constraints.default_resolution if constraints else "1K",
        default_quality=constraints.default_quality if constraints else "",
        included=more.included if more else 0,
        image_usd=more.additional.usd if more else 0.0,
    )


def _limits(said: "_Constraints") -> Limits:
    return Limits(
        ratios=said.aspect_ratios,
        prompt=said.prompt_character_limit,
        images=said.max_input_images if said.combine_images else 1,
        reshapes_one=said.single_image_aspect_ratio,
        resolutions=said.resolutions,
        qualities=said.qualities,
    )


type _Positive = Annotated[int, Meta(ge=1)]


class _Amount(msgspec.Struct):
    usd: Annotated[float, Meta(ge=0, le=100)]  # a higher price is an error of the list


class _InputImages(msgspec.Struct):
    additional: _Amount
    included: Annotated[int, Meta(ge=0)] = 0


class _Pricing(msgspec.Struct, rename="camel"):
    inpaint: _Amount | None = None
    generation: _Amount | None = None
    resolutions: dict[str, _Amount] = {}
    quality: dict[str, dict[str, _Amount]] = {}
    input_images: _InputImages | None = None


class _Constraints(msgspec.Struct, rename="camel"):
    aspect_ratios: tuple[str, ...]
    prompt_character_limit: _Positive
    combine_images: bool
    max_input_images: _Positive = DEFAULT_MAX_IMAGES
    single_image_aspect_ratio: bool = True
    resolutions: tuple[str, ...] = ()
    default_resolution: str = "1K"
    qualities: tuple[str, ...] = ()
    default_quality: str = ""


class _Spec(msgspec.Struct):
    pricing: Any = None
    constraints: Any = None


class _Entry(msgspec.Struct):
    id: str
    model_spec: _Spec
