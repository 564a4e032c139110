"""The stages of CDDFuse's training (section 3.5): reproduce each image, then fuse.

Stage I trains encoder and decoder, stage II everything. A third stage goes on with stage II's loss
on other crops: networks trained on small ones meet other attention statistics in whole images.
Fine-tuning repeats stage II with numbers of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fnetcli.models.base import Network
from fnetcli.models.cddfuse import CDDFUSE
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.cddfuse.network import CDDFuse, Features
from fnetcli.models.torch_arrays import at_rest
from fnetcli.training.base import Losses, Stage, Validate
from fnetcli.training.cddfuse.losses import (
    FusionStageLoss,
    ReconstructionStageLoss,
    fusion_stage_loss,
    reconstruction_stage_loss,
)
from fnetcli.training.cddfuse.recipe import CDDFuseRecipe, CDDFuseStageConfig
from fnetcli.training.data import Luminance, PairSource, cut_middle, to_tensor
from fnetcli.training.validation import Validated

RECONSTRUCTING = ("encoder", "decoder")  # the children of `CDDFuse` that stage I trains
FUSING = (*RECONSTRUCTING, "base_fusion", "detail_fusion")


Images = tuple[Tensor, Tensor]


def reconstruction_losses(
    network: CDDFuse, first: Tensor, second: Tensor, wanted: Images | None = None
) -> ReconstructionStageLoss:
    """Stage I: encode both images as one batch and decode each from its own features.

    The estimates are to be the images, or those that are `wanted`; likewise in stage II. Losses
    are computed in float32 where the network is under autocast.
    """
    images = torch.cat((first, second))
    features = network.encode(images)
    skip = None if network.config.skip == "none" else images
    estimates = network.reconstruct(features.base, features.detail, skip)
    features = _in_full(features)
    with torch.autocast(first.device.type, enabled=False):
        return reconstruction_stage_loss(
            wanted or (first, second),
            _halves(_at_least_float32(estimates)),
            (_part(features, 0), _part(features, 1)),
        )


def fusion_losses(
    network: CDDFuse, first: Tensor, second: Tensor, wanted: Images | None = None
) -> FusionStageLoss:
    """Stage II: fuse the images."""
    return fuse_with_losses(network, first, second, wanted)[1]


def fuse_with_losses(
    network: CDDFuse, first: Tensor, second: Tensor, wanted: Images | None = None
) -> tuple[Tensor, FusionStageLoss]:
    """Stage II: return the fused image, too."""
    features = network.encode_pair(first, second)
    fused = network.fuse(*features)
    image = network.reconstruct(fused.base, fused.detail, network.skip(first, second))
    image = _at_least_float32(image)
    own, other = map(_in_full, features)
    with torch.autocast(first.device.type, enabled=False):
        return image, fusion_stage_loss(image, wanted or (first, second), (own, other))


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _in_full(features: Features) -> Features:
    return Features(*map(_at_least_float32, features))


def has_contrast(crop: Luminance, smallest: float) -> bool:
    """Whether a crop, (H, W), 0..255, is neither black nor flat: (p90 - p10) / p90 >= smallest.

    The published filter keeps black crops (0 / 0 is not below 0.1), which are what breaks training.
    """
    dark, bright = np.percentile(crop, (10, 90))
    return bool(bright > 0 and (bright - dark) / bright >= smallest)


class CDDFuseProcedure:
    """How CDDFuse is trained on pairs."""

    def __init__(
        self,
        recipe: CDDFuseRecipe,
        pairs: PairSource,
        validation: PairSource | None,
        device: torch.device,
    ) -> None:
        self.recipe, self.pairs, self.validation, self.device = recipe, pairs, validation, device
        self.cddfuse = CDDFuse(recipe.network).to(device)
        self.average = copy.deepcopy(self.cddfuse).requires_grad_(False)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """See `Procedure`."""
        return {"network": self.cddfuse}

    @property
    def averages(self) -> dict[str, nn.Module]:
        """See `Procedure`."""
        return {"network": self.average}

    @property
    def stages(self) -> tuple[Stage, ...]:
        """See `Procedure`."""
        recipe = self.recipe
        first = Stage(
            recipe.stage_1,
            self._parts(RECONSTRUCTING),
            self._losses(recipe.stage_1, reconstruction_losses),
            validate=self._validate(self._reconstruct),
            chooses_best=False,
        )
        later = [
            Stage(
                config,
                self._parts(FUSING),
                self._losses(config, fusion_losses),
                validate=self._validate(self._fuse),
                keeps_optimizers=True,
                starts_from_average=True,
                rate_factors=factors,
            )
            for config, factors in (
                (recipe.stage_2, dict.fromkeys(RECONSTRUCTING, recipe.carried_rate)),
                (recipe.stage_3, {}),
                (recipe.fine_tune, {}),
            )
        ]
        return first, *later

    def working(self, _tell: Callable[[str], None]) -> AbstractContextManager[None]:
        """Prepare nothing."""
        return nullcontext()

    def network(self) -> Network[CDDFuseConfig]:
        """See `Procedure`."""
        return at_rest(CDDFUSE, self.recipe.network, self.average)

    def companions(self) -> dict[str, Network[Any]]:
        """Return nothing."""
        return {}

    def extra_state(self) -> dict[str, Any]:
        """Return nothing: all that learns is in the modules."""
        return {}

    def restore(self, extra: Mapping[str, Any]) -> None:
        """See `Procedure`."""

    def _parts(self, names: tuple[str, ...]) -> dict[str, list[nn.Parameter]]:
        return {name: list(self.cddfuse.get_submodule(name).parameters()) for name in names}

    def _losses(
        self,
        config: CDDFuseStageConfig,
        losses: Callable[
            [CDDFuse, Tensor, Tensor, Images], ReconstructionStageLoss | FusionStageLoss
        ],
    ) -> Callable[[tuple[int, ...]], Losses]:
        def of_batch(seed: tuple[int, ...]) -> Losses:
            augmentation = self.recipe.augment
            crops = self.pairs.batch(
                config.batch, config.crop, seed, augmentation, self._is_worth_it
            ).to(self.device)
            with self._autocast():
                return vars(losses(self.cddfuse, *crops)).copy()

        return of_batch

    def _validate(
        self, run: Callable[[Tensor, Tensor], tuple[Tensor | None, Tensor]]
    ) -> Validate | None:
        """Return how the middles of pairs are validated, by the fused image and a loss."""
        if self.validation is None:
            return None
        pairs, side = self.validation, self.recipe.validation_crop

        @torch.no_grad()
        def of_pairs(numbers: Sequence[int]) -> Iterator[Validated]:
            for number in numbers:
                first, second = (cut_middle(image, side) for image in pairs[number])
                x, y = (to_tensor(image)[None, None].to(self.device) for image in (first, second))
                with self._autocast():
                    fused, loss = run(x, y)
                image = None if fused is None else fused[0, 0].float().cpu().numpy()
                yield Validated(loss.item(), first, second, image)

        return of_pairs

    def _reconstruct(self, x: Tensor, y: Tensor) -> tuple[None, Tensor]:
        """Return stage I's loss; nothing is fused yet."""
        return None, reconstruction_losses(self.average, x, y).total

    def _fuse(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fused image and stage II's intensity and gradient: what the picture loses."""
        image, losses = fuse_with_losses(self.average, x, y)
        return image, losses.picture

    def _is_worth_it(self, first: Luminance, second: Luminance) -> bool:
        return all(has_contrast(crop, self.recipe.min_contrast) for crop in (first, second))

    def _autocast(self) -> torch.autocast:
        is_bf16 = self.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_bf16)


def _halves(batch: Tensor) -> tuple[Tensor, Tensor]:
    first, second = batch.tensor_split(2)
    return first, second


def _part(features: Features, index: int) -> Features:
    return Features(*(_halves(feature)[index] for feature in features))
