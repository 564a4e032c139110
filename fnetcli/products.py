"""The outputs of a network by role, and the gains that scale its parts in the fused image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fnetcli.modalities import shown_name

CLASS_MAPS = frozenset({"segmentation"})  # maps that hold class numbers, not shades
Gains = Mapping[str, float]  # by role; a part that is not named has 1


@dataclass(frozen=True)
class Products:
    """The outputs of a network besides the fused image, by role ("unique_first").

    `parts` are signed and sum to the fused luminance, `maps` are other images in [0, 1] (those of
    CLASS_MAPS: whole numbers), `features` holds the number of channels of each feature, by name.
    """

    parts: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    features: Mapping[str, int] = field(default_factory=dict)

    @property
    def images(self) -> tuple[str, ...]:
        """All parts and maps."""
        return self.parts + self.maps

    @property
    def feature_channels(self) -> int:
        """The number of channels of all features together."""
        return sum(self.features.values())

    def shown_parts(self, modalities: tuple[str, str]) -> dict[str, str]:
        """Return the role of every part by the name that users know: "unique_ir"."""
        return {shown_name(role, modalities): role for role in self.parts}


def gain_list(gains: Gains, parts: tuple[str, ...]) -> list[float]:
    """Return the gain of every part, in their order."""
    return [gains.get(role, 1.0) for role in parts]
