"""The stages of UAAFusion's training: the segmentation network S alone, then both together.

Fine-tuning repeats the second with numbers of its own.

One step a batch trains both networks (P, R); weights and attention come from the current S.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fnetcli.models.base import Network
from fnetcli.models.torch_arrays import at_rest
from fnetcli.models.uaafusion import UAAFUSION
from fnetcli.models.uaafusion.attribution import evaluation_mode
from fnetcli.models.uaafusion.config import UAAFusionConfig
from fnetcli.models.uaafusion.network import UAAFusion
from fnetcli.training.base import Losses, Stage, Validate
from fnetcli.training.config import StageConfig
from fnetcli.training.data import cut_middle
from fnetcli.training.labelled import LabelledBatch, LabelledPairs, whole_batch
from fnetcli.training.team import team
from fnetcli.training.uaafusion.losses import segmentation_loss
from fnetcli.training.uaafusion.recipe import JointStageConfig, UAAFusionRecipe
from fnetcli.training.uaafusion.stages import (
    KeptWeights,
    balance_classes,
    losses_of_fused,
    segmentation_losses,
    unfold,
)
from fnetcli.training.validation import Validated


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
                validate=self._validate(self._classify),
                chooses_best=False,
            ),
            *(
                Stage(
                    config,
                    {"fusion": fusion, "segmentation": segmentation},
                    self._joint_losses(config),
                    validate=self._validate(self._fuse),
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
            size, crop, augmentation = config.batch, config.crop, self.recipe.augment
            if kept is None:
                batch = self.pairs.batch(size, crop, seed, None, 1.0, augmentation)
            else:
                batch = self.pairs.batch(
                    size, crop, seed, kept, labelled_share, augmentation, kept.pass_by
                )
                kept.exchange()
            self._drawn = seed, batch
        return self._drawn[1].part(team().within_share(config.batch)).to(self.device)

    def _joint_losses_of(
        self, stage: JointStageConfig, network: UAAFusion, batch: LabelledBatch
    ) -> Losses:
        fused = unfold(network, batch, self.recipe.precision)
        return self._losses_of(stage, network, batch, fused)

    def _losses_of(
        self, stage: JointStageConfig, network: UAAFusion, batch: LabelledBatch, fused: Tensor
    ) -> Losses:
        return losses_of_fused(
            network,
            batch,
            fused,
            self.importance,
            intensity_weight=stage.intensity_weight,
            gradient_weight=stage.gradient_weight,
            segmentation_weight=stage.segmentation_weight,
        )

    def _validate(
        self, run: Callable[[LabelledBatch], tuple[Tensor | None, float]]
    ) -> Validate | None:
        """Return how the middles of pairs are validated; weights come from the averages' own S."""
        if self.validation is None:
            return None
        pairs, recipe = self.validation, self.recipe

        @torch.no_grad()
        def of_pairs(numbers: Sequence[int]) -> Iterator[Validated]:
            kept = KeptWeights(self.average, most_pixels=recipe.attribution_pixels)
            for number in numbers:
                pair = pairs[number]
                weight = kept(number, pair)
                batch = whole_batch(pair, weight, recipe.validation_crop).to(self.device)
                with evaluation_mode(self.average):
                    fused, loss = run(batch)
                image = None if fused is None else fused[0, 0].float().cpu().numpy()
                first, second = (
                    cut_middle(one, recipe.validation_crop) for one in (pair.first, pair.second)
                )
                yield Validated(loss, first, second, image)

        return of_pairs

    def _classify(self, batch: LabelledBatch) -> tuple[None, float]:
        """Return what S loses on both images as they are; nothing is fused yet."""
        logits = [self.average.segmentation(image) for image in (batch.first, batch.second)]
        scores = self.average.config.scores
        if not batch.label.any():
            return None, 0.0
        return None, segmentation_loss(logits, batch.label, scores, self.importance).item()

    def _fuse(self, batch: LabelledBatch) -> tuple[Tensor, float]:
        """Return the fused image and stage 2's losses, with the weights of the last stage."""
        fused = unfold(self.average, batch, self.recipe.precision)
        losses = self._losses_of(self.recipe.joint, self.average, batch, fused)
        return fused, sum(loss.item() for loss in losses.values())
