"""The inspector of each model, by its name, else the generic one."""

from __future__ import annotations

from collections.abc import Callable

from fnetcli.checkpoints.loading import Weights
from fnetcli.inspection.base import Comparer, Inspector
from fnetcli.inspection.cddfuse.inspector import CDDFuseInspector
from fnetcli.inspection.fnet.comparison import COMPARER
from fnetcli.inspection.fnet.inspector import FNetInspector
from fnetcli.inspection.generic import GenericInspector
from fnetcli.inspection.uaafusion.inspector import UAAFusionInspector

INSPECTORS: dict[str, Callable[[Weights], Inspector]] = {
    "fnet": FNetInspector,
    "cddfuse": CDDFuseInspector,
    "uaafusion": UAAFusionInspector,
}


# How two networks of a model are laid side by side; other models have nothing to compare so.
COMPARERS: dict[str, Comparer] = {"fnet": COMPARER}


def inspector_of(weights: Weights) -> Inspector:
    """Return the inspector of a network."""
    return INSPECTORS.get(weights.network.spec.name, GenericInspector)(weights)
