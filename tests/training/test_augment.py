"""Each change of crops by itself: what the network sees, and what the losses compare with."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from fnetcli.training.augment import augment
from fnetcli.training.config import AugmentConfig

SEED = (1, 2, 3)
NAMES = [one.name for one in dataclasses.fields(AugmentConfig)]


def crops(count: int = 64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    rows = torch.linspace(0.3, 0.6, 24)[:, None]
    first = (rows + 0.1 * torch.rand(count, 1, 24, 24)).clamp(0, 1)
    return first, 1 - first.flip(3)


def changed(**values: float) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return augment(crops(), [True] * 64, AugmentConfig(**values), SEED)


def test_nothing_is_the_default() -> None:
    images = crops()
    seen, wanted = augment(images, [True] * 64, AugmentConfig(), SEED)
    assert seen is wanted is images


@pytest.mark.parametrize("name", NAMES)
def test_a_function_of_the_seed_in_0_to_1(name: str) -> None:
    once, again = changed(**{name: 0.5}), changed(**{name: 0.5})
    other = augment(crops(), [True] * 64, AugmentConfig(**{name: 0.5}), (1, 2, 4))
    for one, same in zip((*once[0], *once[1]), (*again[0], *again[1]), strict=True):
        assert torch.equal(one, same)
        assert one.dtype == torch.float32
        assert one.shape == (64, 1, 24, 24)
        assert 0 <= one.min() <= one.max() <= 1
    assert not torch.equal(once[0][0], other[0][0])
    assert not torch.equal(once[0][0], crops()[0])


@pytest.mark.parametrize("name", ["gain", "gamma", "invert_thermal", "blur"])
def test_losses_see_another_camera(name: str) -> None:
    seen, wanted = changed(**{name: 0.5})
    assert all(map(torch.equal, seen, wanted))


@pytest.mark.parametrize("name", ["noise", "misalignment"])
def test_losses_do_not_see_faults(name: str) -> None:
    seen, wanted = changed(**{name: 0.5})
    assert all(map(torch.equal, wanted, crops()))
    assert not torch.equal(seen[0], wanted[0])
    assert torch.equal(seen[1], wanted[1]) == (name == "misalignment")


def test_gain_and_gamma_stay_in_their_limits() -> None:
    (bright, _), _ = changed(gain=0.2)
    factors = (bright / crops()[0]).flatten(1)
    assert torch.allclose(factors.min(dim=1).values, factors.max(dim=1).values, atol=1e-3)
    assert 0.8 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.2001
    (curved, _), _ = changed(gamma=1.0)
    powers = curved.log() / crops()[0].log()
    assert 0.5 <= powers.min() < 0.55
    assert 1.8 < powers.max() <= 2.0001


def test_thermal_images_alone_are_inverted() -> None:
    thermal = [i % 2 == 0 for i in range(64)]
    (first, second), _ = augment(crops(), thermal, AugmentConfig(invert_thermal=0.5), SEED)
    before = crops()
    flipped = [torch.equal(one, 1 - old) for one, old in zip(first, before[0], strict=True)]
    assert 8 < sum(flipped) < 24
    assert not any(is_flipped for is_flipped in flipped[1::2])
    assert torch.equal(second, before[1])


def test_a_shift_moves_the_first_image_by_at_most_that() -> None:
    images = torch.zeros(64, 1, 33, 33)
    images[:, :, 16, 16] = 1
    (seen, _), _ = augment((images, images), [False] * 64, AugmentConfig(misalignment=3), SEED)
    places = torch.stack(torch.meshgrid(*[torch.arange(33.0)] * 2, indexing="ij"))
    centres = (seen * places).sum(dim=(2, 3)) / seen.sum(dim=(2, 3))
    lengths = (centres - 16).norm(dim=1)
    assert 2.5 < lengths.max() <= 3.001
    assert lengths.min() < 1


def test_noise_and_blur() -> None:
    flat = torch.full((200, 1, 24, 24), 0.5)
    (noisy, _), _ = augment((flat, flat), [False] * 200, AugmentConfig(noise=0.1), SEED)
    deviations = noisy.flatten(1).std(dim=1)
    assert deviations.min() < 0.01
    assert 0.09 < deviations.max() < 0.11
    (soft, _), _ = changed(blur=2.0)
    rough, smooth = (one.diff(dim=3).abs().mean() for one in (crops()[0], soft))
    assert smooth < rough / 2
    assert soft.mean() == pytest.approx(crops()[0].mean().item(), abs=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_numbers(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        AugmentConfig(**{name: -0.1})
    if name in {"gain", "invert_thermal", "noise"}:
        with pytest.raises(ValueError, match=f"{name} must be at most 1"):
            AugmentConfig(**{name: 1.5})
