"""Where the files are that are deployed: in the installed wheel, or in the checkout."""

from dataclasses import dataclass
from pathlib import Path

import image_drop

_CARRIED = Path(__file__).parents[1] / "project"  # hatch_build.py puts it into the wheel


@dataclass(frozen=True)
class Sources:
    """The files of one version of Image Drop.

    `root`: the folder with the template, the functions and the runtime layer's requirements.
    `package`: the layer's own code, which is the package `image_drop`.
    """

    root: Path
    package: Path

    @property
    def template(self) -> str:
        """The text of template.yaml."""
        return (self.root / "template.yaml").read_text("utf-8")

    @property
    def requirements(self) -> Path:
        """The runtime layer's packages, with their versions and hashes."""
        return self.root / "layers" / "runtime" / "requirements.txt"

    @property
    def prebuilt(self) -> Path:
        """Where a release names its prebuilt layers; only a released wheel has the file."""
        return self.root / "layers.json"


def find() -> Sources:
    """Return the files of this installation."""
    root = _CARRIED if _CARRIED.is_dir() else Path(__file__).parents[3]
    return Sources(root, Path(image_drop.__file__).parent)
