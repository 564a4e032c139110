"""The losses against scikit-image, written-out sums and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from fnetcli.models.derivatives import gradient_magnitude, sobel, spatial_gradient
from fnetcli.training.fnet.losses import fusion_loss, inversion_loss, separation_loss, ssim


def images(seed: int, count: int, size: int = 32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.rand(count, 2, 1, size, size, generator=generator, dtype=torch.float64))


def test_sobel_of_a_ramp() -> None:
    ramp = torch.arange(7.0).expand(7, 7)[None, None] / 10
    inside = sobel(ramp)[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(inside[0], torch.full((5, 5), 0.8))
    torch.testing.assert_close(inside[1], torch.zeros(5, 5))
    replicated = spatial_gradient(ramp)[0, 0]
    torch.testing.assert_close(replicated[:, 1:-1], torch.full((7, 5), 0.1))
    torch.testing.assert_close(replicated[:, 0], torch.full((7,), 0.05))


def test_ssim_equals_scikit_image_inside() -> None:
    """Zero padding changes the border only: compare where the window fits."""
    (first, second) = images(0, 2, size=64)
    _, expected = structural_similarity(
        np.pad(first[0, 0].numpy(), 5),
        np.pad(second[0, 0].numpy(), 5),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    wanted = expected[5:-5, 5:-5].mean()
    assert ssim(first[:1], second[:1]).item() == pytest.approx(wanted, rel=2e-3)
    assert ssim(first, first).item() == pytest.approx(1.0)


def test_inversion_loss_is_zero_only_at_the_image() -> None:
    first, second = images(1, 2)
    assert inversion_loss(first, first).item() == 0
    shifted = inversion_loss(first + 0.25, first).item()
    assert shifted == pytest.approx(0.25)
    assert inversion_loss(first, second).item() > 0.1


def test_fusion_loss_written_out() -> None:
    first, second, fused = images(2, 3)
    loss = fusion_loss(fused, first, second)
    strongest = torch.maximum(gradient_magnitude(first), gradient_magnitude(second))
    detail = [gradient_magnitude(image).mean() for image in (first, second)]
    share = detail[0] / (detail[0] + detail[1])
    similarity = share * ssim(fused, first) + (1 - share) * ssim(fused, second)
    torch.testing.assert_close(
        loss.intensity, 20 * (fused - torch.maximum(first, second)).abs().mean()
    )
    torch.testing.assert_close(
        loss.gradient, 20 * (gradient_magnitude(fused) - strongest).abs().mean()
    )
    torch.testing.assert_close(loss.ssim, 15 * (1 - similarity))
    torch.testing.assert_close(loss.total, loss.intensity + loss.gradient + loss.ssim)


def test_weights_of_zero_leave_terms_out() -> None:
    first, second, fused = images(3, 3)
    loss = fusion_loss(fused, first, second, intensity_weight=0, gradient_weight=0, ssim_weight=0)
    assert loss.total.item() == 0


def test_separation_loss_written_out() -> None:
    first, second, unique1, unique2 = images(4, 4)
    brightness = (unique1 - (first - second).clamp_min(0)).square().mean()
    brightness += (unique2 - (second - first).clamp_min(0)).square().mean()
    details = [gradient_magnitude(image) for image in (first, second, unique1, unique2)]
    shared = torch.minimum(*details[:2]) / torch.maximum(*details[:2])
    edges = (shared * (details[2] + details[3])).mean()
    loss = separation_loss(unique1, unique2, first, second)
    torch.testing.assert_close(loss, brightness + 0.1 * edges)


def test_separation_loss_of_flat_images_is_finite() -> None:
    flat = torch.full((1, 1, 16, 16), 0.5)
    unique = flat.clone().requires_grad_()
    separation_loss(unique, unique, flat * 0, flat * 0).backward()
    assert unique.grad is not None
    assert torch.isfinite(unique.grad).all()
    assert separation_loss(flat, flat * 0, flat, flat * 0).item() == pytest.approx(0)


def test_constant_images_have_finite_loss_and_gradient() -> None:
    flat = torch.full((1, 1, 16, 16), 0.5)
    fused = flat.clone().requires_grad_()
    loss = fusion_loss(fused, flat * 0, flat * 0).total
    loss.backward()
    assert torch.isfinite(loss)
    assert fused.grad is not None
    assert torch.isfinite(fused.grad).all()
