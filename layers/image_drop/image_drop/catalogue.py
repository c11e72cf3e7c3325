"""Prices and limits of models: what a call costs, and what a model would refuse.

Pure but for `CatalogueStore` at the end, which keeps the catalogue that the account watch fetches
in the state table. Nothing is checked that is not known: a model without limits in the catalogue
is asked, and Venice says no.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from image_drop.errors import InvalidValueError, ModelNotAllowedError
from image_drop.instructions import Instructions, Mode, nearest_of
from image_drop.models import ALIASES, BUILT_IN, DEFAULT_EDIT_MODEL, REMOVAL_MODEL, Model
from image_drop.rate_limit import DEFAULT_MODEL
from image_drop.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LISTINGS = ("inpaint", "image")  # kinds of models: for edits; the background remover's
ENHANCED_PROMPT_USD = 0.04  # for a prompt that was rewritten; Venice's pricing page, August 2026
UNKNOWN_MODEL = "unknown"  # the limiter's name for all models that the catalogue does not know


@dataclass(frozen=True)
class Catalogue:
    """The models that are known. `fetched`: those that Venice itself lists; None before that."""

    models: Mapping[str, Model] = field(default_factory=lambda: BUILT_IN)
    fetched: frozenset[str] | None = None

    def model(self, mode: Mode, model: str | None) -> str:
        """Return the name of the model that a call runs."""
        if mode is Mode.BACKGROUND_REMOVE:
            return REMOVAL_MODEL
        return ALIASES.get(model or "", model) or DEFAULT_EDIT_MODEL

    def price(
        self,
        mode: Mode,
        sent: Mapping[str, Any],
        images: int,
        *,
        enhanced: bool,
        told: str | None = None,
    ) -> float:
        """Return US dollars for a call; a model without a price costs as much as the dearest one.

        `sent`: `venice.parameters`. `images`: the image and its layers. `enhanced`: whether the
        prompt is rewritten. `told`: the model that Venice's answer names.
        """
        asked = self.model(mode, sent.get("model") or sent.get("modelId"))
        known = self.models.get(told or "") or self.models.get(asked)
        if known:
            usd = known.price.of(images, sent.get("resolution") or "", sent.get("quality") or "")
        else:
            usd = max(each.price.dearest(images) for each in self.models.values())
        return round(usd + (ENHANCED_PROMPT_USD if enhanced else 0.0), 6)

    def rate_model(self, mode: Mode, model: str | None) -> str:
        """Return the name under which the limiter counts a call: one for all unknown models."""
        if mode is Mode.BACKGROUND_REMOVE:
            return mode.value
        name = self.model(mode, model)
        if name == DEFAULT_EDIT_MODEL:
            return DEFAULT_MODEL
        return name if name in self.models else UNKNOWN_MODEL

    def fitted(self, instructions: Instructions) -> Instructions:
        """Return the instructions without an `auto` that the model does not list."""
        known = self._known(instructions)
        if instructions.aspect_ratio != "auto" or not known or not known.ratios:
            return instructions
        if "auto" in known.ratios:
            return instructions
        return msgspec.structs.replace(instructions, aspect_ratio=None)

    def check(self, instructions: Instructions, images: int) -> None:
        """Nothing, where the model takes all that is asked for, as far as its limits are known.

        `images`: the image and its layers. Raises `InvalidValueError`.
        """
        mode = instructions.mode or Mode.EDIT
        if mode is Mode.BACKGROUND_REMOVE:
            return
        name = self.model(mode, instructions.model)
        if self.fetched is not None and name not in self.fetched:
            near = nearest_of(name, self.fetched)
            hint = f" Did you mean {near!r}?" if near else ""
            raise InvalidValueError(f"Venice lists no edit model {name!r}.{hint}")
        known = self.models.get(name)
        if known is None or not known.described:
            return
        for problem in _problems(known, instructions, mode, images):
            raise InvalidValueError(f"{problem} (model {name})")

    def check_allowed(self, instructions: Instructions, allowed: tuple[str, ...]) -> None:
        """Nothing, where the model is among `AllowedModels`; none named means all.

        Raises `ModelNotAllowedError`.
        """
        name = self.model(instructions.mode or Mode.EDIT, instructions.model)
        if allowed and name not in {ALIASES.get(each, each) for each in allowed}:
            raise ModelNotAllowedError(
                f"The model {name!r} is not among AllowedModels: {', '.join(allowed)}."
            )

    def _known(self, instructions: Instructions) -> Model | None:
        return self.models.get(self.model(instructions.mode or Mode.EDIT, instructions.model))


def _problems(known: Model, asked: Instructions, mode: Mode, images: int) -> list[str]:
    """What the model would refuse, each in a sentence without its end."""
    problems = []
    if known.prompt and len(asked.prompt or "") > known.prompt:
        problems.append(
            f"prompt has {len(asked.prompt or ''):,} characters; the model takes {known.prompt:,}"
        )
    if mode is Mode.MULTI_EDIT and known.max_images == 1:
        problems.append("mode is multi-edit, and the model combines no images")
    elif mode is Mode.MULTI_EDIT and images > known.max_images:
        problems.append(f"layers has {images - 1} entries; the model takes {known.max_images - 1}")
    ratio = asked.aspect_ratio
    if known.ratios and ratio and ratio not in ("auto", *known.ratios):
        problems.append(f"aspect_ratio is {ratio}; the model takes {', '.join(known.ratios)}")
    # On multi-edit Venice drops a resolution that the model does not have, without a word.
    if asked.resolution and asked.resolution not in known.resolutions:
        takes = ", ".join(known.resolutions) or "no resolution"
        problems.append(f"resolution is {asked.resolution}; the model takes {takes}")
    if mode is Mode.MULTI_EDIT and asked.quality and asked.quality not in known.qualities:
        takes = ", ".join(known.qualities) or "no quality"
        problems.append(f"quality is {asked.quality}; the model takes {takes}")
    return problems


# --- kept ------------------------------------------------------------------------------------

ITEM = "catalogue"
MAX_AGE = 86_400.0  # seconds; then the account watch fetches it again
REREAD_AFTER = 3_600.0  # seconds; how long an environment goes without reading the table


@dataclass
class CatalogueStore:
    """The catalogue in the state table, one item; read at most once an hour and environment."""

    dynamodb: "DynamoDBClient"
    table: str
    now: Callable[[], float]
    _catalogue: Catalogue = field(default_factory=Catalogue)
    _kept_at: float = 0.0
    _read_at: float | None = None

    def current(self) -> Catalogue:
        """Return the fetched models, and the built-in ones for what Venice does not list.

        Never raises: when the state table cannot be read, what was known before counts.
        """
        if self._read_at is None or self.now() >= self._read_at + REREAD_AFTER:
            self._read_at = self.now()
            try:
                self._read()
            except (ClientError, BotoCoreError, msgspec.MsgspecError) as error:
                logger.warning("catalogue not read", error=type(error).__name__)
        return self._catalogue

    def is_old(self) -> bool:
        """Return whether it is time to fetch the catalogue."""
        self.current()
        return self.now() >= self._kept_at + MAX_AGE

    def keep(self, models: Mapping[str, Model]) -> None:
        """Put fetched models in the place of those that were fetched before."""
        self._use(models, self.now())
        self.dynamodb.put_item(
            TableName=self.table,
            Item={
                "id": {"S": ITEM},
                "models": {"S": msgspec.json.encode(models).decode()},
                "kept_at": {"N": f"{self._kept_at:.0f}"},
            },
        )

    def _read(self) -> None:
        item = self.dynamodb.get_item(TableName=self.table, Key={"id": {"S": ITEM}}).get("Item")
        if item:
            models = msgspec.json.decode(item["models"]["S"], type=dict[str, Model])
            self._use(models, float(item["kept_at"]["N"]))

    def _use(self, models: Mapping[str, Model], kept_at: float) -> None:
        self._catalogue = Catalogue({**BUILT_IN, **models}, frozenset(models))
        self._kept_at = kept_at
