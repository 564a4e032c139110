"""The recipe of UAAFusion; the defaults are ours where the released program's cannot be had.

Origins: (R) the authors' released program, (O) a choice of this project.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.training.config import LabelledRecipe, StageConfig, require

UNLABELLED_NAME = "unlabelled"  # of class 0


@dataclass(frozen=True)
class JointStageConfig(StageConfig):
    """Stage 2 with the weights of its three losses (R: 1, 1 and 0.1)."""

    batch: int = 8
    intensity_weight: float = 1.0
    gradient_weight: float = 1.0
    segmentation_weight: float = 0.1


@dataclass(frozen=True)
class UAAFusionRecipe(LabelledRecipe):
    """Everything that decides the numbers of a run.

    Stage 1 trains S alone (O; R starts from an S whose training is not released), stage 2 both
    networks. `[classes]` sets the classes of `[network]`.
    """

    model: ClassVar[str] = "uaafusion"

    labelled_share: float = 1.0  # of the crops of stage 2; the others are of unlabelled pairs (O)
    class_balance: float = 0.5  # power of 1 / share that weighs a class in L_seg (R: 0)
    attribution_every: int = 1  # visits of a pair after which its weights are taken anew (R: 1)
    attribution_pixels: int = 1 << 16  # weights of larger pairs come from reduced images; 0: never
    validation_crop: int = 0  # side of the middle of each validation image; 0: all of it
    network: UAAFusionConfig = field(default_factory=UAAFusionConfig)
    stage_1: StageConfig = field(default_factory=lambda: StageConfig(3_000, batch=8))
    stage_2: JointStageConfig = field(default_factory=JointStageConfig)
    fine_tune: JointStageConfig = field(default_factory=lambda: JointStageConfig(iterations=0))

    @property
    def needs_labels(self) -> bool:
        """See `LabelledRecipe`: not if S comes from weights and is frozen."""
        running = [stage for stage in self.stages if stage.iterations]
        return not self.init or not all("segmentation" in stage.freeze for stage in running)

    @property
    def joint(self) -> JointStageConfig:
        """The stage whose loss weights validation has: the last one that runs."""
        return self.fine_tune if self.fine_tune.iterations else self.stage_2

    def __post_init__(self) -> None:
        """Raise ValueError where a number is out of range or classes disagree."""
        super().__post_init__()
        require(
            self,
            ("attribution_every",),
            ("class_balance", "attribution_pixels", "validation_crop"),
        )
        if not 0 < self.labelled_share <= 1:
            raise ValueError(f"labelled_share must lie in (0, 1], not {self.labelled_share}")
        if not self.classes.names:
            return
        names = (UNLABELLED_NAME, *self.classes.names)
        if self.network.class_names not in ((), names):
            raise ValueError("[classes] and [network] name different classes; name them once")
        network = dataclasses.replace(self.network, classes=len(names), class_names=names)
        object.__setattr__(self, "network", network)
