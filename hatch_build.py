"""The wheel carries what `image-drop deploy` deploys; `image_drop_cli.deploying.sources` finds it.

The layer's own code is the package `image_drop`, which is in the wheel anyway. An editable
installation carries nothing: it finds the checkout.
"""

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "image_drop_cli/project"
CARRIED = ("template.yaml", "functions", "layers/runtime/requirements.txt")


class CarriedFiles(BuildHookInterface):
    """Adds the files, and the checksums of a release's layers where `make release` names them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Extend the wheel. `version`: the kind, "standard" or "editable"."""
        if version == "editable":
            return
        added = build_data["force_include"]
        added.update({path: f"{PLACE}/{path}" for path in CARRIED})
        if layers := os.environ.get("IMAGE_DROP_LAYERS"):
            added[layers] = f"{PLACE}/layers.json"
