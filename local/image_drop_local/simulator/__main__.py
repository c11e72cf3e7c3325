"""`python -m image_drop_local.simulator`: the simulator in the foreground, until Ctrl-C."""

import argparse
import signal
import sys
from typing import Any

import msgspec

from image_drop_local.simulator.server import Simulator


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m image_drop_local.simulator",
        description="Simulates the Venice image API on 127.0.0.1. No picture ever reaches Venice.",
    )
    parser.add_argument("--port", type=int, default=4567, help="0 takes a free one (default 4567)")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting, for example limit=5, latency=2.5, documents=skill, pictures=fast",
    )
    arguments = parser.parse_args()
    try:
        settings: dict[str, Any] = dict(_setting(text) for text in arguments.set)
        simulator = Simulator(arguments.port, **settings)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        sys.exit(f"python -m image_drop_local.simulator: {error}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with simulator:
        try:
            print(f"{simulator.url}  (a simulation of Venice; nothing reaches Venice)", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            print("stopped", flush=True)


def _setting(text: str) -> tuple[str, object]:
    """Return a setting's name and value: parsed if it is JSON, else the text itself."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: expected NAME=VALUE")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


if __name__ == "__main__":
    main()
