"""The presets of a finish: what each shop accepts, where it says so, and a finish that passes.

A preset's `keys` fill in a finish. The finished result is checked against its `rules`, which are no
part of an edit's id: a corrected figure makes no result anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Side = Annotated[int, Meta(ge=1, le=100_000)]
Percent = Annotated[float, Meta(gt=0, le=100)]


class Rules(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a result is checked against. A rule that is left out is not checked."""

    min_longest: Annotated[
        Side | None, Meta(description="pixels of the longest side, at least")
    ] = None
    min_shortest: Annotated[
        Side | None, Meta(description="pixels of the shortest side, at least")
    ] = None
    max_longest: Annotated[Side | None, Meta(description="pixels of the longest side, at most")] = (
        None
    )
    max_pixels: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="width times height, at most")
    ] = None
    square: Annotated[bool, Meta(description="true: as wide as high")] = False
    min_fill: Annotated[
        Percent | None,
        Meta(description="percent of the width or of the height that the subject takes, at least"),
    ] = None
    max_fill: Annotated[
        Percent | None,
        Meta(description="percent of the width or of the height that the subject takes, at most"),
    ] = None
    background: Annotated[
        Annotated[str, Meta(pattern=r"^#[0-9a-fA-F]{6}$(?!\n)")] | None,
        Meta(description='colour of the four corners, such as "#ffffff"'),
    ] = None
    max_bytes: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="bytes of the file, at most")
    ] = None
    formats: Annotated[
        tuple[Literal["png", "webp", "jpeg"], ...], Meta(description="formats of the file")
    ] = ()


@dataclass(frozen=True)
class Source:
    """Where a figure is from. `read`: the day on which it was read there, of UTC."""

    page: str
    read: str


@dataclass(frozen=True)
class Preset:
    """A finish for a shop. `sources`: of each rule, by its name."""

    keys: Mapping[str, Any]
    rules: Rules
    sources: Mapping[str, Source]


def _preset(keys: Mapping[str, Any], **rules: tuple[Any, Source]) -> Preset:
    return Preset(
        keys,
        Rules(**{name: value for name, (value, _) in rules.items()}),
        {name: source for name, (_, source) in rules.items()},
    )


# Amazon and Temu show their rules to sellers who have signed in only, so these are guides that
# quote them. The other pages are the shops' own, except where a shop's own page lacks the figure.
_DAY = "2026-11-26"
_AMAZON = Source("https://mercatuslab.com/blog/amazon-product-image-requirements", _DAY)
_AMAZON_BYTES = Source(
    "https://changethisfile.com/blog/convert-images-for-amazon-seller-central", _DAY
)
_SHOPIFY = Source(
    "https://www.dresma.com/blog/shopify-product-image-requirements-that-you-should-know", _DAY
)
_WALMART = Source(
    "https://marketplacelearn.walmart.com/guides/Item%20setup/Item%20content%2C%20imagery%2C%20and"
    "%20media/Product-detail-page:-Image-guidelines-&-requirements",
    _DAY,
)
_EBAY = Source("https://www.ebay.com/help/policies/listing-policies/picture-policy?id=4370", _DAY)
_EBAY_FILES = Source(
    "https://developer.ebay.com/api-docs/user-guides/static/trading-user-guide/"
    "picture-hosting.html",
    _DAY,
)
_EBAY_BYTES = Source("https://plomz.com/guide/ebay-image-requirements-for-sellers-2026", _DAY)
_ETSY = Source("https://hauld.app/blog/etsy-listing-photo-checklist", _DAY)
_GOOGLE = Source("https://support.google.com/merchants/answer/6324350", _DAY)
_GOOGLE_SMALLEST = Source(
    "https://emberfeed.com/specs/google-merchant-image-requirements-2026", _DAY
)
_GOOGLE_FRAME = Source("https://sharpfeed.io/docs/fields/image-link", _DAY)
_TEMU = Source("https://caishen.com/baike/5457.html", _DAY)

_OWN = Source("the preset's own name", _DAY)

_WHITE: Mapping[str, Any] = {"trim": True, "background": "#ffffff", "format": "jpeg"}
MB = 1_000_000  # the smaller of its two meanings

PRESETS: Mapping[str, Preset] = {
    # The main image. Without 1,000 pixels there is no zoom. The product fills 100 - 2 × 5 = 90 %.
    "amazon": _preset(
        {**_WHITE, "size": "2000x2000", "margin": "5%", "max_bytes": 10 * MB},
        min_longest=(1_000, _AMAZON),
        max_longest=(10_000, _AMAZON),
        min_fill=(85, _AMAZON),
        background=("#ffffff", _AMAZON),
        formats=(("jpeg", "png"), _AMAZON),
        max_bytes=(10 * MB, _AMAZON_BYTES),
    ),
    # Shopify demands no background.
    "shopify": _preset(
        {**_WHITE, "size": "2048x2048", "margin": "5%", "max_bytes": 20 * MB - 1},
        max_longest=(5_000, _SHOPIFY),
        max_pixels=(25 * MB, _SHOPIFY),
        formats=(("jpeg", "png", "webp"), _SHOPIFY),
        max_bytes=(20 * MB, _SHOPIFY),
    ),
    "walmart": _preset(
        {**_WHITE, "size": "2200x2200", "margin": "5%", "max_bytes": 5 * MB},
        min_shortest=(1_500, _WALMART),
        square=(True, _WALMART),
        background=("#ffffff", _WALMART),
        formats=(("jpeg", "png"), _WALMART),
        max_bytes=(5 * MB, _WALMART),
    ),
    # eBay keeps at most 1,600 × 1,600 pixels.
    "ebay": _preset(
        {**_WHITE, "size": "1600x1600", "margin": "5%", "max_bytes": 12 * MB},
        min_longest=(500, _EBAY),
        formats=(("jpeg", "png", "webp"), _EBAY_FILES),
        max_bytes=(12 * MB, _EBAY_BYTES),
    ),
    # Etsy crops its thumbnails, so there is more room around the product.
    "etsy": _preset(
        {**_WHITE, "size": "2000x2000", "margin": "10%", "max_bytes": 10 * MB},
        min_longest=(2_000, _ETSY),
        formats=(("jpeg", "png"), _ETSY),
        max_bytes=(10 * MB, _ETSY),
    ),
    # From 2027-01-31 on, Google accepts nothing below 500 × 500 pixels. 100 - 2 × 9 = 82 %.
    "google-shopping": _preset(
        {**_WHITE, "size": "1500x1500", "margin": "9%", "max_bytes": 16 * MB},
        min_shortest=(500, _GOOGLE_SMALLEST),
        max_pixels=(64 * MB, _GOOGLE_FRAME),
        min_fill=(75, _GOOGLE_FRAME),
        max_fill=(90, _GOOGLE_FRAME),
        formats=(("jpeg", "png", "webp"), _GOOGLE),
        max_bytes=(16 * MB, _GOOGLE_FRAME),
    ),
    # About 100 pixels around the product, of 1,600: 6 %.
    "temu": _preset(
        {**_WHITE, "size": "1600x1600", "margin": "6%", "max_bytes": 2 * MB},
        min_shortest=(800, _TEMU),
        square=(True, _TEMU),
        formats=(("jpeg", "png"), _TEMU),
        max_bytes=(2 * MB, _TEMU),
    ),
    # Not the rule of one shop, but what most of them accept.
    "square-white": _preset(
        {**_WHITE, "size": "2000x2000", "margin": "8%", "format": "png"},
        square=(True, _OWN),
        background=("#ffffff", _OWN),
    ),
}
