"""Venice's models: what an edit costs, and whether its model takes what is asked for.

The account watch reads Venice's list (`GET /models`, free of charge) and keeps it. Until then, and
where the list says nothing, `known_models` counts. Pure; `catalogue_store` keeps the list.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from image_drop.errors import InvalidValueError, ModelNotAllowedError
from image_drop.instructions.schema import Instructions, Mode
from image_drop.instructions.sources import nearest_of
from image_drop.venice.known_models import ALIASES, DEFAULT_EDIT_MODEL, KNOWN
from image_drop.venice.models import REMOVAL_MODEL, Limits, Model, Price

ENHANCED_PROMPT_USD = 0.04  # for a prompt that was rewritten; Venice's pricing page, August 2026
UNKNOWN_MODEL = "unknown"  # the limiter's one name for all models that the catalogue does not have


@dataclass(frozen=True)
class Catalogue:
    """Venice's models. `listed`: Venice's own list, or None while it has not been read."""

    listed: Mapping[str, Model] | None = None

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """All models by name: Venice's list, and `known_models` for what the list does not say."""
        known = dict(KNOWN)
        for name, model in (self.listed or {}).items():
            ours = known.get(name, Model())
            known[name] = Model(model.price or ours.price, model.limits or ours.limits)
        return known

    @cached_property
    def edit_models(self) -> Mapping[str, Model]:
        """The models of edit and multi-edit by name."""
        return {name: each for name, each in self.models.items() if name != REMOVAL_MODEL}

    def name(self, mode: Mode, model: str | None) -> str:
        """Return the name of the model that Venice runs. `model`: as asked for, None for none."""
        if mode is Mode.BACKGROUND_REMOVE:
            return REMOVAL_MODEL
        name = model or DEFAULT_EDIT_MODEL
        return name if name in self.models else ALIASES.get(name, name)

    def rate_model(self, mode: Mode, model: str | None) -> str:
        """Return the name that the limiter counts a call under; there are as many as models."""
        if mode is Mode.BACKGROUND_REMOVE:
            return mode.value
        name = self.name(mode, model)
        return name if name in self.edit_models else UNKNOWN_MODEL

    def price(
        self,
        mode: Mode,
        sent: Mapping[str, Any],
        images: int,
        *,
        enhanced: bool,
        told: str | None = None,
    ) -> float:
        """Return the US dollars of a call. A model without a known price costs as the dearest.

        `sent`: `venice.parameters`, the request's fields besides its `images`. `images`: the photo
        and its layers. `enhanced`: whether the prompt is rewritten. `told`: the model that Venice's
        answer names; where its price is unknown, the model that was asked for counts.
        """
        price = self._price(self.name(mode, told)) if told else None
        price = price or self._price(self.name(mode, asked_model(sent)))
        if price:
            usd = price.of(images, sent.get("resolution") or "", sent.get("quality") or "")
        else:
            usd = self._dearest(images)
        return round(usd + (ENHANCED_PROMPT_USD if enhanced else 0.0), 6)

    def check(self, wanted: Instructions, images: int) -> None:
        """Raise `InvalidValueError` where the model would not accept the instructions.

        `images`: the photo and its layers. Call it before a call is made, and never for a result
        that is there: what models accept changes from month to month.

        A value that Venice would silently ignore is an error too, because nobody asks for nothing.
        The aspect ratio `auto` always passes; `fitted` leaves it out where a model does not list
        it. An unknown model passes until Venice's list has been read, and no model always does:
        Venice may have changed its default.
        """
        if wanted.mode is Mode.BACKGROUND_REMOVE:
            return
        name = self.name(Mode.EDIT, wanted.model)
        if self.listed is not None and name not in self._listed_edit_models:
            if wanted.model:
                raise InvalidValueError(self._unlisted(wanted.model))
            return
        limits = self._limits(name)
        if limits is None:
            return
        problems = list(_problems(wanted, images, limits, _described(wanted.model, name)))
        if problems:
            raise InvalidValueError(" ".join(problems))

    def check_allowed(self, wanted: Instructions, allowed: tuple[str, ...]) -> None:
        """Raise `ModelNotAllowedError` where the model is not among `allowed`; empty allows all.

        background-remove counts as the model `bria-bg-remover`. An alias counts as the model that
        it stands for, and no model as Venice's default one.
        """
        name = self.name(wanted.mode or Mode.EDIT, wanted.model)
        if allowed and name not in {self.name(Mode.EDIT, each) for each in allowed}:
            raise ModelNotAllowedError(
                f"The edit would use the model {name}. AllowedModels holds {', '.join(allowed)}."
            )

    def fitted(self, wanted: Instructions) -> Instructions:
        """Return the instructions without an aspect ratio `auto` that the model does not list.

        For the request alone. The ids of an edit are made from the instructions as they were
        given, so that a new list from Venice does not turn every edit into another one.
        """
        limits = self._limits(self.name(Mode.EDIT, wanted.model))
        if wanted.aspect_ratio != "auto" or limits is None or "auto" in limits.ratios:
            return wanted
        return msgspec.structs.replace(wanted, aspect_ratio=None)

    def _price(self, name: str) -> Price | None:
        return self.models.get(name, Model()).price

    def _limits(self, name: str) -> Limits | None:
        return self.models.get(name, Model()).limits

    def _dearest(self, images: int) -> float:
        return max(each.price.dearest(images) for each in self.models.values() if each.price)

    @cached_property
    def _listed_edit_models(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.listed or ()) - {REMOVAL_MODEL}))

    def _unlisted(self, name: str) -> str:
        nearest = nearest_of(name, self._listed_edit_models)
        names = ", ".join(self._listed_edit_models)
        hint = f"Did you mean {nearest}?" if nearest else f"It has these: {names}."
        return f"model is {name}, but Venice has no such edit model. {hint}"


def asked_model(sent: Mapping[str, Any]) -> str | None:
    """Return the model that a request names, if any. `sent`: `venice.parameters`."""
    return sent.get("model") or sent.get("modelId")


def _described(asked: str | None, name: str) -> str:
    if asked is None:
        return f"Venice's default model {name}"
    return name if asked == name else f"{asked} ({name})"


def _problems(wanted: Instructions, images: int, limits: Limits, model: str) -> Iterator[str]:
    """One sentence for each value that the model does not accept."""
    multi = wanted.mode is Mode.MULTI_EDIT
    if multi and limits.images == 1:
        yield f"mode is multi-edit, but {model} edits a single image. Use the mode edit."
    elif images > limits.images:
        most = f"{limits.images} images, the photo and {limits.images - 1} layers"
        yield f"layers has {images - 1} entries, but {model} accepts at most {most}."
    length = len(wanted.prompt or "")
    if length > limits.prompt:
        yield f"prompt has {length:,} characters, but {model} accepts at most {limits.prompt:,}."
    if wanted.aspect_ratio not in (None, "auto"):
        yield from _unless_in(limits.ratios, "aspect_ratio", wanted.aspect_ratio, model)
        if images == 1 and not limits.reshapes_one:
            yield f"aspect_ratio is set, but {model} keeps the shape of a single image."
    yield from _unless_in(limits.resolutions, "resolution", wanted.resolution, model)
    if multi:
        yield from _unless_in(limits.qualities, "quality", wanted.quality, model)


def _unless_in(values: tuple[str, ...], key: str, value: str | None, model: str) -> Iterator[str]:
    if value is None or value in values:
        return
    if values:
        yield f"{key} is {value}, but {model} accepts only {', '.join(values)}."
    else:
        yield f"{key} is {value}, but {model} has no {key} setting. Leave it out."
