"""Run an FNet on a device: arrays in, arrays out; exact, fast, in bounded memory."""

from fnetcli.engine.device import choose_device
from fnetcli.engine.engine import Engine, Maps, Separated

__all__ = ["Engine", "Maps", "Separated", "choose_device"]
