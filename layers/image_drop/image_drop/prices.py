"""What a call to Venice costs.

The catalogue (`GET /models`, free of charge) names the prices; the account watch reads it once a
day and keeps it in the state table. Until then, and where it does not know a model, the table at
the end of this module counts. A model that neither knows costs None: unknown.

The first half of this module is pure; `PriceBook` keeps the prices in DynamoDB.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from image_drop.instructions import Mode
from image_drop.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEFAULT_EDIT_MODEL = "firered-image-edit"  # what Venice uses when no model is named
REMOVAL_MODEL = "bria-bg-remover"
CATALOGUES = ("inpaint", "image")  # kinds of models: for edits; the background remover's
ENHANCED_PROMPT_USD = 0.04  # for a prompt that was rewritten; Venice's pricing page, August 2026
DEFAULT_TIER = "1K"


class Price(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """US dollars for an image made by one model.

    `tiers`: by resolution; what is not in there costs `usd`. `qualities`: by resolution, then by
    quality; they come before `tiers`. `included` input images are free, each one more costs
    `image_usd`.
    """

    usd: float
    tiers: dict[str, float] = {}
    qualities: dict[str, dict[str, float]] = {}
    default_quality: str = ""
    included: int = 0
    image_usd: float = 0.0

    def of(self, images: int, resolution: str = "", quality: str = "") -> float:
        """A call with so many images, its own and its layers'."""
        tier = resolution or DEFAULT_TIER
        base = self.tiers.get(tier, self.usd)
        base = self.qualities.get(tier, {}).get(quality or self.default_quality, base)
        return base + max(0, images - self.included) * self.image_usd


def model_used(mode: Mode, sent: Mapping[str, Any], told: str | None = None) -> str:
    """The model that a call is paid for. `told`: by Venice's answer, where it does."""
    if mode is Mode.BACKGROUND_REMOVE:
        return REMOVAL_MODEL
    return told or sent.get("model") or sent.get("modelId") or DEFAULT_EDIT_MODEL


def cost(
    prices: Mapping[str, Price], model: str, sent: Mapping[str, Any], images: int, *, enhanced: bool
) -> float | None:
    """Dollars for a call; None where the model's price is unknown.

    `sent`: `venice.parameters`, the request's fields besides its `images`. `enhanced`: whether the
    prompt is rewritten.
    """
    price = prices.get(model)
    if price is None:
        return None
    usd = price.of(images, sent.get("resolution") or "", sent.get("quality") or "")
    return round(usd + (ENHANCED_PROMPT_USD if enhanced else 0.0), 6)


def from_catalogue(listing: Mapping[str, Any]) -> dict[str, Price]:
    """The prices in an answer to `GET /models`: of edit models and the background remover.

    A model whose entry is not as documented is left out.
    """
    data = listing.get("data")
    entries = data if isinstance(data, list) else []
    return dict(found for entry in entries for found in _priced(entry))


def _priced(entry: Any) -> Iterator[tuple[str, Price]]:
    try:
        spec = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError:
        return
    pricing = spec.model_spec.pricing
    amount = pricing.generation if spec.id == REMOVAL_MODEL else pricing.inpaint
    if amount is None:
        return
    more = pricing.input_images
    yield (
        spec.id,
        Price(
            usd=amount.usd,
            tiers={tier: each.usd for tier, each in pricing.resolutions.items()},
            qualities={
                tier: {name: each.usd for name, each in by_quality.items()}
                for tier, by_quality in pricing.quality.items()
            },
            default_quality=spec.model_spec.constraints.default_quality,
            included=more.included if more else 0,
            image_usd=more.additional.usd if more else 0.0,
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


class _Spec(msgspec.Struct):
    pricing: _Pricing
    constraints: _Constraints = msgspec.field(default_factory=_Constraints)


class _Entry(msgspec.Struct):
    id: str
    model_spec: _Spec


# --- kept ------------------------------------------------------------------------------------

ITEM = "prices"
MAX_AGE = 86_400.0  # seconds; then the account watch asks for the catalogue again
LOOK_AGAIN = 3_600.0  # seconds; how long an environment goes without reading the table


@dataclass
class PriceBook:
    """The prices in the state table, one item; read at most once an hour and environment."""

    dynamodb: "DynamoDBClient"
    table: str
    now: Callable[[], float]
    _prices: dict[str, Price] = field(default_factory=dict)
    _kept_at: float = 0.0
    _read_at: float | None = None

    def current(self) -> Mapping[str, Price]:
        """Prices by model: the catalogue's, and the table's below for what it does not name.

        Never raises: when the state table cannot be read, what was known before counts.
        """
        if self._read_at is None or self.now() >= self._read_at + LOOK_AGAIN:
            self._read_at = self.now()
            try:
                self._read()
            except (ClientError, BotoCoreError, msgspec.DecodeError) as error:
                logger.warning("prices not read", error=type(error).__name__)
        return AUGUST_2026 | self._prices

    def is_old(self) -> bool:
        """Whether it is time to ask for the catalogue."""
        self.current()
        return self.now() >= self._kept_at + MAX_AGE

    def keep(self, prices: Mapping[str, Price]) -> None:
        """Put the catalogue's prices in the place of older ones."""
        self._prices, self._kept_at = dict(prices), self.now()
        self.dynamodb.put_item(
            TableName=self.table,
            Item={
                "id": {"S": ITEM},
                "prices": {"S": msgspec.json.encode(prices).decode()},
                "kept_at": {"N": f"{self._kept_at:.0f}"},
            },
        )

    def _read(self) -> None:
        item = self.dynamodb.get_item(TableName=self.table, Key={"id": {"S": ITEM}}).get("Item")
        if item:
            self._prices = msgspec.json.decode(item["prices"]["S"], type=dict[str, Price])
            self._kept_at = float(item["kept_at"]["N"])


# As of 2026-08-22, from Venice's public repository veniceai/api-docs (its pricing page and model
# list); the catalogue's figures where the two differ.
AUGUST_2026: dict[str, Price] = {
    "bria-bg-remover": Price(usd=0.03),
    "firered-image-edit": Price(usd=0.04),
    "flux-2-max-edit": Price(usd=0.12, included=1, image_usd=0.0345),
    "gpt-image-1-5-edit": Price(usd=0.31, included=1, image_usd=0.02806),
    "gpt-image-2-edit": Price(
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
    "grok-imagine-edit": Price(usd=0.03, tiers={"1K": 0.03, "2K": 0.04}, image_usd=0.0023),
    "grok-imagine-image-2-0-edit": Price(
        usd=0.07,
        tiers={"1K": 0.07, "2K": 0.10},
        qualities={"1K": {"low": 0.05, "medium": 0.07}, "2K": {"low": 0.07, "medium": 0.10}},
        default_quality="medium",
        image_usd=0.0115,
    ),
    "grok-imagine-quality-edit": Price(usd=0.06, tiers={"1K": 0.06, "2K": 0.09}, image_usd=0.0115),
    "luma-uni-1-edit": Price(usd=0.06),
    "luma-uni-1-max-edit": Price(usd=0.13),
    "nano-banana-2-edit": Price(usd=0.10, tiers={"1K": 0.10, "2K": 0.14, "4K": 0.19}),
    "nano-banana-2-lite-edit": Price(usd=0.06),
    "nano-banana-pro-edit": Price(usd=0.18, tiers={"1K": 0.18, "2K": 0.23, "4K": 0.35}),
    "qwen-edit-uncensored": Price(usd=0.04),
    "qwen-image-2-edit": Price(usd=0.05),
    "qwen-image-2-pro-edit": Price(usd=0.10),
    "qwen-image-3-edit": Price(usd=0.04, tiers={"1K": 0.04, "2K": 0.04}, image_usd=0.00345),
    "qwen-image-3-pro-edit": Price(usd=0.05, tiers={"1K": 0.05, "2K": 0.09}, image_usd=0.00345),
    "seedream-v4-edit": Price(usd=0.05),
    "seedream-v5-lite-edit": Price(usd=0.05),
    "seedream-v5-pro-edit": Price(
        usd=0.06, tiers={"1K": 0.06, "2K": 0.11}, included=1, image_usd=0.00345
    ),
    "wan-2-7-pro-edit": Price(usd=0.094),
}
