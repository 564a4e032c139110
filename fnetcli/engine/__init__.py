"""Run an FNet on a device: arrays in, arrays out; exact, fast, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fnetcli.engine.options import EngineOptions

if TYPE_CHECKING:
    from fnetcli.engine.device import choose_device
    from fnetcli.engine.engine import LARGEST_CODE, Engine, Maps, Separated

__all__ = ["LARGEST_CODE", "Engine", "EngineOptions", "Maps", "Separated", "choose_device"]


def __getattr__(name: str) -> object:
    """Import on first use: whoever only scores files does without torch."""
    if name == "choose_device":
        from fnetcli.engine.device import choose_device

        return choose_device
    if name in __all__:
        from fnetcli.engine import engine

        return getattr(engine, name)
    raise AttributeError(f"module 'fnetcli.engine' has no attribute {name!r}")
