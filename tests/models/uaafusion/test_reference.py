"""Numbers of the published program, on weights in the published layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fnetcli.checkpoints.loading import load_weights
from fnetcli.models.uaafusion.attribution import attribute, one_hot, regions_of
from fnetcli.models.uaafusion.network import Moment, UAAFusion
from fnetcli.training.uaafusion.losses import (
    gradient_loss,
    intensity_loss,
    joint_loss,
    label_loss,
    segmentation_loss,
)

REFERENCE = Path(__file__).parents[3].parent / "shared" / "reference"
WEIGHTS = REFERENCE / "uaafusion_authors_layout.pth"

pytestmark = pytest.mark.skipif(
    not WEIGHTS.is_file(), reason="no shared/ folder beside the checkout"
)

Numbers = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    with np.load(REFERENCE / "uaafusion_authors_io.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def network() -> UAAFusion:
    network = load_weights(WEIGHTS).network.at_work()
    assert isinstance(network, UAAFusion)
    return network


def image(numbers: Numbers, key: str) -> Tensor:
    return torch.from_numpy(numbers[key])[None, None]


def mask_of(network: UAAFusion, numbers: Numbers, case: str) -> Tensor:
    if case == "a":
        return one_hot(torch.from_numpy(numbers["a_label"])[None], network.config.classes)
    return network.guess_mask(image(numbers, "b_ir"), image(numbers, "b_vis"))


def with_rules(network: UAAFusion, **rules: Any) -> UAAFusion:
    """Return a view of a network under other rules."""
    other = UAAFusion(dataclasses.replace(network.config, **rules), network.segmentation)
    other.load_state_dict(network.state_dict())
    return other.eval().requires_grad_(False)


def unfold(network: UAAFusion, numbers: Numbers, case: str, mask: Tensor) -> list[Moment]:
    first, second = image(numbers, f"{case}_ir"), image(numbers, f"{case}_vis")
    weight = image(numbers, f"{case}_weight_ir")
    return list(network.unfold(first, second, weight, mask))


def stack(images: list[Tensor]) -> NDArray[np.float32]:
    return np.stack([each[0, 0].numpy() for each in images])


def assert_near(found: NDArray[Any], wanted: NDArray[Any], tolerance: float) -> None:
    assert np.abs(found - wanted).max() <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("case", ["a", "b"])
def test_segmentation_and_weights(network: UAAFusion, numbers: Numbers, case: str) -> None:
    first, second = image(numbers, f"{case}_ir"), image(numbers, f"{case}_vis")
    guess = network.guess_mask(first, second)
    assert_near(guess[0].numpy(), numbers[f"{case}_segmentation_of_mean"], 2e-5)
    mask = mask_of(network, numbers, case)
    weight = network.weigh(first, second, mask)
    assert_near(weight[0, 0].numpy(), numbers[f"{case}_weight_ir"], 1e-5)
    assert_near((1 - weight)[0, 0].numpy(), numbers[f"{case}_weight_vis"], 1e-5)
    for key, source in (("ir", first), ("vis", second)):
        found = attribute(network.score, source, regions_of(mask), 5, "right")[0].numpy()
        wanted = numbers[f"{case}_attribution_{key}"]
        assert_near(found, wanted, 1e-4 * wanted.max())


@pytest.mark.parametrize("rule", ["released", "step"])
@pytest.mark.parametrize("case", ["a", "b"])
def test_stages(network: UAAFusion, numbers: Numbers, case: str, rule: str) -> None:
    other = with_rules(network, data_step=rule == "step")
    moments = unfold(other, numbers, case, mask_of(network, numbers, case))
    wanted = {key: numbers[f"{case}_{rule}_{key}"] for key in ("stages", "gradients", "attention")}
    assert_near(stack([moment.after for moment in moments]), wanted["stages"], 2e-5)
    gradients = [moment.gradient for moment in moments if moment.gradient is not None]
    assert_near(stack(gradients), wanted["gradients"][1:], 0.02 * abs(wanted["gradients"]).max())
    # a^k multiplies the gradients by moves of up to 1: a ReLU that switches shows there as well.
    largest = abs(wanted["gradients"]).max()
    attention = stack([moment.attention for moment in moments])
    assert_near(attention, wanted["attention"], 0.02 * largest)


@pytest.mark.parametrize("case", ["a", "b"])
def test_memory_of_the_first_stage(network: UAAFusion, numbers: Numbers, case: str) -> None:
    memory = unfold(network, numbers, case, mask_of(network, numbers, case))[0].memory
    for key, found in memory._asdict().items():
        wanted = numbers[f"{case}_stage1_{key}"].astype(np.float32)  # stored as float16
        assert_near(found[0].numpy(), wanted, 1e-3 * abs(wanted).max())


@pytest.mark.slow
def test_weights_are_of_each_image_alone(network: UAAFusion, numbers: Numbers) -> None:
    first, second = (torch.from_numpy(numbers[f"pair_{k}"])[:, None] for k in ("ir", "vis"))
    mask = one_hot(torch.from_numpy(numbers["pair_label"]), network.config.classes)
    weight = network.weigh(first, second, mask)
    assert_near(weight[:, 0].numpy(), numbers["pair_own_weight_ir"], 1e-5)
    assert abs(weight[:, 0].numpy() - numbers["pair_pooled_weight_ir"]).max() > 0.1


@pytest.mark.parametrize("rule", ["released", "step"])
@pytest.mark.parametrize("case", ["a", "b"])
def test_losses(network: UAAFusion, numbers: Numbers, case: str, rule: str) -> None:
    first, second = image(numbers, f"{case}_ir"), image(numbers, f"{case}_vis")
    weight = image(numbers, f"{case}_weight_ir")
    label = torch.from_numpy(numbers[f"{case}_label"].astype(np.int64))[None]
    fused = torch.from_numpy(numbers[f"{case}_{rule}_stages"][-1])[None, None]
    logits = [network.segmentation(each) for each in (fused, first, second)]
    mean = segmentation_loss(logits, label, "sigmoid")
    found = [
        *intensity_loss(fused, first, second, weight),
        gradient_loss(fused, first, second),
        *(label_loss(each, label, "sigmoid") for each in logits),
        mean,
        joint_loss(fused, first, second, weight, mean).total,
    ]
    np.testing.assert_allclose(
        [each.item() for each in found], numbers[f"{case}_{rule}_losses"], rtol=2e-5
    )


def tiny(network: UAAFusion, numbers: Numbers, **rules: Any) -> UAAFusion:
    """Return the network with a smooth S: one convolution."""
    kernel = torch.from_numpy(numbers["tiny_kernel"])
    smooth = nn.Conv2d(1, len(kernel), 3, padding=1)
    smooth.load_state_dict({"weight": kernel, "bias": torch.from_numpy(numbers["tiny_bias"])})
    other = UAAFusion(dataclasses.replace(network.config, **rules), smooth)
    fusion = {k: v for k, v in network.state_dict().items() if "segmentation" not in k}
    other.load_state_dict(fusion, strict=False)
    return other.eval().requires_grad_(False)


def test_smooth_segmentation(network: UAAFusion, numbers: Numbers) -> None:
    small = tiny(network, numbers)
    first, second = image(numbers, "a_ir"), image(numbers, "a_vis")
    mask = mask_of(network, numbers, "a")
    for key, source in (("ir", first), ("vis", second)):
        found = attribute(small.score, source, regions_of(mask), 5, "right")[0].numpy()
        np.testing.assert_allclose(found, numbers[f"tiny_attribution_{key}"], rtol=1e-4, atol=1e-9)
    weight = small.weigh(first, second, mask)
    assert_near(weight[0, 0].numpy(), numbers["tiny_weight_ir"], 1e-5)
    moments = list(small.unfold(first, second, None, mask))
    assert_near(moments[-1].after[0, 0].numpy(), numbers["tiny_fused"], 2e-5)
    gradients = stack([moment.gradient for moment in moments if moment.gradient is not None])
    wanted = numbers["tiny_gradients"][1:]
    assert_near(gradients, wanted, 1e-4 * abs(wanted).max())
    attention = stack([moment.attention for moment in moments])
    wanted = numbers["tiny_attention"]
    assert_near(attention, wanted, 1e-3 * abs(wanted).max())


def test_smooth_segmentation_with_scaled_attention(network: UAAFusion, numbers: Numbers) -> None:
    small = tiny(network, numbers, data_step=True, attention="rms")
    first, second = image(numbers, "a_ir"), image(numbers, "a_vis")
    mask = mask_of(network, numbers, "a")
    weight = small.weigh(first, second, mask)
    moments = list(small.unfold(first, second, weight, mask))
    stages = stack([moment.after for moment in moments])
    assert_near(stages, numbers["tiny_step_rms_stages"], 2e-5)
