"""The images of a request: from base64, URL or file part to bytes that Venice would accept."""

import base64
import binascii
import io
from dataclasses import dataclass
from urllib.parse import urlsplit

import pillow_heif
import requests
from PIL import Image, UnidentifiedImageError

from image_drop_local.simulator import pictures
from image_drop_local.simulator.errors import ApiError, invalid, refused
from image_drop_local.simulator.settings import Documents

pillow_heif.register_heif_opener()

FORMATS = ("JPEG", "PNG", "WEBP")
EDIT_FORMATS = (*FORMATS, "HEIF", "AVIF")
MIN_SIDE = 64  # pixels
MIN_PIXELS = 65_536  # 256 × 256
MAX_PIXELS = 33_177_600  # 7680 × 4320
MAX_BYTES = 25_000_000  # "less than 25MB", the smaller of its two meanings
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ImageRules:
    """The forms of an image that an endpoint accepts; all of them accept file parts.

    `edits`: the image is edited, which allows more formats and has limits of size; removing a
    background has none. (That it accepts no HEIC is assumed: Venice does not check, its provider
    may.)
    """

    urls: bool = True
    data_urls: bool = False
    edits: bool = False


def read_image(value: object, field: str, rules: ImageRules, documents: Documents) -> bytes:
    """Return the bytes of one image, checked by its header for format, bytes and pixels.

    Raise `ApiError` 400, 404 (a URL that cannot be fetched), 413, or 422 (too many pixels, by the
    newer documents).
    """
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str) and value:
        data = _from_text(value, field, rules)
    else:
        raise invalid("Expected an image file, a base64 string or a URL", field)
    if len(data) >= MAX_BYTES:
        raise ApiError(413, "File exceeds the maximum allowed size of 25 MB.")
    size = _size(data, EDIT_FORMATS if rules.edits else FORMATS)
    if rules.edits:
        _check_size(size, documents)
    return data


def is_url(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _from_text(text: str, field: str, rules: ImageRules) -> bytes:
    if text.startswith(("http://", "https://")):
        if not rules.urls or not is_url(text):
            raise invalid("An image URL is not accepted here", field)
        return _fetch(text)
    if text.startswith("data:"):
        if not rules.data_urls:
            raise invalid("A data: URL is not accepted here; send the base64 text alone", field)
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Neither valid base64 nor an http(s) URL", field) from None


def _fetch(url: str) -> bytes:
    """Fetch a URL from this machine only; any other host gives a placeholder picture."""
    if urlsplit(url).hostname not in LOOPBACK:
        return pictures.placeholder(url)
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy may carry the request off this machine
            with session.get(url, timeout=10, stream=True, allow_redirects=False) as answer:
                if answer.status_code != 200:
                    raise ApiError(404, f"The input media answered {answer.status_code}")
                data = bytearray()
                for chunk in answer.iter_content(64 * 1024):
                    data += chunk
                    if len(data) >= MAX_BYTES:
                        break
                return bytes(data)
    except requests.RequestException:
        raise ApiError(404, "The input media could not be fetched") from None


def size_of(data: bytes) -> tuple[int, int]:
    """Return width and height of an image that `read_image` has read."""
    size = _size(data, FORMATS)
    if size is None:
        raise refused("Image too large", "It does not fit at any scale.")
    return size


def _check_size(size: tuple[int, int] | None, documents: Documents) -> None:
    """Raise `ApiError` for a bad size. `size`: None if it is so large that Pillow refuses it."""
    pixels = size[0] * size[1] if size else MAX_PIXELS + 1
    if size and min(size) < MIN_SIDE:
        detail = f"{size[0]}x{size[1]}; at least {MIN_SIDE} on each side are needed."
        raise refused("Image too small", detail)
    if pixels < MIN_PIXELS:
        raise refused("Image too small", f"{pixels} pixels; at least {MIN_PIXELS} are needed.")
    if pixels > MAX_PIXELS:
        detail = f"{pixels} pixels; at most {MAX_PIXELS} are allowed."
        if documents == "spec":
            raise refused("Image too large", detail)
        raise ApiError(422, f"Image too large: {detail}", body={"error": "Image too large"})


def _size(data: bytes, formats: tuple[str, ...]) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        names = ", ".join(formats)
        raise refused("Corrupted image", f"The data is not a readable image ({names}).") from None
