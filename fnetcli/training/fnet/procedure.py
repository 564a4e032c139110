"""The two stages of FNet's training (section III-D): with its inverse, then alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fnetcli.models.base import Network
from fnetcli.models.fnet import FNET, shaped
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.fnet.network import FNet, IFNet
from fnetcli.models.torch_arrays import at_rest
from fnetcli.training.base import Losses, Stage
from fnetcli.training.data import Pairs, to_tensor
from fnetcli.training.fnet.losses import fusion_loss, inversion_loss, separation_loss
from fnetcli.training.fnet.recipe import FNetRecipe


class FNetProcedure:
    """Stage I: FNet and IFNet together (eq. 25). Stage II: FNet alone (eq. 26)."""

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

    @property
    def modules(self) -> dict[str, nn.Module]:
        """See `Procedure`."""
        return {"network": self.fnet, "inverse": self.inverse}

    @property
    def averages(self) -> dict[str, nn.Module]:
        """See `Procedure`."""
        return {"network": self.average}

    @property
    def stages(self) -> tuple[Stage, Stage]:
        """See `Procedure`."""
        fnet, inverse = list(self.fnet.parameters()), list(self.inverse.parameters())
        return (
            Stage(
                self.recipe.stage_1,
                {"all": [*fnet, *inverse]},
                self._inversion_losses,
                is_validated=False,
            ),
            Stage(
                self.recipe.stage_2, {"all": fnet}, self._fusion_losses, starts_from_average=True
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

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Return the mean stage II loss over whole images."""
        pairs = self.validation or ()
        total = 0.0
        for first, second in pairs:
            x, y = (to_tensor(image)[None, None].to(self.device) for image in (first, second))
            losses = self._losses_of(self.average, x, y).values()
            total += sum(losses, torch.zeros((), device=self.device)).item()
        return total / len(pairs)

    def extra_state(self) -> dict[str, Any]:
        """Return nothing: all that learns is in the modules."""
        return {}

    def restore(self, extra: Mapping[str, Any]) -> None:
        """See `Procedure`."""

    def _inversion_losses(self, seed: tuple[int, ...]) -> Losses:
        x, y = self._batch(self.recipe.stage_1.batch, self.recipe.stage_1.crop, seed)
        with self._autocast():
            fused = shaped.separate_and_combine(self.fnet, x, y)[1].fused
            first, second = shaped.invert(self.inverse, fused)
        return {"first": inversion_loss(first, x), "second": inversion_loss(second, y)}

    def _fusion_losses(self, seed: tuple[int, ...]) -> Losses:
        x, y = self._batch(self.recipe.stage_2.batch, self.recipe.stage_2.crop, seed)
        return self._losses_of(self.fnet, x, y)

    def _batch(self, size: int, crop: int, seed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        x, y = self.pairs.batch(size, crop, seed)
        return x.to(self.device), y.to(self.device)

    def _autocast(self) -> torch.autocast:
        is_bf16 = self.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_bf16)

    def _losses_of(self, network: FNet, x: Tensor, y: Tensor) -> Losses:
        """Return the weighted terms of stage II."""
        stage = self.recipe.stage_2
        with self._autocast():
            parts = shaped.separate_and_combine(network, x, y)[1]
        loss = fusion_loss(
            parts.fused,
            x,
            y,
            intensity_weight=stage.intensity_weight,
            gradient_weight=stage.gradient_weight,
            ssim_weight=stage.ssim_weight,
        )
        losses = {"intensity": loss.intensity, "gradient": loss.gradient, "ssim": loss.ssim}
        if stage.separation_weight:
            separation = separation_loss(parts.unique_first, parts.unique_second, x, y)
            losses["separation"] = stage.separation_weight * separation
        return losses


def _compile(tell: Callable[[str], None]) -> None:
    try:
        shaped.compile_threshold()
    except Exception as error:  # noqa: BLE001  no compiler, a broken one: many kinds
        shaped.use_eager_threshold()
        tell(f"no compiled threshold ({type(error).__name__}): training goes on, slower")
