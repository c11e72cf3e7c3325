"""A simulated Venice API on this machine: limits, faults, pictures; no Venice and no money."""

from local.simulator.calls import Call, most_in
from local.simulator.server import Simulator
from local.simulator.settings import Settings

__all__ = ["Call", "Settings", "Simulator", "most_in"]
