"""The losses against numbers of the published program, real updates and hand-made cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torch.nn import functional as F

from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.cddfuse.network import CDDFuse, Features
from fnetcli.training.cddfuse.losses import (
    FusionStageLoss,
    ReconstructionStageLoss,
    correlation,
    decomposition_loss,
    dissimilarity,
    fusion_stage_loss,
    reconstruction_stage_loss,
)
from fnetcli.training.cddfuse.procedure import (
    FUSING,
    RECONSTRUCTING,
    fusion_losses,
    has_contrast,
    reconstruction_losses,
)
from tests.models.cddfuse.published import load_network, load_numbers, needs_reference

PRECISIONS = [(torch.float64, 1e-9), (torch.float32, 3e-6)]
Losses = Callable[[CDDFuse, Tensor, Tensor], ReconstructionStageLoss | FusionStageLoss]
STAGES: tuple[tuple[tuple[str, ...], Losses], ...] = (
    (RECONSTRUCTING, reconstruction_losses),
    (FUSING, fusion_losses),
)
PARTS = {
    "encoder": "DIDF_Encoder",
    "decoder": "DIDF_Decoder",
    "base_fusion": "BaseFuseLayer",
    "detail_fusion": "DetailFuseLayer",
}


@needs_reference
class TestReference:
    @pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
    def test_terms_and_gradients(self, dtype: torch.dtype, tolerance: float) -> None:
        numbers = load_numbers("losses")
        given = {
            name.removeprefix("in_"): torch.from_numpy(value).to(dtype).requires_grad_()
            for name, value in numbers.items()
            if name.startswith("in_")
        }
        images = (given["ir"], given["vis"])
        estimates = (given["ir_hat"], given["vis_hat"])
        features = tuple(
            Features(torch.empty(0), given[f"base_{side}"], given[f"detail_{side}"])
            for side in ("ir", "vis")
        )
        first, second = features
        stage1 = reconstruction_stage_loss(images, estimates, (first, second))
        stage2 = fusion_stage_loss(given["fused"], images, (first, second))
        found = {
            "ssim_loss_ir": dissimilarity(given["ir"], given["ir_hat"]),
            "ssim_loss_vis": dissimilarity(given["vis"], given["vis_hat"]),
            "mse_ir": F.mse_loss(given["ir"], given["ir_hat"]),
            "cc_base": correlation(first.base, second.base),
            "cc_detail": correlation(first.detail, second.detail),
            "decomposition": decomposition_loss(first, second),
            "reconstruction_ir": stage1.first,
            "reconstruction_vis": stage1.second,
            "gradient_vis": stage1.gradient / 5,
            "total_1": stage1.total,
            "intensity": stage2.intensity,
            "gradient_max": stage2.gradient / 10,
            "fusion": stage2.picture,
            "total_2": stage2.total,
        }
        for name, value in found.items():
            assert value.item() == pytest.approx(float(numbers[name]), rel=tolerance), name
        stage1.total.backward(inputs=list(given.values()), retain_graph=True)
        for name in ("vis_hat", "ir_hat", "base_vis", "detail_ir"):
            _assert_gradient(given[name], numbers[f"grad_total_1_{name}"], tolerance * 10)
        given["fused"].grad = None
        stage2.total.backward()
        _assert_gradient(given["fused"], numbers["grad_total_2_fused"], tolerance * 10)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("dtype", "tolerance"),
        [pytest.param(torch.float64, 1e-9, marks=pytest.mark.long), (torch.float32, 0.02)],
    )
    def test_three_updates_of_each_stage(self, dtype: torch.dtype, tolerance: float) -> None:
        # Adam's first steps have one length, however small a gradient is: in float32 the rounding
        # of a processor decides the sign of the smallest, and so some digits of what follows.
        numbers, images = load_numbers("losses"), load_numbers("io")
        ir, vis = (torch.from_numpy(images[f"b_{side}"]).to(dtype) for side in ("ir", "vis"))
        network, optimizers = load_network(dtype), dict[str, torch.optim.Optimizer]()
        for number, (trained, losses) in enumerate(STAGES, 1):
            parts = {name: list(network.get_submodule(name).parameters()) for name in trained}
            for name, parameters in parts.items():
                optimizers.setdefault(name, torch.optim.Adam(parameters, lr=1e-4))
            totals, norms = [], dict[str, float]()
            for update in range(4):
                loss = losses(network, ir, vis).total
                totals.append(loss.item())
                network.zero_grad()
                loss.backward()
                for name, parameters in parts.items():
                    norm = float(torch.nn.utils.clip_grad_norm_(parameters, 0.01))
                    norms.setdefault(name, norm)
                if update < 3:
                    for optimizer in optimizers.values():
                        optimizer.step()
            assert totals == pytest.approx(
                numbers[f"step{number}_totals"].tolist(), rel=0, abs=tolerance
            )
            for name, norm in norms.items():
                expected = float(numbers[f"gradnorm{number}_{PARTS[name]}"])
                assert norm == pytest.approx(expected, rel=max(1e-9, 10 * tolerance))


def _assert_gradient(tensor: Tensor, expected: object, tolerance: float) -> None:
    assert tensor.grad is not None
    reference = torch.as_tensor(expected).to(tensor.dtype)
    error = (tensor.grad - reference).abs().max() / reference.abs().max()
    assert error <= tolerance


class TestCorrelation:
    def test_of_equal_and_opposite_maps(self) -> None:
        maps = torch.rand(2, 3, 8, 8, dtype=torch.float64)
        assert correlation(maps, maps).item() == pytest.approx(1, abs=1e-6)
        assert correlation(maps, 1 - maps).item() == pytest.approx(-1, abs=1e-6)

    def test_opposite_channels_cancel(self) -> None:
        maps = torch.rand(1, 2, 8, 8, dtype=torch.float64)
        signs = torch.tensor([1.0, -1.0])[:, None, None]
        assert correlation(maps, signs * maps).item() == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_constant_maps_have_no_correlation_and_no_gradient(self, dtype: torch.dtype) -> None:
        constant = torch.full((1, 2, 4, 4), 0.3, dtype=dtype).zero_().requires_grad_()
        other = torch.rand(1, 2, 4, 4, dtype=dtype, requires_grad=True)
        value = correlation(constant, other)
        value.backward()
        assert value.item() == 0
        for maps in (constant, other):
            assert maps.grad is not None
            assert torch.isfinite(maps.grad).all()


class TestDissimilarity:
    def test_agrees_with_scikit_image_inside(self) -> None:
        """Away from the border; the whole mean differs there by its padding alone."""
        generator = torch.Generator().manual_seed(3)
        a = torch.rand(1, 1, 24, 24, generator=generator, dtype=torch.float64)
        b = (a + 0.1 * torch.rand(1, 1, 24, 24, generator=generator, dtype=torch.float64)) / 1.1
        expected = structural_similarity(
            a[0, 0].numpy(), b[0, 0].numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )  # fmt: skip
        assert 1 - 2 * dissimilarity(a, b).item() == pytest.approx(expected, abs=5e-3)

    def test_of_an_image_with_itself_is_zero(self) -> None:
        image = torch.rand(1, 1, 16, 16, dtype=torch.float64)
        assert dissimilarity(image, image).item() == pytest.approx(0, abs=1e-12)

    def test_negative_similarity_costs_a_half_and_pulls_nowhere(self) -> None:
        image = (torch.arange(256) % 2).double().view(1, 1, 16, 16)
        opposite = (1 - image).requires_grad_()
        loss = dissimilarity(image, opposite)
        loss.backward()
        assert loss.item() == 0.5
        assert opposite.grad is not None
        assert torch.equal(opposite.grad, torch.zeros_like(opposite))


class TestStages:
    @pytest.mark.parametrize(("trained", "losses"), STAGES)
    @pytest.mark.parametrize("levels", [(0.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
    def test_flat_images_leave_gradients_finite(
        self, trained: tuple[str, ...], losses: Losses, levels: tuple[float, float]
    ) -> None:
        torch.manual_seed(0)
        network = CDDFuse(CDDFuseConfig(dim=8, heads=2, encoder_blocks=1, decoder_blocks=1))
        first, second = (torch.full((1, 1, 16, 16), level) for level in levels)
        losses(network, first, second).total.backward()
        for name in trained:
            for parameter in network.get_submodule(name).parameters():
                assert parameter.grad is not None
                assert torch.isfinite(parameter.grad).all()

    @pytest.mark.parametrize(("_trained", "losses"), STAGES)
    def test_autocast_leaves_losses_in_float32(
        self, _trained: tuple[str, ...], losses: Losses, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A variance in bfloat16, the difference of means of squares, is noise."""
        torch.manual_seed(0)
        network = CDDFuse(CDDFuseConfig(dim=8, heads=2, encoder_blocks=1, decoder_blocks=1))
        image = 0.7 + 0.1 * torch.rand(1, 1, 32, 32)
        nearly = (0.99 * image + 0.01).bfloat16()
        monkeypatch.setattr(
            CDDFuse, "reconstruct", lambda _, base, *__: nearly.expand(len(base), -1, -1, -1)
        )
        exact = losses(network, image, image)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = losses(network, image, image)
        for term, value in vars(exact).items():
            if term != "decomposition":  # of features, which autocast rounds
                assert vars(rounded)[term].item() == pytest.approx(value.item(), rel=1e-6), term

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [(0, 0, False), (128, 128, False), (242, 255, False), (128, 255, True)],
    )
    def test_black_and_flat_crops_have_no_contrast(
        self, low: int, high: int, expected: bool
    ) -> None:
        crop = np.full((8, 8), low, np.uint8)
        crop[:, :4] = high
        assert has_contrast(crop, 0.1) is expected
