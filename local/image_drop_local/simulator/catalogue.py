"""The models of the simulated Venice: `known_models` of the layer in the form of `GET /models`.

Prices and limits are the layer's, so there is one table to keep up to date. Costs and refusals are
computed here independently, so that the simulator can prove the layer wrong.

Source of names, dates and privacy, and of the form of `pricing` (`inpaint`, `resolutions`,
`quality` by resolution, `inputImages.included/additional`, each amount as `{usd, diem}`;
`generation` for the background remover): `data/static-models.json` in the public repository
veniceai/api-docs, as of August 2026. Of `constraints`: the same repository's model schema.

Assumed: that a model with unknown limits accepts what most do, that newer models are not private,
their names and dates, that `diem` always equals `usd`, that the background remover has no
constraints, and that the upscaler is not in the lists that clients ask for. Models without a known
price are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from image_drop.venice.known_models import ALIASES, DEFAULT_EDIT_MODEL, KNOWN, RATIOS
from image_drop.venice.models import REMOVAL_MODEL, UPSCALE_MODEL, Limits, Price

DEFAULT_MODEL = DEFAULT_EDIT_MODEL
BACKGROUND_REMOVER = REMOVAL_MODEL
UPSCALER = UPSCALE_MODEL
ENHANCED_PROMPT_USD = 0.04  # Venice's pricing page: per rewrite that is applied
ASSUMED = Limits(prompt=10_000, images=6, ratios=RATIOS)


@dataclass(frozen=True)
class Facts:
    """Facts that only the list of models has. `created`: seconds since 1970."""

    name: str
    created: int
    private: bool = False


FACTS: Mapping[str, Facts] = {
    "firered-image-edit": Facts("FireRed Edit", 1774396800, private=True),
    "qwen-edit-uncensored": Facts("Qwen Edit Uncensored", 1780531200, private=True),
    "qwen-image-2-edit": Facts("Qwen Image 2", 1772582400),
    "qwen-image-2-pro-edit": Facts("Qwen Image 2 Pro", 1772582400),
    "qwen-image-3-edit": Facts("Qwen Image 3 Edit", 1785888000),
    "qwen-image-3-pro-edit": Facts("Qwen Image 3 Pro Edit", 1784160000),
    "grok-imagine-edit": Facts("Grok Imagine", 1769644800, private=True),
    "grok-imagine-quality-edit": Facts("Grok Imagine High Quality", 1778198400, private=True),
    "grok-imagine-image-2-0-edit": Facts("Grok Imagine 2.0", 1786406400, private=True),
    "flux-2-max-edit": Facts("Flux 2 Max", 1767571200),
    "gpt-image-1-5-edit": Facts("GPT Image 1.5", 1767555000),
    "gpt-image-2-edit": Facts("GPT Image 2", 1776729600),
    "nano-banana-2-edit": Facts("Nano Banana 2", 1772064000),
    "nano-banana-2-lite-edit": Facts("Nano Banana 2 Lite", 1782777600),
    "nano-banana-pro-edit": Facts("Nano Banana Pro", 1765584000),
    "seedream-v4-edit": Facts("Seedream V4.5", 1767484800),
    "seedream-v5-lite-edit": Facts("Seedream V5 Lite", 1771804800),
    "seedream-v5-pro-edit": Facts("Seedream V5 Pro", 1783468800),
    "wan-2-7-pro-edit": Facts("Wan 2.7 Pro Edit", 1776902400),
    "luma-uni-1-edit": Facts("Luma Uni-1", 1781654400),
    "luma-uni-1-max-edit": Facts("Luma Uni-1 Max", 1781654400),
    "upscaler": Facts("Upscaler", 1738195200, private=True),
    "bria-bg-remover": Facts("Background Remover", 1772064000),
    "gpt-image-2-5-flare-edit": Facts("GPT Image 2.5 Flare", 1789948800),
    "mai-image-2-7-edit": Facts("MAI Image 2.7", 1790812800),
    "muse-image-edit": Facts("Muse Image", 1788220800),
    "gpt-image-2-6-flare-edit": Facts("GPT Image 2.6 Flare", 1793404800),
    "gpt-image-2-6-sunburst-edit": Facts("GPT Image 2.6 Sunburst", 1793404800),
    "seedream-v5-5-edit": Facts("Seedream V5.5", 1792540800),
}


@dataclass(frozen=True)
class Model:
    """One row of the catalogue."""

    id: str
    facts: Facts
    pricing: Price
    limits: Limits

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def usd(self) -> float:
        """US dollars of a call that names no resolution and no quality."""
        return self.pricing.usd

    @property
    def edits(self) -> bool:
        return self.id not in (BACKGROUND_REMOVER, UPSCALER)

    @property
    def prompt_characters(self) -> int:
        return self.limits.prompt

    @property
    def image_limit(self) -> int:
        return self.limits.images

    @property
    def combines(self) -> bool:
        """Whether `/image/multi-edit` knows the model."""
        return self.image_limit > 1

    @property
    def ratios(self) -> tuple[str, ...]:
        return self.limits.ratios

    @property
    def resolutions(self) -> tuple[str, ...]:
        return self.limits.resolutions

    @property
    def quality_names(self) -> tuple[str, ...]:
        """As in the catalogue, cheapest first."""
        return self.limits.qualities

    @property
    def constraints(self) -> dict[str, Any]:
        """`model_spec.constraints`; the number of images is left out if it is the usual 3."""
        if not self.edits:
            return {}
        constraints: dict[str, Any] = {
            "aspectRatios": list(self.ratios),
            "promptCharacterLimit": self.prompt_characters,
            "combineImages": self.combines,
            "singleImageAspectRatio": self.limits.reshapes_one,
        }
        if self.image_limit != 3:
            constraints["maxInputImages"] = self.image_limit
        if self.resolutions:
            constraints |= {
                "resolutions": list(self.resolutions),
                "defaultResolution": self.pricing.default_resolution,
            }
        if self.quality_names:
            constraints |= {
                "qualities": list(self.quality_names),
                "defaultQuality": self.pricing.default_quality,
            }
        return constraints

    def price(self, *, images: int, resolution: str, quality: str | None, enhanced: bool) -> float:
        """Return the dollars of a call: by tier and quality, with further images and rewriting."""
        pricing = self.pricing
        base = pricing.tiers.get(resolution, pricing.usd)
        if pricing.qualities:
            base = pricing.qualities[resolution][quality or pricing.default_quality]
        additional = max(0, images - pricing.included) * pricing.image_usd
        return round(base + additional + (ENHANCED_PROMPT_USD if enhanced else 0.0), 6)


MODELS: Mapping[str, Model] = {
    name: Model(name, FACTS[name], known.price, known.limits or ASSUMED)
    for name, known in KNOWN.items()
    if known.price
}


def find(name: str) -> Model | None:
    """Return the model that runs under a name, which may be an alias."""
    return MODELS.get(ALIASES.get(name, name))


def listing(wanted: Literal["inpaint", "image", "all"]) -> dict[str, Any]:
    """Return the body of `GET /models`."""
    entries = [_entry(model) for model in MODELS.values() if model.id != UPSCALER]
    return {
        "object": "list",
        "type": wanted,
        "data": [entry for entry in entries if wanted in ("all", entry["type"])],
    }


def _entry(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "owned_by": "venice.ai",
        "created": model.facts.created,
        "type": "inpaint" if model.edits else "image",
        "model_spec": {
            "name": model.name,
            "privacy": "private" if model.facts.private else "anonymized",
            "pricing": _pricing(model),
            "constraints": model.constraints,
            "traits": [],
            "offline": False,
        },
    }


def _amount(usd: float) -> dict[str, float]:
    return {"usd": usd, "diem": usd}


def _pricing(model: Model) -> dict[str, Any]:
    price = model.pricing
    pricing: dict[str, Any] = {"inpaint" if model.edits else "generation": _amount(price.usd)}
    if price.tiers:
        pricing["resolutions"] = {tier: _amount(usd) for tier, usd in price.tiers.items()}
    if price.image_usd:
        pricing["inputImages"] = {
            "included": price.included,
            "additional": _amount(price.image_usd),
        }
    if price.qualities:
        pricing["quality"] = {
            tier: {name: _amount(usd) for name, usd in by_quality.items()}
            for tier, by_quality in price.qualities.items()
        }
    return pricing
