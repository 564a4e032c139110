"""The recipe of FNet; the defaults are the paper's (section III-D)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from fnetcli.models.fnet.config import FNetConfig, LZSCConfig
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
    inverse: LZSCConfig = field(default_factory=LZSCConfig)
    stage_1: StageConfig = field(default_factory=StageConfig)  # iterations 0 leaves it out (AE11)
    stage_2: FusionStageConfig = field(default_factory=FusionStageConfig)
