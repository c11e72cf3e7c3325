"""The edit models of Venice: prices, limits, and their form in `GET /models`.

Source of the prices, privacy, names and dates, and of the form of `pricing` (`inpaint`,
`resolutions`, `quality` by resolution, `inputImages.included/additional`, each amount as
`{usd, diem}`; `generation` for the background remover): `data/static-models.json` in the public
repository veniceai/api-docs, as of August 2026. Prompt limits, numbers of input images and the
names of the `constraints` keys: the same repository's model schema and pricing page.

Assumed: that every model but `wan-2-7-pro-edit`, `gpt-image-2-edit` and `qwen-image-2-edit` (which
have no `auto`) takes all the aspect ratios listed for `firered-image-edit`, what the models from
October 2026 on take (the changelog names their prices only), that `diem` always equals `usd`, that
the second tier of `wan-2-7-pro-edit` costs the same, and that the background remover has no
constraints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

type ByQuality = Mapping[str, Mapping[str, float]]

DEFAULT_MODEL = "firered-image-edit"
BACKGROUND_REMOVER = "bria-bg-remover"
DEFAULT_MAX_IMAGES = 3  # where the catalogue does not say
ENHANCED_PROMPT_USD = 0.04  # Venice's pricing page: per rewrite that is applied
RATIOS = ("auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:3", "4:5")


@dataclass(frozen=True, kw_only=True)
class Model:
    """One row of the catalogue; prices in US dollars a picture."""

    id: str
    name: str
    created: int
    usd: float
    prompt_characters: int
    private: bool = False
    max_images: int | None = None
    resolutions: Mapping[str, float | None] = field(default_factory=dict)  # tier → $, None = `usd`
    qualities: ByQuality = field(default_factory=dict)  # tier → quality → price
    default_quality: str | None = None
    included_images: int = 0
    additional_image_usd: float = 0.0
    ratios: tuple[str, ...] = RATIOS
    edits: bool = True  # False: the background remover

    @property
    def image_limit(self) -> int:
        return self.max_images or DEFAULT_MAX_IMAGES

    @property
    def combines(self) -> bool:
        """Whether `/image/multi-edit` knows the model."""
        return self.image_limit > 1

    @property
    def quality_names(self) -> tuple[str, ...]:
        """As in the catalogue, cheapest first."""
        return tuple(self.qualities["1K"]) if self.qualities else ()

    def price(self, *, images: int, resolution: str, quality: str | None, enhanced: bool) -> float:
        """Dollars of one call: base by tier and quality + images beyond the included + rewrite."""
        base = self.resolutions.get(resolution) or self.usd
        if self.qualities:
            base = self.qualities[resolution][quality or self.default_quality or ""]
        additional = max(0, images - self.included_images) * self.additional_image_usd
        return round(base + additional + (ENHANCED_PROMPT_USD if enhanced else 0.0), 6)


def _tiers(*prices: float | None) -> dict[str, float | None]:
    return dict(zip(("1K", "2K", "4K"), prices, strict=False))


_ROWS = (
    Model(
        id=DEFAULT_MODEL,
        name="FireRed Edit",
        created=1774396800,
        usd=0.04,
        prompt_characters=1500,
        private=True,
    ),
    Model(
        id="qwen-edit-uncensored",
        name="Qwen Edit Uncensored",
        created=1780531200,
        usd=0.04,
        prompt_characters=1500,
        private=True,
    ),
    Model(
        id="qwen-image-2-edit",
        name="Qwen Image 2",
        created=1772582400,
        usd=0.05,
        ratios=RATIOS[1:],
        prompt_characters=10000,
    ),
    Model(
        id="qwen-image-2-pro-edit",
        name="Qwen Image 2 Pro",
        created=1772582400,
        usd=0.10,
        prompt_characters=10000,
    ),
    Model(
        id="qwen-image-3-edit",
        name="Qwen Image 3 Edit",
        created=1785888000,
        usd=0.04,
        prompt_characters=10000,
        resolutions=_tiers(0.04, 0.04),
        additional_image_usd=0.00345,
    ),
    Model(
        id="qwen-image-3-pro-edit",
        name="Qwen Image 3 Pro Edit",
        created=1784160000,
        usd=0.05,
        prompt_characters=10000,
        resolutions=_tiers(0.05, 0.09),
        additional_image_usd=0.00345,
    ),
    Model(
        id="grok-imagine-edit",
        name="Grok Imagine",
        created=1769644800,
        usd=0.03,
        prompt_characters=7500,
        private=True,
        resolutions=_tiers(0.03, 0.04),
        additional_image_usd=0.0023,
    ),
    Model(
        id="grok-imagine-quality-edit",
        name="Grok Imagine High Quality",
        created=1778198400,
        usd=0.06,
        prompt_characters=7500,
        private=True,
        resolutions=_tiers(0.06, 0.09),
        additional_image_usd=0.0115,
    ),
    Model(
        id="grok-imagine-image-2-0-edit",
        name="Grok Imagine 2.0",
        created=1786406400,
        usd=0.07,
        prompt_characters=7500,
        private=True,
        resolutions=_tiers(0.07, 0.10),
        qualities={"1K": {"low": 0.05, "medium": 0.07}, "2K": {"low": 0.07, "medium": 0.10}},
        default_quality="medium",
        additional_image_usd=0.0115,
    ),
    Model(
        id="flux-2-max-edit",
        name="Flux 2 Max",
        created=1767571200,
        usd=0.12,
        prompt_characters=3000,
        max_images=6,
        included_images=1,
        additional_image_usd=0.0345,
    ),
    Model(
        id="gpt-image-1-5-edit",
        name="GPT Image 1.5",
        created=1767555000,
        usd=0.31,
        prompt_characters=5000,
        max_images=6,
        included_images=1,
        additional_image_usd=0.02806,
    ),
    Model(
        id="gpt-image-2-edit",
        name="GPT Image 2",
        created=1776729600,
        usd=0.34,
        ratios=RATIOS[1:],
        prompt_characters=10000,
        max_images=6,
        resolutions=_tiers(0.34, 0.52, 0.84),
        qualities={
            "1K": {"low": 0.03, "medium": 0.08, "high": 0.34},
            "2K": {"low": 0.03, "medium": 0.14, "high": 0.52},
            "4K": {"low": 0.04, "medium": 0.22, "high": 0.84},
        },
        default_quality="high",
        included_images=1,
        additional_image_usd=0.0092,
    ),
    Model(
        id="nano-banana-2-edit",
        name="Nano Banana 2",
        created=1772064000,
        usd=0.10,
        prompt_characters=32768,
        max_images=6,
        resolutions=_tiers(0.10, 0.14, 0.19),
    ),
    Model(
        id="nano-banana-2-lite-edit",
        name="Nano Banana 2 Lite",
        created=1782777600,
        usd=0.06,
        prompt_characters=10000,
        max_images=6,
    ),
    Model(
        id="nano-banana-pro-edit",
        name="Nano Banana Pro",
        created=1765584000,
        usd=0.18,
        prompt_characters=32768,
        max_images=6,
        resolutions=_tiers(0.18, 0.23, 0.35),
    ),
    Model(
        id="seedream-v4-edit",
        name="Seedream V4.5",
        created=1767484800,
        usd=0.05,
        prompt_characters=10000,
        max_images=6,
    ),
    Model(
        id="seedream-v5-lite-edit",
        name="Seedream V5 Lite",
        created=1771804800,
        usd=0.05,
        prompt_characters=10000,
        max_images=6,
    ),
    Model(
        id="seedream-v5-pro-edit",
        name="Seedream V5 Pro",
        created=1783468800,
        usd=0.06,
        prompt_characters=10000,
        max_images=6,
        resolutions=_tiers(0.06, 0.11),
        included_images=1,
        additional_image_usd=0.00345,
    ),
    Model(
        id="wan-2-7-pro-edit",
        name="Wan 2.7 Pro Edit",
        created=1776902400,
        usd=0.094,
        prompt_characters=5000,
        max_images=6,
        resolutions=_tiers(None, None),
        ratios=("auto",),
    ),
    Model(
        id="luma-uni-1-edit",
        name="Luma Uni-1",
        created=1781654400,
        usd=0.06,
        prompt_characters=6000,
        max_images=1,
    ),
    Model(
        id="luma-uni-1-max-edit",
        name="Luma Uni-1 Max",
        created=1781654400,
        usd=0.13,
        prompt_characters=6000,
        max_images=1,
    ),
    *(
        Model(id=id, name=name, created=1790812800, usd=usd, prompt_characters=10000)
        for id, name, usd in (
            ("gpt-image-2-5-flare-edit", "GPT Image 2.5 Flare", 0.08),
            ("gpt-image-2-6-flare-edit", "GPT Image 2.6 Flare", 0.10),
            ("gpt-image-2-6-sunburst-edit", "GPT Image 2.6 Sunburst", 0.10),
            ("mai-image-2-7-edit", "MAI Image 2.7", 0.06),
            ("muse-image-edit", "Muse Image", 0.02),
            ("seedream-v5-5-edit", "Seedream V5.5", 0.03),
        )
    ),
    Model(
        id=BACKGROUND_REMOVER,
        name="Background Remover",
        created=1772064000,
        usd=0.03,
        prompt_characters=0,
        max_images=1,
        edits=False,
    ),
)
MODELS: Mapping[str, Model] = {model.id: model for model in _ROWS}


def listing(wanted: Literal["inpaint", "image", "all"]) -> dict[str, Any]:
    """Body of `GET /models`."""
    entries = [_entry(model) for model in MODELS.values()]
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
        "created": model.created,
        "type": "inpaint" if model.edits else "image",
        "model_spec": {
            "name": model.name,
            "privacy": "private" if model.private else "anonymized",
            "pricing": _pricing(model),
            "constraints": _constraints(model) if model.edits else {},
            "traits": [],
            "offline": False,
        },
    }


def _amount(usd: float) -> dict[str, float]:
    return {"usd": usd, "diem": usd}


def _pricing(model: Model) -> dict[str, Any]:
    pricing: dict[str, Any] = {"inpaint" if model.edits else "generation": _amount(model.usd)}
    tiers = {tier: _amount(usd) for tier, usd in model.resolutions.items() if usd is not None}
    if tiers:
        pricing["resolutions"] = tiers
    if model.additional_image_usd:
        pricing["inputImages"] = {
            "included": model.included_images,
            "additional": _amount(model.additional_image_usd),
        }
    if model.qualities:
        pricing["quality"] = {
            tier: {name: _amount(usd) for name, usd in prices.items()}
            for tier, prices in model.qualities.items()
        }
    return pricing


def _constraints(model: Model) -> dict[str, Any]:
    constraints: dict[str, Any] = {
        "aspectRatios": list(model.ratios),
        "promptCharacterLimit": model.prompt_characters,
        "combineImages": model.combines,
        "singleImageAspectRatio": True,
    }
    if model.max_images is not None:
        constraints["maxInputImages"] = model.max_images
    if model.resolutions:
        constraints |= {"resolutions": list(model.resolutions), "defaultResolution": "1K"}
    if model.qualities:
        constraints |= {
            "qualities": list(model.quality_names),
            "defaultQuality": model.default_quality,
        }
    return constraints
