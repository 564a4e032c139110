"""Run an FNet on a device: arrays in, arrays out; exact, fast, in bounded memory."""

from fnetcli.engine.device import choose_device
from fnetcli.engine.engine import LARGEST_CODE, Engine, EngineOptions, Maps, Separated

__all__ = ["LARGEST_CODE", "Engine", "EngineOptions", "Maps", "Separated", "choose_device"]
