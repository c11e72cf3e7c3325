"""What is deployed: the archives of functions and layers, and the template that names them."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from image_drop_cli.deploying import layer_build, template
from image_drop_cli.deploying.archives import sha256, zipped
from image_drop_cli.deploying.layer_build import LayerBuildError, build_code, build_runtime
from image_drop_cli.deploying.sources import Sources

RUNTIME_LAYERS = {"arm64": "RuntimeLayer", "x86_64": "RuntimeLayerX86"}  # one for each architecture
CODE_LAYER = "ImageDropLayer"
_TIMEOUT = (10, 60)  # seconds, to connect and between two parts of the answer


@dataclass(frozen=True)
class Artifact:
    """An archive to upload.

    `digest` is of the archive, or of all that it is built of, which comes to the same: builds are
    reproducible. It is known before `read` makes the archive.
    """

    digest: str
    read: Callable[[], bytes]

    @classmethod
    def of(cls, data: bytes) -> "Artifact":
        """Return an archive that was made."""
        return cls(sha256(data), lambda: data)


def artifacts(sources: Sources, architecture: str) -> dict[str, Artifact]:
    """Return the archives that a stack of one architecture needs, by resource.

    Raise `LayerBuildError`.
    """
    built = {name: Artifact.of(data) for name, data in code_archives(sources).items()}
    return built | {RUNTIME_LAYERS[architecture]: runtime_layer(sources, architecture)}


def code_archives(sources: Sources) -> dict[str, bytes]:
    """Return the archives of our own code, by resource: each function, and the layer."""
    folders = template.code(sources.template)
    archives = {
        name: zipped(sources.root / folder)
        for name, folder in folders.items()
        if name not in (CODE_LAYER, *RUNTIME_LAYERS.values())
    }
    return archives | {CODE_LAYER: _built(lambda folder: build_code(sources.package, folder))}


def runtime_layer(sources: Sources, architecture: str) -> Artifact:
    """Return the layer of third-party packages: that of the release, or one to build here."""
    if sources.prebuilt.is_file():
        return _prebuilt(json.loads(sources.prebuilt.read_text("utf-8")), architecture)
    inputs = [
        *(sources.requirements.read_bytes(), Path(layer_build.__file__).read_bytes()),
        f"{architecture} {sys.version}".encode(),
    ]
    digest = sha256(b"".join(map(str.encode, map(sha256, inputs))))
    return Artifact(digest, lambda: built_runtime_layer(sources, architecture))


def built_runtime_layer(sources: Sources, architecture: str) -> bytes:
    """Build the layer of third-party packages from the wheels of PyPI. Raise `LayerBuildError`."""
    return _built(lambda folder: build_runtime(sources.requirements, architecture, folder))


def _built(build: Callable[[Path], None]) -> bytes:
    with TemporaryDirectory(prefix="image-drop-layer-") as folder:
        build(Path(folder))
        return zipped(Path(folder), bytecode=True)


def _prebuilt(layers: Mapping[str, Mapping[str, str]], architecture: str) -> Artifact:
    """Return a layer of the release, whose checksum the wheel carries (`scripts.release`)."""
    layer = layers[architecture]
    return Artifact(layer["sha256"], cache(lambda: _downloaded(layer["url"], layer["sha256"])))


def _downloaded(url: str, expected: str) -> bytes:
    try:
        answer = requests.get(url, timeout=_TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise LayerBuildError(
            f"The runtime layer of this release could not be downloaded: {error}. Check the "
            "network, then run the command again."
        ) from error
    if sha256(answer.content) != expected:
        raise LayerBuildError(
            f"{url} is not the runtime layer of this release: its SHA-256 is "
            f"{sha256(answer.content)} instead of {expected}. Nothing was deployed."
        )
    return answer.content
