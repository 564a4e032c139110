"""The recipe of FNet; the defaults are the paper's (section III-D)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from fnetcli.models.fnet.config import FNetConfig, IFNetConfig
from fnetcli.training.config import Recipe, StageConfig


@dataclass(frozen=True)
class FusionStageConfig(StageConfig):
    """Stage II with the weights of its three losses (eq. 26; AE13-15 set one of them to 0).

    `separation_weight` is that of a fourth one, which is not in the paper.
    """

    intensity_weight: float = 20.0
    gradient_weight: float = 20.0
    ssim_weight: float = 15.0
    separation_weight: float = 0.0


@dataclass(frozen=True)
class FNetRecipe(Recipe):
    """Everything that decides the numbers of a run."""

    model: ClassVar[str] = "fnet"

    network: FNetConfig = field(default_factory=FNetConfig)
    inverse: IFNetConfig = field(default_factory=IFNetConfig)
    keep_inverse: bool = False  # IFNet learns on in stage II, beside FNet, and is saved
    stage_1: StageConfig = field(default_factory=StageConfig)  # iterations 0 leaves it out (AE11)
    stage_2: FusionStageConfig = field(default_factory=FusionStageConfig)
    fine_tune: FusionStageConfig = field(default_factory=lambda: FusionStageConfig(iterations=0))

    @property
    def fusing(self) -> FusionStageConfig:
        """The stage whose loss weights validation has: the last one that runs."""
        return self.fine_tune if self.fine_tune.iterations else self.stage_2

    @classmethod
    def completed(cls, table: dict[str, Any]) -> dict[str, Any]:
        """Let `[inverse]` follow `[network]` in everything that it does not say itself."""
        network, own = table.get("network", {}), table.get("inverse", {})
        if not (isinstance(network, dict) and isinstance(own, dict)):
            return table  # which is refused with the section's name
        others = {key: value for key, value in table.items() if key != "inverse"}
        return {**others, "inverse": {**network, **own}}
