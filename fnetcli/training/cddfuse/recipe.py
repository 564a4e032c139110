"""The recipe of CDDFuse; the defaults are the published program's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.training.config import Recipe, StageConfig

EPOCH = 812  # iterations: 6,490 crops in batches of 8
HALVING = 20 * EPOCH


@dataclass(frozen=True)
class CDDFuseStageConfig(StageConfig):
    """One stage; as published, the rate of each part of the network is halved from time to time."""

    batch: int = 8


@dataclass(frozen=True)
class CDDFuseRecipe(Recipe):
    """Everything that decides the numbers of a run.

    Published: 40 epochs of stage I, 80 of stage II, Adam at 1e-4 halved every 20 epochs, batches of
    8 crops of 128x128, gradients clipped to a norm of 0.01, each part of the network by itself; the
    optimizers of stage I go on in stage II. Without moving averages and without a third stage.
    """

    model: ClassVar[str] = "cddfuse"

    ema: float = 0.0
    gradient_clip: float = 0.01  # typical norms are 7 to 120: every step is clipped
    min_contrast: float = 0.1  # (p90 - p10) / p90 of both images of a crop, else another is drawn
    validation_crop: int = 0  # side of the middle of each validation image; 0: all of it
    carried_rate: float = 0.25  # of encoder and decoder in stage II, in units of learning_rate
    network: CDDFuseConfig = field(default_factory=CDDFuseConfig)
    stage_1: CDDFuseStageConfig = field(
        default_factory=lambda: CDDFuseStageConfig(iterations=40 * EPOCH, halve_every=HALVING)
    )
    stage_2: CDDFuseStageConfig = field(
        default_factory=lambda: CDDFuseStageConfig(iterations=80 * EPOCH, halve_every=HALVING)
    )
    stage_3: CDDFuseStageConfig = field(default_factory=lambda: CDDFuseStageConfig(iterations=0))
    fine_tune: CDDFuseStageConfig = field(default_factory=lambda: CDDFuseStageConfig(iterations=0))

    def __post_init__(self) -> None:
        """Raise ValueError where a number is out of range."""
        super().__post_init__()
        for name in ("min_contrast", "validation_crop", "carried_rate"):
            number = getattr(self, name)
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"{name} must not be negative, but is {number}")
        if self.min_contrast >= 1:
            raise ValueError(f"min_contrast must be below 1, not {self.min_contrast}")
