"""The two stages of FNet's training (section III-D): with its inverse, then alone; fine-tuning."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fnetcli.files.cache import cache_folder
from fnetcli.models.base import Network
from fnetcli.models.fnet import FNET, IFNET, shaped
from fnetcli.models.fnet.config import FNetConfig, IFNetConfig
from fnetcli.models.fnet.network import LZSC, FNet, IFNet, Parts
from fnetcli.models.torch_arrays import at_rest
from fnetcli.training.base import Losses, Stage, Validate
from fnetcli.training.config import StageConfig
from fnetcli.training.data import Batch, PairSource, to_tensor
from fnetcli.training.fnet.losses import fusion_loss, inversion_loss, separation_loss
from fnetcli.training.fnet.recipe import FNetRecipe, FusionStageConfig
from fnetcli.training.validation import Validated


class FNetProcedure:
    """Stage I: FNet and IFNet together (eq. 25). Stage II: FNet alone (eq. 26).

    Fine-tuning repeats stage II with numbers of its own.
    """

    def __init__(
        self,
        recipe: FNetRecipe,
        pairs: PairSource,
        validation: PairSource | None,
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
                validate=self._validate(self._recover),
                chooses_best=False,
                after_step=self._hold_slopes,
            ),
            *(
                Stage(
                    config,
                    {"all": fnet, **kept},
                    self._fusion_losses(config),
                    validate=self._validate(self._fuse),
                    starts_from_average=True,
                    after_step=self._hold_slopes,
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

    def extra_state(self) -> dict[str, Any]:
        """Return nothing: all that learns is in the modules."""
        return {}

    def restore(self, extra: Mapping[str, Any]) -> None:
        """See `Procedure`."""

    def _hold_slopes(self) -> None:
        for module in (*self.fnet.modules(), *self.inverse.modules()):
            if isinstance(module, LZSC):
                module.hold_slopes()

    def _inversion_losses(self, seed: tuple[int, ...]) -> Losses:
        batch = self._batch(self.recipe.stage_1, seed)
        parts = self._separate(self.fnet, batch.first, batch.second)
        return self._recovery_losses(parts.fused, *batch.wanted)

    def _recovery_losses(self, fused: Tensor, x: Tensor, y: Tensor) -> Losses:
        with self._autocast():
            first, second = shaped.invert(self.inverse, fused)
        return {"first": inversion_loss(first, x), "second": inversion_loss(second, y)}

    def _fusion_losses(self, config: FusionStageConfig) -> Callable[[tuple[int, ...]], Losses]:
        def of_batch(seed: tuple[int, ...]) -> Losses:
            batch = self._batch(config, seed)
            parts = self._separate(self.fnet, batch.first, batch.second)
            losses = _weighted_losses(config, parts, *batch.wanted)
            if self.recipe.keep_inverse:  # FNet does not learn from it
                losses |= self._recovery_losses(parts.fused.detach(), *batch.wanted)
            return losses

        return of_batch

    def _validate(self, losses: Callable[[Parts, Tensor, Tensor], Losses]) -> Validate | None:
        """Return how whole pairs are validated, by losses of (parts, first, second)."""
        if self.validation is None:
            return None
        pairs = self.validation

        @torch.no_grad()
        def of_pairs(numbers: Sequence[int]) -> Iterator[Validated]:
            for number in numbers:
                first, second = pairs[number]
                x, y = (to_tensor(image)[None, None].to(self.device) for image in (first, second))
                parts = self._separate(self.average, x, y)
                loss = sum(losses(parts, x, y).values(), torch.zeros((), device=self.device))
                fused = parts.fused[0, 0].float().cpu().numpy()
                yield Validated(loss.item(), first, second, fused)

        return of_pairs

    def _recover(self, parts: Parts, x: Tensor, y: Tensor) -> Losses:
        """Return stage I's losses; the inverse is not averaged."""
        return self._recovery_losses(parts.fused, x, y)

    def _fuse(self, parts: Parts, x: Tensor, y: Tensor) -> Losses:
        """Return stage II's losses, with the weights of the last stage."""
        return _weighted_losses(self.recipe.fusing, parts, x, y)

    def _batch(self, stage: StageConfig, seed: tuple[int, ...]) -> Batch:
        augmentation = self.recipe.augment
        return self.pairs.batch(stage.batch, stage.crop, seed, augmentation).to(self.device)

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
    """Compile the threshold; the compiler's results are kept for the next run."""
    tell("compiling loops for this processor: the first iterations take up to a minute longer")
    _keep_compiled_loops()
    try:
        shaped.compile_threshold()
    except Exception as error:  # noqa: BLE001  no compiler, a broken one: many kinds
        shaped.use_eager_threshold()
        tell(
            f"the threshold is not compiled ({type(error).__name__}): training continues, but "
            "slower"
        )


def _keep_compiled_loops() -> None:
    """Let torch keep them in our cache folder, if it can be written; else torch chooses one."""
    cache = cache_folder()
    if cache is None:
        return
    folder = cache / "inductor"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
