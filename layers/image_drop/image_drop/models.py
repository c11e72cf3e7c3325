"""What Venice's models take and cost: the rows of its catalogue, and those that are built in.

The account watch fetches the catalogue (`GET /models`, free) once a day. What it does not name,
and everything until it was fetched, is in `BUILT_IN`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

DEFAULT_EDIT_MODEL = "firered-image-edit"  # what Venice uses when no model is named
REMOVAL_MODEL = "bria-bg-remover"
ALIASES = {"qwen-edit": "qwen-edit-uncensored"}  # names that Venice runs as another model
DEFAULT_TIER = "1K"
DEFAULT_MAX_IMAGES = 3  # where the catalogue does not say


class Price(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """US dollars for an image made by one model.

    `tiers`: by resolution; `qualities`: by resolution, then by quality, and they come before
    `tiers`. `included` input images are free, each one more costs `image_usd`.
    """

    usd: float
    tiers: dict[str, float] = {}
    qualities: dict[str, dict[str, float]] = {}
    default_quality: str = ""
    included: int = 0
    image_usd: float = 0.0

    def of(self, images: int, resolution: str = "", quality: str = "") -> float:
        """Return the price of a call with so many images, its own and its layers'.

        A resolution or quality without a price costs as much as the dearest one.
        """
        return self._base(resolution or DEFAULT_TIER, quality) + self._extra(images)

    def dearest(self, images: int) -> float:
        """Return the most that a call with so many images can cost."""
        bases = [self.usd, *self.tiers.values()]
        bases += [usd for by_quality in self.qualities.values() for usd in by_quality.values()]
        return max(bases) + self._extra(images)

    def _base(self, tier: str, quality: str) -> float:
        if self.qualities:
            by_quality = self.qualities.get(tier)
            if by_quality is None:
                return self.dearest(0)
            return by_quality.get(quality or self.default_quality, max(by_quality.values()))
        if tier in self.tiers:
            return self.tiers[tier]
        return self.usd if tier == DEFAULT_TIER and not self.tiers else self.dearest(0)

    def _extra(self, images: int) -> float:
        return max(0, images - self.included) * self.image_usd


class Model(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One model. What is empty or 0 is not known, and so not checked.

    `prompt`: characters. `max_images`: the image and its layers; 1 where it cannot combine any.
    """

    price: Price
    ratios: tuple[str, ...] = ()
    resolutions: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    prompt: int = 0
    max_images: int = DEFAULT_MAX_IMAGES
    described: bool = False


def from_listing(listing: Mapping[str, Any]) -> dict[str, Model]:
    """Return the edit models and the background remover in an answer to `GET /models`.

    A model whose entry is not as documented is left out.
    """
    data = listing.get("data")
    entries = data if isinstance(data, list) else []
    return dict(found for entry in entries for found in _model(entry))


def _model(entry: Any) -> Iterator[tuple[str, Model]]:
    try:
        spec = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError:
        return
    pricing, limits = spec.model_spec.pricing, spec.model_spec.constraints
    amount = pricing.generation if spec.id == REMOVAL_MODEL else pricing.inpaint
    if amount is None:
        return
    more = pricing.input_images
    yield (
        spec.id,
        Model(
            price=Price(
                usd=amount.usd,
                tiers={tier: each.usd for tier, each in pricing.resolutions.items()},
                qualities={
                    tier: {name: each.usd for name, each in by_quality.items()}
                    for tier, by_quality in pricing.quality.items()
                    if by_quality
                },
                default_quality=limits.default_quality,
                included=more.included if more else 0,
                image_usd=more.additional.usd if more else 0.0,
            ),
            ratios=limits.aspect_ratios,
            resolutions=limits.resolutions,
            qualities=limits.qualities,
            prompt=limits.prompt_character_limit,
            max_images=limits.max_input_images if limits.combine_images else 1,
            described=spec.id != REMOVAL_MODEL,
        ),
    )


class _Amount(msgspec.Struct):
    usd: float


class _InputImages(msgspec.Struct):
    additional: _Amount
    included: int = 0


class _Pricing(msgspec.Struct, rename="camel"):
    inpaint: _Amount | None = None
    generation: _Amount | None = None
    resolutions: dict[str, _Amount] = {}
    quality: dict[str, dict[str, _Amount]] = {}
    input_images: _InputImages | None = None


class _Constraints(msgspec.Struct, rename="camel"):
    default_quality: str = ""
    aspect_ratios: tuple[str, ...] = ()
    resolutions: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    prompt_character_limit: int = 0
    combine_images: bool = True
    max_input_images: int = DEFAULT_MAX_IMAGES


class _Spec(msgspec.Struct):
    pricing: _Pricing
    constraints: _Constraints = msgspec.field(default_factory=_Constraints)


class _Entry(msgspec.Struct):
    id: str
    model_spec: _Spec


# As of 2026-08-22, from Venice's public repository veniceai/api-docs (its pricing page, model
# list and model schema); the ratios and the last seven as of 2026-11-24, from veniceai/skills and
# the changelog, which names no limits.
_AUTO = ("auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:3", "4:5")
_TIERS = ("1K", "2K", "4K")


def _row(
    usd: float | tuple[float, ...],
    prompt: int,
    *,
    max_images: int = DEFAULT_MAX_IMAGES,
    ratios: tuple[str, ...] = _AUTO,
    resolutions: tuple[str, ...] = (),
    qualities: dict[str, dict[str, float]] | None = None,
    default_quality: str = "",
    included: int = 0,
    image_usd: float = 0.0,
) -> Model:
    tiers = usd if isinstance(usd, tuple) else ()
    return Model(
        price=Price(
            usd=tiers[0] if isinstance(usd, tuple) else usd,
            tiers=dict(zip(_TIERS, tiers, strict=False)),
            qualities=qualities or {},
            default_quality=default_quality,
            included=included,
            image_usd=image_usd,
        ),
        ratios=ratios,
        resolutions=resolutions or _TIERS[: len(tiers)],
        qualities=tuple(next(iter(qualities.values()))) if qualities else (),
        prompt=prompt,
        max_images=max_images,
        described=True,
    )


def _priced(usd: float) -> Model:
    return Model(price=Price(usd=usd))


BUILT_IN: Mapping[str, Model] = {
    REMOVAL_MODEL: _priced(0.03),
    DEFAULT_EDIT_MODEL: _row(0.04, 1500),
    "flux-2-max-edit": _row(0.12, 3000, max_images=6, included=1, image_usd=0.0345),
    "gpt-image-1-5-edit": _row(0.31, 5000, max_images=6, included=1, image_usd=0.02806),
    "gpt-image-2-edit": _row(
        (0.34, 0.52, 0.84),
        10_000,
        max_images=6,
        ratios=_AUTO[1:],
        qualities={
            "1K": {"low": 0.03, "medium": 0.08, "high": 0.34},
            "2K": {"low": 0.03, "medium": 0.14, "high": 0.52},
            "4K": {"low": 0.04, "medium": 0.22, "high": 0.84},
        },
        default_quality="high",
        included=1,
        image_usd=0.0092,
    ),
    "grok-imagine-edit": _row((0.03, 0.04), 7500, image_usd=0.0023),
    "grok-imagine-image-2-0-edit": _row(
        (0.07, 0.10),
        7500,
        qualities={"1K": {"low": 0.05, "medium": 0.07}, "2K": {"low": 0.07, "medium": 0.10}},
        default_quality="medium",
        image_usd=0.0115,
    ),
    "grok-imagine-quality-edit": _row((0.06, 0.09), 7500, image_usd=0.0115),
    "luma-uni-1-edit": _row(0.06, 6000, max_images=1),
    "luma-uni-1-max-edit": _row(0.13, 6000, max_images=1),
    "nano-banana-2-edit": _row((0.10, 0.14, 0.19), 32_768, max_images=6),
    "nano-banana-2-lite-edit": _row(0.06, 10_000, max_images=6),
    "nano-banana-pro-edit": _row((0.18, 0.23, 0.35), 32_768, max_images=6),
    "qwen-edit-uncensored": _row(0.04, 1500),
    "qwen-image-2-edit": _row(0.05, 10_000, ratios=_AUTO[1:]),
    "qwen-image-2-pro-edit": _row(0.10, 10_000),
    "qwen-image-3-edit": _row((0.04, 0.04), 10_000, image_usd=0.00345),
    "qwen-image-3-pro-edit": _row((0.05, 0.09), 10_000, image_usd=0.00345),
    "seedream-v4-edit": _row(0.05, 10_000, max_images=6),
    "seedream-v5-lite-edit": _row(0.05, 10_000, max_images=6),
    "seedream-v5-pro-edit": _row((0.06, 0.11), 10_000, max_images=6, included=1, image_usd=0.00345),
    "wan-2-7-pro-edit": _row(0.094, 5000, max_images=6, ratios=("auto",), resolutions=_TIERS[:2]),
    "gpt-image-2-5-flare-edit": _priced(0.08),
    "gpt-image-2-6-flare-edit": _priced(0.10),
    "gpt-image-2-6-sunburst-edit": _priced(0.10),
    "mai-image-2-7-edit": _priced(0.06),
    "muse-image-edit": _priced(0.02),
    "seedream-v5-5-edit": _priced(0.03),
}
