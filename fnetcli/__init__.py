"""fnet: fuse images from two sensors.

>>> from fnetcli import fuse, load_network
>>> network = load_network()
>>> fused = fuse(network, vis="street.png", ir="street-thermal.png")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fnetcli.api.folders import fuse_folder
    from fnetcli.api.loading import load_baseline, load_network
    from fnetcli.api.pairs import fuse, fuse_many
    from fnetcli.api.runs import RunSettings
    from fnetcli.api.volumes import fuse_volumes
    from fnetcli.errors import FnetError
    from fnetcli.formats import ReadOptions, read_image
    from fnetcli.imaging.image import Image
    from fnetcli.imaging.intensity import Corrections, ScalingOptions
    from fnetcli.pictures.fuse import Fused
    from fnetcli.pictures.place import PlaceOptions
    from fnetcli.runs.crew.base import ClusterOptions
    from fnetcli.runs.report import Progress, RunReport

__all__ = [
    "ClusterOptions",
    "Corrections",
    "FnetError",
    "Fused",
    "Image",
    "PlaceOptions",
    "Progress",
    "ReadOptions",
    "RunReport",
    "RunSettings",
    "ScalingOptions",
    "fuse",
    "fuse_folder",
    "fuse_many",
    "fuse_volumes",
    "load_baseline",
    "load_network",
    "read_image",
]
OWN = ("HOMES", "OWN", "TYPE_CHECKING", "annotations", "import_module")
# Imported on first use, so that the command line starts fast.
HOMES = {
    "ClusterOptions": "fnetcli.runs.crew.base",
    "Corrections": "fnetcli.imaging.intensity",
    "FnetError": "fnetcli.errors",
    "Fused": "fnetcli.pictures.fuse",
    "Image": "fnetcli.imaging.image",
    "PlaceOptions": "fnetcli.pictures.place",
    "Progress": "fnetcli.runs.report",
    "ReadOptions": "fnetcli.formats",
    "RunReport": "fnetcli.runs.report",
    "RunSettings": "fnetcli.api.runs",
    "ScalingOptions": "fnetcli.imaging.intensity",
    "fuse": "fnetcli.api.pairs",
    "fuse_folder": "fnetcli.api.folders",
    "fuse_many": "fnetcli.api.pairs",
    "fuse_volumes": "fnetcli.api.volumes",
    "load_baseline": "fnetcli.api.loading",
    "load_network": "fnetcli.api.loading",
    "read_image": "fnetcli.formats",
}


def __getattr__(name: str) -> object:
    """Import on first use."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module 'fnetcli' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return what there is, imported or not, without this module's own tools."""
    return sorted({*globals(), *__all__} - {*OWN})
