"""Build a layer's folder, as Lambda unpacks it at /opt: packages and their bytecode.

    python3.13 cli/image_drop_cli/deploying/layer_build.py runtime REQUIREMENTS arm64 FOLDER
    python3.13 cli/image_drop_cli/deploying/layer_build.py code PACKAGE FOLDER

`sam build` runs this file (layers/*/Makefile) and `image-drop deploy` imports it, so both upload
the same. It needs nothing but the standard library, and uv or pip for the packages.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON = (3, 13)  # the functions' runtime; bytecode is for one version
# Amazon Linux 2023, on which the runtime python3.13 is built, has glibc 2.34.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
GLIBC = 34
MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}  # Lambda's names, and those of wheels
# Of botocore's 400 services, those that image_drop uses; the others are 15 of 35 MB, zipped.
SERVICES = ("dynamodb", "events", "lambda", "s3", "sqs", "ssm")
_CHECKOUTS_UV = Path(__file__).parents[3] / ".tools" / "bin" / "uv"  # of the Makefile
_BARE = ("bin", ".lock")  # of an installation: scripts, and uv's own lock


class LayerBuildError(Exception):
    """When a layer cannot be built; its text says what happened and what to do."""


def build_runtime(requirements: Path, architecture: str, folder: Path) -> None:
    """Install the runtime layer's packages for an architecture of Lambda, whatever this machine is.

    `requirements` has a hash for each file that may be installed. Raise `LayerBuildError`.
    """
    target = folder / "python"
    installer = _installer(MACHINES[architecture])
    command = [*installer, "--target", str(target), "--requirement", str(requirements)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise LayerBuildError(
            f"The packages of the runtime layer could not be installed. Check the network, then "
            f"run the command again. {Path(installer[0]).name} said:\n{said}"
        )
    for name in _BARE:
        path = target / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (target / "botocore" / "data").iterdir():
        if path.is_dir() and path.name not in SERVICES:
            shutil.rmtree(path)
    compile_bytecode(folder)


def build_code(package: Path, folder: Path) -> None:
    """Copy our own package, which is the same for each architecture."""
    target = folder / "python" / package.name
    shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__"))
    compile_bytecode(folder)


def compile_bytecode(folder: Path) -> None:
    """Compile each module below `folder`, as it will be called below /opt.

    Functions cannot write to /opt, so without bytecode each cold start compiles each module again.
    A hash that is never checked instead of a time: Lambda's files have times of their own. In a
    fresh process, because what a process has imported before shows in the bytes.
    """
    if sys.version_info[:2] != PYTHON:
        raise LayerBuildError(f"Layers are built with Python {PYTHON[0]}.{PYTHON[1]}.")
    # Its status is ignored: a package may carry files that this Python cannot compile.
    subprocess.run(
        [
            *(sys.executable, "-I", "-m", "compileall", "-qq", "-f", "-j", "1"),
            *("-s", str(folder), "-p", "/opt", "--invalidation-mode", "unchecked-hash"),
            str(folder),
        ],
        check=False,
    )


def _installer(machine: str) -> list[str]:
    """Return a command that installs wheels for Lambda: uv's if there is one, else pip's."""
    version = ".".join(map(str, PYTHON))
    only = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    if uv := shutil.which(os.environ.get("UV", "uv")) or shutil.which(_CHECKOUTS_UV):
        platform = f"{machine}-manylinux_2_{GLIBC}"
        return [
            *(uv, "pip", "install", "--quiet", "--no-config", *only),
            *("--python", sys.executable, "--python-version", version),
            *("--python-platform", platform, "--link-mode", "copy"),
        ]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 16, -1)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *only]
    if subprocess.run([*pip[:3], "--version"], capture_output=True).returncode:
        raise LayerBuildError(
            "Building the runtime layer needs uv or pip. Install uv "
            "(https://docs.astral.sh/uv/), then run the command again."
        )
    names = [f"--platform={each}" for each in [*platforms, f"manylinux2014_{machine}"]]
    return [*pip, "--implementation=cp", f"--python-version={version}", *names]


def main(arguments: list[str]) -> None:
    """Build the layer that the arguments name."""
    match arguments:
        case ["runtime", requirements, architecture, folder]:
            build_runtime(Path(requirements), architecture, Path(folder))
        case ["code", package, folder]:
            build_code(Path(package), Path(folder))
        case _:
            raise LayerBuildError(__doc__ or "")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LayerBuildError as error:
        sys.exit(str(error))
