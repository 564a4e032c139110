"""Run a network on a device: arrays in, arrays out; exact, fast, in bounded memory."""

from __future__ import annotations

from fnetcli.engine.device import Device, choose_device
from fnetcli.engine.engine import Allocate, Engine, Fuser
from fnetcli.engine.executors.base import LARGEST_FEATURE
from fnetcli.engine.options import EngineOptions
from fnetcli.models.base import Fusion, Maps, Wanted

__all__ = [
    "LARGEST_FEATURE",
    "Allocate",
    "Device",
    "Engine",
    "EngineOptions",
    "Fuser",
    "Fusion",
    "Maps",
    "Wanted",
    "choose_device",
]
