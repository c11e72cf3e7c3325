"""The models as they are known without Venice, used until its own list has been read.

As of 2026-11-24, from Venice's public repository veniceai/api-docs (its pricing page and model
list; the list's figures where the two differ), its skill documents of 2026-10-02 and its
changelog. If no document states the limits of a model, they are None and not checked. No document
lists each model's aspect ratios, so a model accepts all unless a document says otherwise.
"""

from collections.abc import Mapping

from image_drop.venice.models import REMOVAL_MODEL, UPSCALE_MODEL, Limits, Model, Price

DEFAULT_EDIT_MODEL = "firered-image-edit"  # Venice's default when no model is named
ALIASES: Mapping[str, str] = {"qwen-edit": "qwen-edit-uncensored"}  # that Venice still accepts

WITHOUT_AUTO = ("1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:3", "4:5")
RATIOS = ("auto", *WITHOUT_AUTO)


def _takes(
    prompt: int,
    images: int = 3,
    resolutions: tuple[str, ...] = (),
    qualities: tuple[str, ...] = (),
    ratios: tuple[str, ...] = RATIOS,
) -> Limits:
    return Limits(
        prompt=prompt, images=images, resolutions=resolutions, qualities=qualities, ratios=ratios
    )


KNOWN: Mapping[str, Model] = {
    REMOVAL_MODEL: Model(Price(usd=0.03)),
    # Up to twice as wide and high, and above. No document says how Venice's list tells its price.
    UPSCALE_MODEL: Model(Price(usd=0.02, tiers={"2x": 0.02, "4x": 0.08}, default_resolution="2x")),
    DEFAULT_EDIT_MODEL: Model(Price(usd=0.04), _takes(1_500)),
    "qwen-edit-uncensored": Model(Price(usd=0.04), _takes(1_500)),
    "qwen-image-2-edit": Model(Price(usd=0.05), _takes(10_000, ratios=WITHOUT_AUTO)),
    "qwen-image-2-pro-edit": Model(Price(usd=0.10), _takes(10_000)),
    "qwen-image-3-edit": Model(
        Price(usd=0.04, tiers={"1K": 0.04, "2K": 0.04}, image_usd=0.00345),
        _takes(10_000, resolutions=("1K", "2K")),
    ),
    "qwen-image-3-pro-edit": Model(
        Price(usd=0.05, tiers={"1K": 0.05, "2K": 0.09}, image_usd=0.00345),
        _takes(10_000, resolutions=("1K", "2K")),
    ),
    "grok-imagine-edit": Model(
        Price(usd=0.03, tiers={"1K": 0.03, "2K": 0.04}, image_usd=0.0023),
        _takes(7_500, resolutions=("1K", "2K")),
    ),
    "grok-imagine-quality-edit": Model(
        Price(usd=0.06, tiers={"1K": 0.06, "2K": 0.09}, image_usd=0.0115),
        _takes(7_500, resolutions=("1K", "2K")),
    ),
    "grok-imagine-image-2-0-edit": Model(
        Price(
            usd=0.07,
            tiers={"1K": 0.07, "2K": 0.10},
            qualities={"1K": {"low": 0.05, "medium": 0.07}, "2K": {"low": 0.07, "medium": 0.10}},
            default_quality="medium",
            image_usd=0.0115,
        ),
        _takes(7_500, resolutions=("1K", "2K"), qualities=("low", "medium")),
    ),
    "flux-2-max-edit": Model(Price(usd=0.12, included=1, image_usd=0.0345), _takes(3_000, 6)),
    "gpt-image-1-5-edit": Model(Price(usd=0.31, included=1, image_usd=0.02806), _takes(5_000, 6)),
    "gpt-image-2-edit": Model(
        Price(
            usd=0.34,
            tiers={"1K": 0.34, "2K": 0.52, "4K": 0.84},
            qualities={
                "1K": {"low": 0.03, "medium": 0.08, "high": 0.34},
                "2K": {"low": 0.03, "medium": 0.14, "high": 0.52},
                "4K": {"low": 0.04, "medium": 0.22, "high": 0.84},
            },
            default_quality="high",
            included=1,
            image_usd=0.0092,
        ),
        _takes(10_000, 6, ("1K", "2K", "4K"), ("low", "medium", "high"), WITHOUT_AUTO),
    ),
    "nano-banana-2-edit": Model(
        Price(usd=0.10, tiers={"1K": 0.10, "2K": 0.14, "4K": 0.19}),
        _takes(32_768, 6, ("1K", "2K", "4K")),
    ),
    "nano-banana-2-lite-edit": Model(Price(usd=0.06), _takes(10_000, 6)),
    "nano-banana-pro-edit": Model(
        Price(usd=0.18, tiers={"1K": 0.18, "2K": 0.23, "4K": 0.35}),
        _takes(32_768, 6, ("1K", "2K", "4K")),
    ),
    "seedream-v4-edit": Model(Price(usd=0.05), _takes(10_000, 6)),
    "seedream-v5-lite-edit": Model(Price(usd=0.05), _takes(10_000, 6)),
    "seedream-v5-pro-edit": Model(
        Price(usd=0.06, tiers={"1K": 0.06, "2K": 0.11}, included=1, image_usd=0.00345),
        _takes(10_000, 6, ("1K", "2K")),
    ),
    "wan-2-7-pro-edit": Model(
        Price(usd=0.094), _takes(5_000, 6, resolutions=("1K", "2K"), ratios=("auto",))
    ),
    "luma-uni-1-edit": Model(Price(usd=0.06), _takes(6_000, 1)),
    "luma-uni-1-max-edit": Model(Price(usd=0.13), _takes(6_000, 1)),
    "gpt-image-2-5-flare-edit": Model(Price(usd=0.08)),
    "mai-image-2-7-edit": Model(Price(usd=0.06)),
    "muse-image-edit": Model(Price(usd=0.02)),
    # For these three the changelog names only the lowest price.
    "gpt-image-2-6-flare-edit": Model(Price(usd=0.10)),
    "gpt-image-2-6-sunburst-edit": Model(Price(usd=0.10)),
    "seedream-v5-5-edit": Model(Price(usd=0.03)),
    # No document names a price for these two, so they cost as much as the dearest model.
    "gpt-image-2-5-sunburst-edit": Model(),
    "ideogram-v4-5-edit": Model(
        limits=_takes(10_000, 5, resolutions=("1K", "2K"), qualities=("low", "medium", "high"))
    ),
}
