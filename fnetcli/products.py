"""What a network makes of two images, and how its parts are weighed in the fused one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fnetcli.modalities import shown_name

CLASS_MAPS = frozenset({"segmentation"})  # maps that hold numbers of classes, not shades
Gains = Mapping[str, float]  # by role; a part that is not named has 1


@dataclass(frozen=True)
class Products:
    """What a network makes beside the fused image, by role ("unique_first").

    `parts` are signed and sum to the fused luminance, `maps` are other images in [0, 1] (those of
    CLASS_MAPS: whole numbers), `features` have many channels: how many, by name.
    """

    parts: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    features: Mapping[str, int] = field(default_factory=dict)

    @property
    def images(self) -> tuple[str, ...]:
        """All that can be looked at beside the fused image."""
        return self.parts + self.maps

    @property
    def feature_channels(self) -> int:
        """How many numbers all features hold for each pixel."""
        return sum(self.features.values())

    def shown_parts(self, modalities: tuple[str, str]) -> dict[str, str]:
        """Return the role of every part by the name that people know: "unique_ir"."""
        return {shown_name(role, modalities): role for role in self.parts}


def gain_list(gains: Gains, parts: tuple[str, ...]) -> list[float]:
    """Return the gain of every part, in their order."""
    return [gains.get(role, 1.0) for role in parts]
