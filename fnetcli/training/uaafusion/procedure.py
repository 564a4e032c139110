"""The stages of UAAFusion's training: the segmentation network S alone, then both together.

Fine-tuning repeats the second with numbers of its own.

One step a batch trains both networks (P, R); weights and attention come from the current S.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from fnetcli.models.base import Network
from fnetcli.models.torch_arrays import at_rest
from fnetcli.models.uaafusion import UAAFUSION
from fnetcli.models.uaafusion.attribution import evaluation_mode
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion
from fnetcli.training.base import Losses, Stage
from fnetcli.training.config import StageConfig
from fnetcli.training.labelled import LabelledBatch, LabelledPair, LabelledPairs, whole_batch
from fnetcli.training.team import mean_over_pairs, team
from fnetcli.training.uaafusion.recipe import JointStageConfig, UAAFusionRecipe
from fnetcli.training.uaafusion.stages import (
    KeptWeights,
    balance_classes,
    joint_losses,
    segmentation_losses,
)


class UAAFusionProcedure:
    """How UAAFusion is trained on labelled pairs, and others beside them."""

    def __init__(
        self,
        recipe: UAAFusionRecipe,
        pairs: LabelledPairs,
        validation: LabelledPairs | None,
        device: torch.device,
    ) -> None:
        self.recipe, self.pairs, self.validation, self.device = recipe, pairs, validation, device
        self.network_at_work = network = UAAFusion(recipe.network).to(device)
        for kernels in network.parameters():
            if kernels.ndim == 4:  # channels last: a quarter faster on a CPU
                kernels.data = kernels.data.contiguous(memory_format=torch.channels_last)
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.importance = balance_classes(pairs.shares(), recipe.class_balance).to(device)
        self.kept = KeptWeights(network, recipe.attribution_every, recipe.attribution_pixels)
        self._drawn: tuple[tuple[int, ...], LabelledBatch] | None = None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """See `Procedure`; S is part of the network."""
        return {"network": self.network_at_work}

    @property
    def averages(self) -> dict[str, nn.Module]:
        """See `Procedure`."""
        return {"network": self.average}

    @property
    def stages(self) -> tuple[Stage, ...]:
        """See `Procedure`."""
        segmentation = list(self.network_at_work.segmentation.parameters())
        fusion = self.network_at_work.fusion_parameters()
        return (
            Stage(
                self.recipe.stage_1,
                {"segmentation": segmentation},
                self._segmentation_losses,
                is_validated=False,
            ),
            *(
                Stage(
                    config,
                    {"fusion": fusion, "segmentation": segmentation},
                    self._joint_losses(config),
                    starts_from_average=True,
                )
                for config in (self.recipe.stage_2, self.recipe.fine_tune)
            ),
        )

    def working(self, _tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """Prepare nothing."""
        return nullcontext()

    def network(self) -> Network[UAAFusionConfig]:
        """See `Procedure`."""
        return at_rest(UAAFUSION, self.recipe.network, self.average)

    def companions(self) -> dict[str, Network[Any]]:
        """Return nothing."""
        return {}

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Return the mean of stage 2's losses; the weights come from the averages' own S."""
        recipe = self.recipe
        kept = KeptWeights(self.average, most_pixels=recipe.attribution_pixels)

        def loss_of(index: int, pair: LabelledPair) -> float:
            batch = whole_batch(pair, kept(index, pair), recipe.validation_crop).to(self.device)
            with evaluation_mode(self.average):
                losses = self._joint_losses_of(recipe.joint, self.average, batch)
            return sum(loss.item() for loss in losses.values())

        return mean_over_pairs(loss_of, self.validation or (), self.device)

    def extra_state(self) -> dict[str, Any]:
        """Return the weights that are kept for some visits."""
        return {"weights": self.kept.state()}

    def restore(self, extra: Mapping[str, Any]) -> None:
        """See `Procedure`."""
        self.kept.restore(extra["weights"])

    def _segmentation_losses(self, seed: tuple[int, ...]) -> Losses:
        size = self.recipe.stage_1.batch
        batch = self._batch(self.recipe.stage_1, seed)
        return segmentation_losses(self.network_at_work, batch, self.importance, size)

    def _joint_losses(self, config: JointStageConfig) -> Callable[[tuple[int, ...]], Losses]:
        def of_batch(seed: tuple[int, ...]) -> Losses:
            batch = self._batch(config, seed, self.kept, self.recipe.labelled_share)
            return self._joint_losses_of(config, self.network_at_work, batch)

        return of_batch

    def _batch(
        self,
        config: StageConfig,
        seed: tuple[int, ...],
        kept: KeptWeights | None = None,
        labelled_share: float = 1.0,
    ) -> LabelledBatch:
        """Return what is at work here of a batch; its pieces are of one drawing."""
        if self._drawn is None or self._drawn[0] != seed:
            size, crop = config.batch, config.crop
            if kept is None:
                batch = self.pairs.batch(size, crop, seed)
            else:
                batch = self.pairs.batch(size, crop, seed, kept, labelled_share, kept.pass_by)
                kept.exchange()
            self._drawn = seed, batch
        return self._drawn[1].part(team().within_share(config.batch)).to(self.device)

    def _joint_losses_of(
        self, stage: JointStageConfig, network: UAAFusion, batch: LabelledBatch
    ) -> Losses:
        return joint_losses(
            network,
            batch,
            self.importance,
            intensity_weight=stage.intensity_weight,
            gradient_weight=stage.gradient_weight,
            segmentation_weight=stage.segmentation_weight,
            precision=self.recipe.precision,
        )
