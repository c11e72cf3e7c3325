"""Requests of the four image endpoints: the closed schemas, and what a schema cannot express."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, field
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Request

from image_drop_local.simulator import catalogue
from image_drop_local.simulator.catalogue import Model
from image_drop_local.simulator.errors import ApiError, invalid, refused
from image_drop_local.simulator.inputs import (
    MAX_BYTES,
    MIN_PIXELS,
    ImageRules,
    is_url,
    read_image,
    size_of,
)
from image_drop_local.simulator.settings import Documents

Endpoint = Literal["edit", "multi-edit", "background-remove", "upscale"]
OutputFormat = Literal["png", "jpeg", "webp"]
Name = Annotated[str, Meta(min_length=1)]

MAX_JSON_BYTES = 35_000_000
MAX_UPSCALED = 16_777_216  # pixels of an answer
UPSCALED_USD, FURTHER_USD = 0.02, 0.08  # up to an effective scale of 2, and above
MAX_FILES = 10  # in a multipart request
# Each model's `constraints`, as clients see them in `GET /models`.
CONSTRAINTS: Mapping[str, Mapping[str, Any]] = {
    entry["id"]: entry["model_spec"]["constraints"] for entry in catalogue.listing("all")["data"]
}
FLAGS = ("safe_mode", "enhance_prompt", "disable_prompt_optimization_thinking")


class _Prompted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompt: Annotated[str, Meta(min_length=1, max_length=32768)]
    aspect_ratio: (
        Literal["auto", "1:1", "3:2", "16:9", "21:9", "9:16", "2:3", "3:4", "4:5", "4:3"]
        | UnsetType
    ) = UNSET
    resolution: Annotated[str, Meta(min_length=1, max_length=10)] | UnsetType = UNSET
    output_format: Literal["png", "jpeg", "webp", "jpg"] | UnsetType = UNSET
    safe_mode: bool = True
    enhance_prompt: bool = False
    disable_prompt_optimization_thinking: bool = False


class Edit(_Prompted, frozen=True, kw_only=True, forbid_unknown_fields=True):
    image: Any
    model: Name | UnsetType = UNSET
    model_id: Name | UnsetType = field(name="modelId", default=UNSET)  # the deprecated alias


class MultiEdit(_Prompted, frozen=True, kw_only=True, forbid_unknown_fields=True):
    images: Annotated[list[Any], Meta(min_length=1)]
    model_id: Name | UnsetType = field(name="modelId", default=UNSET)
    quality: Literal["low", "medium", "high"] | UnsetType = UNSET


class BackgroundRemove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    image: Any = UNSET
    image_url: str | UnsetType = UNSET


class Upscale(msgspec.Struct, frozen=True, kw_only=True):
    """Unknown fields are ignored here."""

    image: Any
    scale: Annotated[float, Meta(ge=2, le=4)] = 2.0
    creativity: float = 0.01  # clamped to 0 to 0.02


SCHEMAS: dict[Endpoint, type[Edit | MultiEdit | BackgroundRemove | Upscale]] = {
    "edit": Edit,
    "multi-edit": MultiEdit,
    "background-remove": BackgroundRemove,
    "upscale": Upscale,
}


@dataclass(frozen=True, kw_only=True)
class Order:
    """A request that Venice would accept. `images`: the bytes of each, the base image first."""

    endpoint: Endpoint
    model: Model
    images: tuple[bytes, ...]
    prompt: str = ""
    aspect_ratio: str = "auto"
    resolution: str = "1K"
    output_format: OutputFormat = "png"
    enhance_prompt: bool = False
    scale: float = 1.0
    usd: float


def read_order(http: Request, endpoint: Endpoint, documents: Documents) -> Order:
    """Return the order in a request. Raise `ApiError` for everything that the documents refuse."""
    body = _body(http, endpoint, documents)
    try:
        asked = msgspec.convert(body, SCHEMAS[endpoint], strict=endpoint != "upscale")
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        raise invalid(message, path.rstrip("`")) from None
    if isinstance(asked, BackgroundRemove):
        return _removal(asked, documents)
    if isinstance(asked, Upscale):
        return _upscaled(asked, documents)
    return _edit(asked, endpoint, documents)


def _body(http: Request, endpoint: Endpoint, documents: Documents) -> dict[str, Any]:
    empty = not http.content_length and "Transfer-Encoding" not in http.headers
    if empty and endpoint == "multi-edit":
        raise ApiError(415, "Request encoding is not supported")
    if http.mimetype == "application/json":
        return _json(http)
    if http.mimetype == "multipart/form-data":
        return _form(http, endpoint, documents)
    raise ApiError(400, "'Content-Type' must be 'application/json'", counted=False)


def _json(http: Request) -> dict[str, Any]:
    too_large = ApiError(413, "Request body exceeds the maximum allowed size.", counted=False)
    if (http.content_length or 0) > MAX_JSON_BYTES:
        raise too_large
    data = http.get_data(cache=False)
    if len(data) > MAX_JSON_BYTES:
        raise too_large
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ApiError(400, "Invalid JSON request", counted=False) from None
    if not isinstance(body, dict):
        raise invalid("Expected an object")
    if isinstance(body.get("image_url"), str) and not is_url(body["image_url"]):
        raise invalid("Invalid url", "image_url")
    return body


def _form(http: Request, endpoint: Endpoint, documents: Documents) -> dict[str, Any]:
    """Return text parts and file parts as one object, with the rules that differ from JSON."""
    body: dict[str, Any] = {}
    for name, texts in http.form.lists():
        if name in ("images", "image_url") or len(texts) > 1:
            raise invalid("Not accepted as text in multipart/form-data", name)
        body[name] = _flag(texts[0]) if name in FLAGS else texts[0]
    for name, files in http.files.lists():
        if name in body or (len(files) > 1 and name != "images"):
            raise invalid("Expected one part", name)
        if len(files) > MAX_FILES:
            raise invalid(f"At most {MAX_FILES} files are accepted", name)
        contents = [_file(file) for file in files]
        body[name] = contents if name == "images" else contents[0]
    if endpoint == "multi-edit" and documents == "skill":
        known = {each.encode_name for each in msgspec.structs.fields(MultiEdit)}
        return {name: value for name, value in body.items() if name in known}  # an open schema
    return body


def _flag(text: str) -> bool | str:
    """Return a text part as a boolean; leave other words for the schema to refuse."""
    return {"true": True, "false": False}.get(text, text)


def _file(file: FileStorage) -> bytes:
    data = file.stream.read(MAX_BYTES)
    if len(data) >= MAX_BYTES:
        raise ApiError(413, "File exceeds the maximum allowed size of 25 MB.")
    return data


def _removal(asked: BackgroundRemove, documents: Documents) -> Order:
    if (asked.image is UNSET) == (asked.image_url is UNSET):
        raise invalid("Send exactly one of image and image_url")
    rules = ImageRules(urls=asked.image is UNSET, data_urls=documents == "skill")
    name, value = ("image_url", asked.image_url) if asked.image is UNSET else ("image", asked.image)
    model = catalogue.MODELS[catalogue.BACKGROUND_REMOVER]
    return Order(
        endpoint="background-remove",
        model=model,
        images=(read_image(value, name, rules, documents),),
        usd=model.usd,
    )


def _upscaled(asked: Upscale, documents: Documents) -> Order:
    """Return the order, with the scale lowered until the result has no more than 16,777,216 pixels.

    Assumed: any number is a scale, and one below 1 is none.
    """
    data = read_image(asked.image, "image", ImageRules(urls=False), documents)
    width, height = size_of(data)
    if width * height < MIN_PIXELS:
        raise refused("Image too small", f"{width}x{height}; {MIN_PIXELS} pixels are needed.")
    scale = min(asked.scale, math.sqrt(MAX_UPSCALED / (width * height)))
    if scale < 1:
        raise refused("Image too large", f"{width}x{height} does not fit at any scale.")
    model = catalogue.MODELS[catalogue.UPSCALER]
    usd = UPSCALED_USD if scale <= 2 else FURTHER_USD
    return Order(endpoint="upscale", model=model, images=(data,), scale=scale, usd=usd)


def _edit(asked: Edit | MultiEdit, endpoint: Endpoint, documents: Documents) -> Order:
    model = _model(asked)
    quality = _quality(asked)
    values = asked.images if isinstance(asked, MultiEdit) else [asked.image]
    _fits_model(asked, CONSTRAINTS[model.id], model, len(values))
    resolution = "1K" if asked.resolution is UNSET or not model.resolutions else asked.resolution
    rules = ImageRules(data_urls=isinstance(asked, MultiEdit) or documents == "skill", edits=True)
    name = "images" if isinstance(asked, MultiEdit) else "image"
    return Order(
        endpoint=endpoint,
        model=model,
        images=tuple(read_image(value, name, rules, documents) for value in values),
        prompt=asked.prompt,
        aspect_ratio=_ratio(asked, CONSTRAINTS[model.id], len(values)),
        resolution=resolution,
        output_format=_output_format(asked, resolution),
        enhance_prompt=asked.enhance_prompt,
        usd=model.price(
            images=len(values),
            resolution=resolution,
            quality=quality,
            enhanced=asked.enhance_prompt,
        ),
    )


def _model(asked: Edit | MultiEdit) -> Model:
    alias = asked.model_id
    name = asked.model if isinstance(asked, Edit) and asked.model is not UNSET else alias
    model = catalogue.find(catalogue.DEFAULT_MODEL if name is UNSET else name)
    if model is None or not model.edits:
        raise refused("Invalid model id", f"There is no edit model {name!r}.")
    if isinstance(asked, MultiEdit) and not model.combines:
        raise invalid(f"{model.id} cannot combine images", "modelId")
    return model


def _quality(asked: Edit | MultiEdit) -> str | None:
    return None if isinstance(asked, Edit) or asked.quality is UNSET else asked.quality


def _output_format(asked: Edit | MultiEdit, resolution: str) -> OutputFormat:
    if asked.output_format is UNSET:
        return "png" if resolution == "1K" else "jpeg"
    return "jpeg" if asked.output_format == "jpg" else asked.output_format


def _ratio(asked: Edit | MultiEdit, constraints: Mapping[str, Any], images: int) -> str:
    """Return the aspect ratio, which some models ignore for a single image."""
    ignored = images == 1 and constraints.get("singleImageAspectRatio") is False
    return "auto" if asked.aspect_ratio is UNSET or ignored else asked.aspect_ratio


def _fits_model(
    asked: Edit | MultiEdit, constraints: Mapping[str, Any], model: Model, images: int
) -> None:
    """Raise 400 for an option that the model does not list, as venice-errors says of all models.

    But multi-edit silently ignores a resolution if the model has none.
    """
    longest = constraints["promptCharacterLimit"]
    if len(asked.prompt) > longest:
        raise invalid(f"{model.id} takes at most {longest} characters", "prompt")
    tiers, drops = constraints.get("resolutions", ()), isinstance(asked, MultiEdit)
    if asked.resolution is not UNSET and asked.resolution not in tiers and (tiers or not drops):
        raise invalid(f"{model.id} does not support resolution {asked.resolution}", "resolution")
    quality = _quality(asked)
    if quality is not None and quality not in constraints.get("qualities", ()):
        raise invalid(f"{model.id} does not support quality {quality}", "quality")
    ratio = asked.aspect_ratio
    if ratio is not UNSET and ratio not in constraints["aspectRatios"]:
        raise invalid(f"{model.id} does not support aspect ratio {ratio}", "aspect_ratio")
    most = constraints.get("maxInputImages", 3)  # as Venice says where the key is absent
    if images > most:
        raise invalid(f"{model.id} takes at most {most} images", "images")
