"""A simulated Venice API on this machine: limits, faults, pictures; no Venice and no money."""

from image_drop_local.simulator.calls import Call, most_in
from image_drop_local.simulator.server import Simulator
from image_drop_local.simulator.settings import Settings

__all__ = ["Call", "Settings", "Simulator", "most_in"]
