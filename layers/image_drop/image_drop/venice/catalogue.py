"""Venice's models: the price of an edit, and whether its model accepts the instructions.

The account watch reads Venice's list (`GET /models`, free of charge). Until then, and for what the
list does not say, `known_models` counts. This module is pure; `catalogue_store` keeps the list.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from image_drop.errors import InvalidValueError, ModelNotAllowedError
from image_drop.instructions.schema import PROMPTED, Instructions, Mode
from image_drop.instructions.sources import nearest_of
from image_drop.venice.known_models import ALIASES, DEFAULT_EDIT_MODEL, KNOWN
from image_drop.venice.models import REMOVAL_MODEL, UPSCALE_MODEL, Limits, Model, Price

CHEAP_SCALE = 2  # up to which the upscaler costs less
ENHANCED_PROMPT_USD = 0.04  # for rewriting a prompt; Venice's pricing page, August 2026
FIXED: Mapping[Mode, str] = {  # the model of a mode that takes no model
    Mode.BACKGROUND_REMOVE: REMOVAL_MODEL,
    Mode.UPSCALE: UPSCALE_MODEL,
}
UNKNOWN_MODEL = "unknown"  # the limiter's name for all models that are not in the catalogue


@dataclass(frozen=True)
class Catalogue:
    """Venice's models. `listed`: Venice's own list, or None while it has not been read."""

    listed: Mapping[str, Model] | None = None

    @cached_property
    def models(self) -> Mapping[str, Model]:
        """All models by name: Venice's list, completed from `known_models`."""
        known = dict(KNOWN)
        for name, model in (self.listed or {}).items():
            ours = known.get(name, Model())
            known[name] = Model(model.price or ours.price, model.limits or ours.limits)
        return known

    @cached_property
    def edit_models(self) -> Mapping[str, Model]:
        """The models of edit and multi-edit by name."""
        return {name: each for name, each in self.models.items() if name not in FIXED.values()}

    def name(self, mode: Mode, model: str | None) -> str:
        """Return the name of the model that Venice runs. `model`: of the instructions, or None."""
        if mode in FIXED:
            return FIXED[mode]
        name = model or DEFAULT_EDIT_MODEL
        return name if name in self.models else ALIASES.get(name, name)

    def rate_model(self, mode: Mode, model: str | None) -> str:
        """Return the limiter's name for a call's model; there are only as many as known models."""
        if mode in FIXED:
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
        answered: str | None = None,
    ) -> float:
        """Return the US dollars of a call. A model of unknown price costs as much as the dearest.

        `sent`: `client.parameters`, the request's fields besides its `images`. `images`: the photo
        and its layers. `enhanced`: whether the prompt is rewritten. `answered`: the model in
        Venice's answer; if its price is unknown, the model of the request counts.
        """
        price = self._price(self.name(mode, answered)) if answered else None
        price = price or self._price(self.name(mode, asked_model(sent)))
        if price:
            tier = sent.get("resolution") or _tier(sent.get("scale"))
            usd = price.of(images, tier, sent.get("quality") or "")
        else:
            usd = self._dearest(images)
        return round(usd + (ENHANCED_PROMPT_USD if enhanced else 0.0), 6)

    def check(self, wanted: Instructions, images: int) -> None:
        """Raise `InvalidValueError` if the model would not accept the instructions.

        `images`: the photo and its layers. Check before a call, and never for a result that is
        already there: what models accept changes from month to month.

        A value that Venice would silently ignore is an error too, because its writer expects an
        effect. The aspect ratio `auto` always passes; `fitted` leaves it out if the model does not
        list it. An unknown model passes until Venice's list has been read. Instructions without a
        model always pass, because Venice may have changed its default.
        """
        if wanted.mode not in PROMPTED:
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
        """Raise `ModelNotAllowedError` if the model is not among `allowed`; empty allows all.

        background-remove counts as the model `bria-bg-remover`, upscale as `upscaler`, an alias as
        the model that it stands for, and no model as Venice's default.
        """
        name = self.name(wanted.mode or Mode.EDIT, wanted.model)
        if allowed and name not in {self.name(Mode.EDIT, each) for each in allowed}:
            raise ModelNotAllowedError(
                f"The edit would use the model {name}. AllowedModels allows {', '.join(allowed)}."
            )

    def fitted(self, wanted: Instructions) -> Instructions:
        """Return the instructions without an aspect ratio `auto` that the model does not list.

        Use them for the request only. The ids of an edit are made from the original instructions,
        so that a new list from Venice does not change the id of every edit.
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
        return tuple(sorted(set(self.listed or ()) - set(FIXED.values())))

    def _unlisted(self, name: str) -> str:
        nearest = nearest_of(name, self._listed_edit_models)
        names = ", ".join(self._listed_edit_models)
        hint = f"Did you mean {nearest}?" if nearest else f"Its edit models are: {names}."
        return f"model is {name}, but Venice has no such edit model. {hint}"


def _tier(scale: float | None) -> str:
    """Return the upscaler's tier of a scale; empty without one."""
    if scale is None:
        return ""
    return "2x" if scale <= CHEAP_SCALE else "4x"


def asked_model(sent: Mapping[str, Any]) -> str | None:
    """Return the model that a request names, if any. `sent`: `venice.parameters`."""
    return sent.get("model") or sent.get("modelId")


def _described(asked: str | None, name: str) -> str:
    if asked is None:
        return f"Venice's default model {name}"
    return name if asked == name else f"{asked} ({name})"


def _problems(wanted: Instructions, images: int, limits: Limits, model: str) -> Iterator[str]:
    """Return one sentence for each value that the model does not accept."""
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
