"""Attribution by its laws: completeness, symmetry, constancy, and numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fnetcli.models.uaafusion.attribution import (
    attribute,
    evaluation_mode,
    extend_path,
    integrate_path,
    one_hot,
    path_gradient,
    path_points,
    regions_of,
    scale_attention,
    smooth,
    weigh_sources,
)
from fnetcli.models.uaafusion.config import PathRule
from tests.models.uaafusion.networks import images, smooth_segmentation

CLASSES = 4


def smooth_scores(image: Tensor) -> Tensor:
    scores: Tensor = smooth_segmentation(CLASSES).to(image.dtype)(3 * image).softmax(dim=1)
    return scores


def some_regions(height: int, width: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(width)
    label = torch.randint(0, CLASSES, (batch, height, width), generator=generator)
    return regions_of(one_hot(label, CLASSES))


def test_points_on_the_path() -> None:
    assert path_points(5, "right") == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert path_points(5, "midpoint") == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


@pytest.mark.parametrize(("rule", "expected"), [("right", 0.7530), ("midpoint", 0.7659)])
def test_one_pixel_by_hand(rule: PathRule, expected: float) -> None:
    """S = sigmoid(4 x - 2) at x = 1: the exact integral is 0.7616."""
    region = torch.ones(1, 1, 1, 1, dtype=torch.bool)

    def scores(image: Tensor) -> Tensor:
        return torch.sigmoid(4 * image - 2)

    assert attribute(scores, torch.ones(1, 1, 1, 1), region, 5, rule).item() == pytest.approx(
        expected, abs=5e-5
    )
    exact = attribute(scores, torch.ones(1, 1, 1, 1, dtype=torch.float64), region, 2000, "midpoint")
    assert exact.item() == pytest.approx(0.7616, abs=5e-5)


@pytest.mark.parametrize(
    ("steps", "rule", "tolerance"), [(32, "midpoint", 1e-3), (5, "midpoint", 1e-2)]
)
def test_attribution_is_complete(steps: int, rule: PathRule, tolerance: float) -> None:
    """Over all pixels it sums to what separates the image's mean scores from black's."""
    (image, _), regions = images(12, 9, dtype=torch.float64), some_regions(12, 9)
    found = integrate_path(smooth_scores, image, regions, steps, rule).sum(dim=(2, 3))
    share = regions / regions.sum(dim=(2, 3), keepdim=True)
    here, black = ((share * smooth_scores(x)).sum(dim=(2, 3)) for x in (image, 0 * image))
    torch.testing.assert_close(found, here - black, rtol=0, atol=tolerance)


def test_absent_classes_are_not_asked() -> None:
    calls: list[int] = []

    class Counted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, image: Tensor) -> Tensor:  # noqa: ARG004
            return image.expand(-1, CLASSES, -1, -1).clone()

        @staticmethod
        def backward(ctx: object, *grads: Tensor) -> Tensor:  # noqa: ARG004
            calls.append(1)
            return grads[0].sum(dim=1, keepdim=True)

    label = torch.tensor([[[1, 1], [3, 1]]])
    image = torch.rand(1, 1, 2, 2)
    found = integrate_path(Counted.apply, image, regions_of(one_hot(label, CLASSES)), 4, "right")
    assert len(calls) == 4 * 2
    assert found[:, [0, 2]].abs().max() == 0
    assert found[:, [1, 3]].amax(dim=(2, 3)).min() > 0


def weigh(first: Tensor, second: Tensor, mask: Tensor, *, is_label: bool = False) -> Tensor:
    return weigh_sources(
        smooth_scores, first, second, mask, steps=3, rule="midpoint", is_label=is_label
    )


@given(height=st.integers(1, 9), width=st.integers(1, 9), batch=st.integers(1, 3))
def test_weights_of_exchanged_sources_add_up_to_one(height: int, width: int, batch: int) -> None:
    first, second = images(height, width, batch=batch)
    mask = some_regions(height, width, batch).float()
    one, other = weigh(first, second, mask), weigh(second, first, mask)
    torch.testing.assert_close(one + other, torch.ones_like(one), rtol=0, atol=1e-6)
    assert one.shape == first.shape
    assert ((one >= 0) & (one <= 1)).all()


def test_weights_are_constant_on_regions_and_each_image_is_alone() -> None:
    first, second = images(8, 7, batch=3)
    mask = some_regions(8, 7, 3).float()
    together = weigh(first, second, mask)
    for n in range(3):
        alone = weigh(first[n : n + 1], second[n : n + 1], mask[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=0, atol=1e-6)
        for j in range(CLASSES):
            assert len(alone[0, 0][mask[n, j] > 0].unique()) <= 1


def test_unlabelled_pixels_get_one_half() -> None:
    first, second = images(6, 6)
    label = torch.zeros(1, 6, 6, dtype=torch.int64)
    label[0, 3:] = 2
    weight = weigh(first, second, one_hot(label, CLASSES), is_label=True)
    assert (weight[0, 0, :3] == 0.5).all()
    assert (weight[0, 0, 3:] != 0.5).all()
    nothing = weigh(first, second, one_hot(0 * label, CLASSES), is_label=True)
    assert (nothing == 0.5).all()


def test_a_constant_segmentation_has_no_preference() -> None:
    def scores(image: Tensor) -> Tensor:
        return (0 * image + 0.25).expand(-1, CLASSES, -1, -1)

    first, second = images(5, 5)
    mask = some_regions(5, 5).float()
    weight = weigh_sources(scores, first, second, mask, steps=5, rule="midpoint")
    assert (weight == 0.5).all()
    assert path_gradient(scores, first, mask).abs().max() == 0


def test_the_source_that_helps_gets_the_weight() -> None:
    """S sees class 1 where it is bright: only the first image shows it."""

    def scores(image: Tensor) -> Tensor:
        return torch.cat((1 - image, image), dim=1)

    first, second = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    label = torch.ones(1, 4, 4, dtype=torch.int64)
    weight = weigh_sources(scores, first, second, one_hot(label, 2), steps=5, rule="midpoint")
    assert weight.min() > 0.999


@given(stages=st.integers(1, 6))
def test_path_attribution_of_a_linear_segmentation_is_exact(stages: int) -> None:
    """sum over p of k a^k = M(f^k) - M(f^0)."""
    torch.manual_seed(stages)
    linear = nn.Conv2d(1, CLASSES, 3, padding=1).double().requires_grad_(False)
    estimates = images(6, 7, count=stages + 1, batch=2, dtype=torch.float64)
    mask = torch.rand(2, CLASSES, 6, 7, dtype=torch.float64)
    attention = torch.zeros_like(estimates[0])
    for k in range(1, stages + 1):
        gradient = path_gradient(linear, estimates[k], mask)
        attention = extend_path(attention, k, gradient, estimates[k] - estimates[k - 1])
    gained = [(mask * linear(f)).mean(dim=(1, 2, 3)) for f in (estimates[-1], estimates[0])]
    torch.testing.assert_close(stages * attention.sum(dim=(1, 2, 3)), gained[0] - gained[1])


@given(exponent=st.integers(-12, 5))
def test_scaled_attention_has_unit_root_mean_square(exponent: int) -> None:
    attention = torch.randn(2, 1, 5, 6, generator=torch.Generator().manual_seed(1)) * 10.0**exponent
    scaled = scale_attention(attention, "rms")
    torch.testing.assert_close(scaled.square().mean(dim=(1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(
        scaled[0] * attention[0].abs().max(), scaled[0].abs().max() * attention[0]
    )
    assert scale_attention(attention, "raw") is attention


def test_no_attention_stays_none() -> None:
    assert (scale_attention(torch.zeros(1, 1, 3, 3), "rms") == 0).all()


def test_evaluation_mode_restores_every_module() -> None:
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    network[1].eval()
    with evaluation_mode(network):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == [True, True, False, False]


@pytest.mark.parametrize("holds_no_grad", [True, False])
def test_nothing_is_left_in_the_graph(holds_no_grad: bool) -> None:
    first, second = images(5, 5)
    mask = some_regions(5, 5).float()
    with torch.set_grad_enabled(not holds_no_grad):
        weight = weigh(first, second, mask)
        gradient = path_gradient(smooth_scores, first, mask)
    assert not weight.requires_grad
    assert not gradient.requires_grad


def test_smoothing_takes_chessboards_away_and_keeps_means() -> None:
    rows, columns = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    chessboard = (-1.0) ** (rows + columns)
    stripes = torch.cos(torch.pi * columns / 2)  # a period of four pixels
    for pattern in (chessboard, stripes):
        smoothed = smooth((3 + pattern)[None, None])[..., 2:-2, 2:-2]
        torch.testing.assert_close(smoothed, torch.full_like(smoothed, 3))
    assert smooth(torch.ones(1, 1, 1, 1)).item() == pytest.approx(1)
