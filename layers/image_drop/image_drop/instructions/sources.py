"""The sources of instructions: five places, merged key by key and checked.

This module is pure: texts and mappings in, `Instructions` out.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any
from urllib.parse import quote

import msgspec

from image_drop.errors import (
    InstructionsError,
    InvalidValueError,
    MissingPromptError,
    NoInstructionsError,
    UnknownKeyError,
    UnknownModeError,
    UnreadableInstructionsError,
)
from image_drop.instructions.finish import Finish, check_preset
from image_drop.instructions.schema import KEYS, NEARLY, PROMPTED, TAKES, Instructions, Mode

MAX_FILE_BYTES = 65_536
MAX_REFERENCE = 1200  # bytes, percent-encoded: what a result's metadata have room for
MAX_VARIANTS = 20
MAX_IMAGES = 10  # files in a request to multi-edit, with the photo; most models accept fewer


@dataclass(frozen=True)
class Source:
    """One place that instructions come from.

    `changed_at`: of a file in the bucket, in seconds since 1970; 0 where that is not known.
    `strict`: every key must be known. Tags and metadata are not strict, because other tools write
    there as well (cost allocation, file times). Only a near miss such as `promt` is an error.
    """

    name: str
    values: Mapping[str, Any]
    strict: bool = True
    changed_at: float = 0.0


def from_file(name: str, content: bytes, changed_at: float = 0.0) -> Source:
    """Read a sidecar or folder file. Raise `UnreadableInstructionsError`."""
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableInstructionsError(f"{name} is larger than {MAX_FILE_BYTES:,} bytes.")
    try:
        values = json.loads(content.decode("utf-8-sig"))
        json.dumps(values, ensure_ascii=False).encode()  # refuses "\\ud800", which is not text
    except UnicodeDecodeError as error:
        raise UnreadableInstructionsError(f"{name} is not UTF-8 text.") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableInstructionsError(f"{name} is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise UnreadableInstructionsError(f"{name} is JSON but not an object in braces.")
    values.pop("$schema", None)
    return Source(name, values, changed_at=changed_at)


def from_tags(tags: Mapping[str, str]) -> Source:
    """Return the instructions in object tags. `layers`: names separated by spaces."""
    return Source("the object tags", _split_layers(tags), strict=False)


def from_metadata(metadata: Mapping[str, str]) -> Source:
    """Return the instructions in user metadata (`x-amz-meta-…`).

    S3 returns text beyond ASCII in the form of RFC 2047.
    """
    decoded = {key: _decoded(text) for key, text in metadata.items()}
    if decoded.get("mode", "").isdigit():
        del decoded["mode"]  # s3fs and similar tools keep a file's permissions there
    return Source("the user metadata", _split_layers(decoded), strict=False)


def from_defaults(mode: str, prompt: str) -> Source:
    """Return the template's parameters `DefaultMode` and `DefaultPrompt`; empty means none."""
    given = {"mode": mode, "prompt": prompt}
    return Source("the template's defaults", {key: text for key, text in given.items() if text})


@dataclass(frozen=True)
class OneEdit:
    """An image without variants."""

    instructions: Instructions


@dataclass(frozen=True)
class Variants:
    """An image with several results, each an edit of its own."""

    by_name: Mapping[str, Instructions]


def resolve(sources: Sequence[Source]) -> OneEdit | Variants:
    """Merge sources, nearest first, key by key.

    Keys that the mode does not use stay in the result; the Venice client leaves them out. Raise an
    `InstructionsError` that names the source and the key.
    """
    merged: dict[str, Any] = {}
    presets = presets_in(sources)
    for source in reversed(sources):
        merged |= checked(source, presets)
    merged.pop("presets", None)
    variants = merged.pop("variants", None)
    if not variants:
        return OneEdit(_settle(msgspec.convert(merged, Instructions), None))
    return Variants(
        {
            name: _settle(msgspec.convert(merged | own, Instructions), name)
            for name, own in variants.items()
        }
    )


type Presets = Mapping[str, Mapping[str, Any]]


def presets_in(sources: Iterable[Source]) -> Presets:
    """Return the presets of one's own by name; the nearest wins. Raise `InvalidValueError`.

    Only files have some, because tags and metadata hold no objects.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for source in sources:
        given = source.values.get("presets") if source.strict else None
        if isinstance(given, Mapping):
            for name, keys in given.items():
                _within(source, check_preset, name, keys)
                found.setdefault(name, keys)
    return found


def checked(source: Source, presets: Presets | None = None) -> dict[str, Any]:
    """Return the known keys of one source, with valid values. Raise an `InstructionsError`.

    `presets`: all presets of one's own; None if the other sources are not known.
    """
    values = {}
    for key, value in source.values.items():
        if key == "presets" and not source.strict:
            continue
        if key in KEYS:
            values[key] = _checked_value(source, key, value, presets)
        elif (error := _unknown_key(source, key)) is not None:
            raise error
    return values


def reference_in(found: Iterable[Source]) -> str | None:
    """Return the nearest valid `reference`, also if other instructions are wrong, or None.

    No source is read after the one that has it.
    """
    for source in found:
        given = {key: value for key, value in source.values.items() if key == "reference"}
        try:
            if values := checked(Source(source.name, given)):
                return str(values["reference"])
        except InstructionsError:
            continue
    return None


def _decoded(text: str) -> str:
    try:
        decoded = str(make_header(decode_header(text)))
        decoded.encode()  # UTF-7 can hold half of a character, which is not text
        return decoded
    except (HeaderParseError, LookupError, ValueError):
        return text  # it only resembles RFC 2047


def _split_layers(texts: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = dict(texts)
    if "layers" in values:
        values["layers"] = values["layers"].split()
    return values


def _unknown_key(source: Source, key: str) -> UnknownKeyError | None:
    # If other tools write there too, only a key very similar to ours counts as a mistake.
    words, similarity = (KEYS, 0.7) if source.strict else (NEARLY, 0.85)
    nearest = nearest_of(key, words, similarity)
    if nearest:
        return UnknownKeyError(
            f"The key {key!r} in {source.name} does not exist. Did you mean {nearest!r}?"
        )
    if source.strict:
        return UnknownKeyError(
            f"The key {key!r} in {source.name} does not exist. The keys are: {', '.join(KEYS)}."
        )
    return None


def nearest_of(word: str, words: Iterable[str], similarity: float = 0.7) -> str | None:
    """Return the most similar of `words`, or None if none has this `similarity` (0 to 1)."""
    import difflib  # 1 ms, and only a wrong word needs it

    return next(iter(difflib.get_close_matches(word.lower(), list(words), 1, similarity)), None)


def _checked_value(source: Source, key: str, value: Any, presets: Presets | None) -> Any:
    """Return the value as plain JSON of the right type. Raise an `InstructionsError`."""
    if key == "mode" and value not in list(Mode):
        raise _unknown_mode(source, value)
    try:
        if key == "resolution":
            value = _tier(value)
        if key == "finish":
            value = _parsed_finish(source, value, presets)
        if key == "variants":
            value = _checked_variants(source, value, presets)
        # Text may represent a number or a boolean; the text "null" is no value.
        values = msgspec.convert({key: value}, Instructions, strict=False).as_dict()
        if key not in values:
            raise msgspec.ValidationError("null")
        if key == "reference" and len(quote(value)) > MAX_REFERENCE:
            raise InvalidValueError(
                f"reference in {source.name} is {_shown(value)}. It has more than "
                f"{MAX_REFERENCE:,} bytes percent-encoded. Use fewer characters beyond ASCII."
            )
        return values[key]
    except msgspec.ValidationError as error:
        raise InvalidValueError(
            f"{key} in {source.name} is {_shown(value)}. It must be {TAKES[key]}."
        ) from error


def _tier(value: Any) -> Any:
    """Return `4K` for `4k`, so that both are the same edit; leave other words as they are."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]+k", value):
        return value.upper()
    return value


def _parsed_finish(source: Source, value: Any, presets: Presets | None) -> dict[str, Any]:
    return msgspec.to_builtins(  # type: ignore[no-any-return]
        _within(source, Finish.parse, value, presets)
    )


def _within[**P, T](source: Source, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `check` returns; its error names the source."""
    try:
        return check(*args, **kwargs)
    except InvalidValueError as error:
        raise InvalidValueError(f"In {source.name}: {error.detail}") from error


def _checked_variants(
    source: Source, value: Any, presets: Presets | None
) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not 1 <= len(value) <= MAX_VARIANTS:
        raise msgspec.ValidationError("not an object of variants")
    variants = {}
    for name, own in value.items():
        if not isinstance(own, dict) or {"variants", "presets"} & own.keys():
            raise msgspec.ValidationError("not an object, or variants or presets within a variant")
        named = Source(f"variant {_shown(name)} of {source.name}", own)
        variants[name] = checked(named, presets)
    return variants


def _unknown_mode(source: Source, value: Any) -> UnknownModeError:
    nearest = nearest_of(str(value), Mode)
    hint = f" Did you mean {str(nearest)!r}?" if nearest else ""
    return UnknownModeError(f"The mode {_shown(value)} in {source.name} does not exist.{hint}")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:79] + "…"


def _settle(merged: Instructions, variant: str | None) -> Instructions:
    what = f"the variant {variant!r} of this image" if variant else "this image"
    if merged.mode is None:
        if merged.prompt is None:
            raise NoInstructionsError(f"There is neither a mode nor a prompt for {what}.")
        mode = Mode.MULTI_EDIT if merged.layers else Mode.EDIT
        merged = msgspec.structs.replace(merged, mode=mode)
    if merged.mode in PROMPTED and merged.prompt is None:
        raise MissingPromptError(f"The mode of {what} is {merged.mode}, but there is no prompt.")
    if merged.mode is Mode.MULTI_EDIT:
        _check_layers(merged)
    return merged


def _check_layers(merged: Instructions) -> None:
    layers = merged.layers or ()
    if 1 + len(layers) > MAX_IMAGES:
        raise InvalidValueError(
            f"layers has {len(layers)} entries, but multi-edit accepts at most "
            f"{MAX_IMAGES - 1}. Remove some."
        )
    for layer in layers:
        if "://" in layer and not layer.startswith("https://"):
            raise InvalidValueError(
                f"The layer {layer!r} is a URL but does not start with https://."
            )
