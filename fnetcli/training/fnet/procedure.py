"""The two stages of FNet's training (section III-D): with its inverse, then alone; fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fnetcli.models.base import Network
from fnetcli.models.fnet import FNET, IFNET, shaped
from fnetcli.models.fnet.config import FNetConfig, IFNetConfig
from fnetcli.models.fnet.network import FNet, IFNet, Parts
from fnetcli.models.torch_arrays import at_rest
from fnetcli.training.base import Losses, Stage
from fnetcli.training.data import Luminance, Pairs, to_tensor
from fnetcli.training.fnet.losses import fusion_loss, inversion_loss, separation_loss
from fnetcli.training.fnet.recipe import FNetRecipe, FusionStageConfig
from fnetcli.training.team import mean_over_pairs


class FNetProcedure:
    """Stage I: FNet and IFNet together (eq. 25). Stage II: FNet alone (eq. 26).

    Fine-tuning repeats stage II with numbers of its own.
    """

    def __init__(
        self,
        recipe: FNetRecipe,
        pairs: Pairs,
        validation: Pairs | None,
        device: torch.device,
    ) -> None:
        self.recipe, self.pairs, self.validation, self.device = recipe, pairs, validation, device
        self.fnet = FNet(recipe.network).to(device)
        self.inverse = IFNet(recipe.inverse).to(device)
        self.average = copy.deepcopy(self.fnet).requires_grad_(False)
        self.inverse_average = copy.deepcopy(self.inverse).requires_grad_(False)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """See `Procedure`."""
        return {"network": self.fnet, "inverse": self.inverse}

    @property
    def averages(self) -> dict[str, nn.Module]:
        """See `Procedure`."""
        kept = {"inverse": self.inverse_average} if self.recipe.keep_inverse else {}
        return {"network": self.average, **kept}

    @property
    def stages(self) -> tuple[Stage, ...]:
        """See `Procedure`."""
        fnet, inverse = list(self.fnet.parameters()), list(self.inverse.parameters())
        kept = {"inverse": inverse} if self.recipe.keep_inverse else {}
        return (
            Stage(
                self.recipe.stage_1,
                {"all": [*fnet, *inverse]},
                self._inversion_losses,
                is_validated=False,
            ),
            *(
                Stage(
                    config,
                    {"all": fnet, **kept},
                    self._fusion_losses(config),
                    starts_from_average=True,
                )
                for config in (self.recipe.stage_2, self.recipe.fine_tune)
            ),
        )

    @contextmanager
    def working(self, tell: Callable[[str], None]) -> Iterator[None]:
        """Compile the threshold on a CPU."""
        try:
            if self.device.type == "cpu":
                _compile(tell)
            yield
        finally:
            shaped.use_eager_threshold()

    def network(self) -> Network[FNetConfig]:
        """See `Procedure`."""
        return at_rest(FNET, self.recipe.network, self.average)

    def companions(self) -> dict[str, Network[IFNetConfig]]:
        """Return the inverse, if it is kept."""
        if not self.recipe.keep_inverse:
            return {}
        return {"inverse": at_rest(IFNET, self.recipe.inverse, self.inverse_average)}

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Return the mean stage II loss over whole images."""
        config = self.recipe.fusing

        def loss_of(_: int, pair: tuple[Luminance, Luminance]) -> float:
            x, y = (to_tensor(image)[None, None].to(self.device) for image in pair)
            losses = _weighted_losses(config, self._separate(self.average, x, y), x, y).values()
            return sum(losses, torch.zeros((), device=self.device)).item()

        return mean_over_pairs(loss_of, self.validation or (), self.device)

    def extra_state(self) -> dict[str, Any]:
        """Return nothing: all that learns is in the modules."""
        return {}

    def restore(self, extra: Mapping[str, Any]) -> None:
        """See `Procedure`."""

    def _inversion_losses(self, seed: tuple[int, ...]) -> Losses:
        x, y = self._batch(self.recipe.stage_1.batch, self.recipe.stage_1.crop, seed)
        return self._recovery_losses(self._separate(self.fnet, x, y).fused, x, y)

    def _recovery_losses(self, fused: Tensor, x: Tensor, y: Tensor) -> Losses:
        with self._autocast():
            first, second = shaped.invert(self.inverse, fused)
        return {"first": inversion_loss(first, x), "second": inversion_loss(second, y)}

    def _fusion_losses(self, config: FusionStageConfig) -> Callable[[tuple[int, ...]], Losses]:
        def of_batch(seed: tuple[int, ...]) -> Losses:
            x, y = self._batch(config.batch, config.crop, seed)
            parts = self._separate(self.fnet, x, y)
            losses = _weighted_losses(config, parts, x, y)
            if self.recipe.keep_inverse:  # FNet does not learn from it
                losses |= self._recovery_losses(parts.fused.detach(), x, y)
            return losses

        return of_batch

    def _batch(self, size: int, crop: int, seed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        x, y = self.pairs.batch(size, crop, seed)
        return x.to(self.device), y.to(self.device)

    def _separate(self, network: FNet, x: Tensor, y: Tensor) -> Parts:
        with self._autocast():
            return shaped.separate_and_combine(network, x, y)[1]

    def _autocast(self) -> torch.autocast:
        is_bf16 = self.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_bf16)


def _weighted_losses(config: FusionStageConfig, parts: Parts, x: Tensor, y: Tensor) -> Losses:
    """Return the weighted terms of stage II; separation only if it has a weight."""
    loss = fusion_loss(
        parts.fused,
        x,
        y,
        intensity_weight=config.intensity_weight,
        gradient_weight=config.gradient_weight,
        ssim_weight=config.ssim_weight,
    )
    losses = {"intensity": loss.intensity, "gradient": loss.gradient, "ssim": loss.ssim}
    if config.separation_weight:
        separation = separation_loss(parts.unique_first, parts.unique_second, x, y)
        losses["separation"] = config.separation_weight * separation
    return losses


def _compile(tell: Callable[[str], None]) -> None:
    try:
        shaped.compile_threshold()
    except Exception as error:  # noqa: BLE001  no compiler, a broken one: many kinds
        shaped.use_eager_threshold()
        tell(f"no compiled threshold ({type(error).__name__}): training goes on, slower")
