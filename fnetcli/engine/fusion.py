"""What the engine made of a pair, by the names of roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fnetcli.mixing import Products
from fnetcli.models.base import Fusion, Maps

if TYPE_CHECKING:
    from fnetcli.engine import Engine, Separated


def as_fusion(separated: Separated) -> Fusion[Maps]:
    """Return parts, and codes as features, by name."""
    parts = {
        "unique_first": separated.unique_first,
        "unique_second": separated.unique_second,
        "common": separated.common,
    }
    features: Any = separated.codes or {}
    return Fusion(None, parts, features=features)


def products_of(engine: Engine) -> Products:
    """Return what the engine's network makes beside the fused image."""
    atoms = engine.network.config.atoms
    return Products(
        parts=("unique_first", "unique_second", "common"), features=dict.fromkeys("uvz", atoms)
    )
