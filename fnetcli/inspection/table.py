"""The inspector of each model, by its name, else the generic one."""

from __future__ import annotations

from collections.abc import Callable

from fnetcli.checkpoints.loading import Weights
from fnetcli.inspection.base import Inspector
from fnetcli.inspection.cddfuse.inspector import CDDFuseInspector
from fnetcli.inspection.fnet.inspector import FNetInspector
from fnetcli.inspection.generic import GenericInspector
from fnetcli.inspection.uaafusion.inspector import UAAFusionInspector

INSPECTORS: dict[str, Callable[[Weights], Inspector]] = {
    "fnet": FNetInspector,
    "cddfuse": CDDFuseInspector,
    "uaafusion": UAAFusionInspector,
}


def inspector_of(weights: Weights) -> Inspector:
    """Return the inspector of a network."""
    return INSPECTORS.get(weights.network.spec.name, GenericInspector)(weights)
