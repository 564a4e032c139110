"""fnet: fuse what two sensors see.

>>> from fnetcli import fuse, load_network
>>> network = load_network()
>>> fused = fuse(network, vis="street.png", ir="street-thermal.png")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fnetcli.api import fuse, load_network
    from fnetcli.formats import read_image
    from fnetcli.imaging.intensity import ScalingOptions

__all__ = ["ScalingOptions", "fuse", "load_network", "read_image"]


def __getattr__(name: str) -> object:
    """Import on first use, so that the command line starts without torch."""
    if name in ("fuse", "load_network"):
        from fnetcli import api

        return getattr(api, name)
    if name == "read_image":
        from fnetcli.formats import read_image

        return read_image
    if name == "ScalingOptions":
        from fnetcli.imaging.intensity import ScalingOptions

        return ScalingOptions
    raise AttributeError(f"module 'fnetcli' has no attribute {name!r}")
