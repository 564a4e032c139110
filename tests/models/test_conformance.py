"""What every network must do, whichever it is: one row in SMALL for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fnetcli.checkpoints.loading import load_weights, save_weights
from fnetcli.engine import Engine
from fnetcli.models.base import Fusion, ModelConfig, ModelSpec, Network, Wanted
from fnetcli.models.cddfuse.config import CDDFuseConfig
from fnetcli.models.fnet.config import FNetConfig
from fnetcli.models.table import MODELS
from fnetcli.models.torch_arrays import at_rest
from fnetcli.models.uaafusion.config import UAAFusionConfig

# A network of each kind that takes no time.
SMALL: dict[str, ModelConfig] = {
    "fnet": FNetConfig(atoms=3, kernel_size=3, iterations=2),
    "cddfuse": CDDFuseConfig(dim=4, heads=2, encoder_blocks=1, decoder_blocks=1, couplings=1),
    "uaafusion": UAAFusionConfig(
        stages=2, channels=4, classes=3, path_steps=2, segmentation="small"
    ),
}
ALL = Wanted(maps=True, features=True)
SIZES = [(1, 1), (1, 9), (7, 1), (5, 8), (17, 23)]

Spec = ModelSpec[Any]


def test_every_model_has_a_row() -> None:
    assert SMALL.keys() == MODELS.keys()


@pytest.fixture(params=SMALL)
def spec(request: pytest.FixtureRequest) -> Spec:
    return MODELS[request.param]


@pytest.fixture
def network(spec: Spec) -> Network[Any]:
    torch.manual_seed(0)
    config = SMALL[spec.name]
    shapes = dict(spec.shapes(config))
    drawn = {
        name: 0.1 * torch.randn(shape).numpy() + name.endswith("running_var")
        for name, shape in shapes.items()
    }
    # drawn numbers fill what has no sound start of its own (thresholds), the rest is made anew
    fresh = spec.build(config, drawn)
    for module in fresh.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return at_rest(spec, config, fresh)


def pair(height: int, width: int, count: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height * 100 + width)
    x, y = torch.rand(2, count, 1, height, width, generator=generator)
    return x, y


def fuse(network: Network[Any], x: Tensor, y: Tensor, wanted: Wanted = ALL) -> Fusion[Tensor]:
    with torch.set_grad_enabled(network.spec.needs_gradients):
        found: Fusion[Tensor] = network.at_work()(x, y, wanted)
    return found


def images(found: Fusion[Tensor]) -> dict[str, Tensor]:
    return {"fused": found.fused, **found.parts, **found.maps}


def test_names_and_shapes_are_those_of_the_module(spec: Spec, network: Network[Any]) -> None:
    state = network.at_work().state_dict()
    real = {name: tuple(value.shape) for name, value in state.items() if value.is_floating_point()}
    assert dict(spec.shapes(network.config)) == real
    assert spec.mark in real
    assert sum(spec.mark in dict(one.shapes(SMALL[one.name])) for one in MODELS.values()) == 1


def test_saved_and_loaded(tmp_path: Path, spec: Spec, network: Network[Any]) -> None:
    save_weights(tmp_path / "a.safetensors", network, {"trained": {"pairs": 3}})
    loaded = load_weights(tmp_path / "a.safetensors")
    assert loaded.network.spec is spec
    assert loaded.network.config == network.config
    assert loaded.metadata["trained"] == {"pairs": 3}
    assert loaded.network.arrays.keys() == network.arrays.keys()
    for name, array in network.arrays.items():
        np.testing.assert_array_equal(loaded.network.arrays[name], array)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_any_size(network: Network[Any], height: int, width: int) -> None:
    spec, config = network.spec, network.config
    x, y = (_multiple(image, spec.multiple_of) for image in pair(height, width))
    found = fuse(network, x, y)
    assert tuple(found.parts) == spec.parts
    assert tuple(found.maps) == spec.maps(config)
    for name, image in images(found).items():
        assert image.shape == x.shape, name
        assert torch.isfinite(image).all(), name
    channels = {name: one.shape[1] for name, one in found.features.items()}
    assert channels == spec.features(config)


def _multiple(image: Tensor, of: int) -> Tensor:
    down, across = (-side % of for side in image.shape[-2:])
    return torch.nn.functional.pad(image, (0, across, 0, down))


def test_nothing_is_made_that_is_not_wanted(network: Network[Any]) -> None:
    found = fuse(network, *pair(8, 8), wanted=Wanted())
    assert not found.maps
    assert not found.features


def test_parts_sum_to_the_fused_image(network: Network[Any]) -> None:
    found = fuse(network, *pair(12, 9))
    if network.spec.parts:
        total = torch.stack(list(found.parts.values())).sum(dim=0)
        torch.testing.assert_close(total, found.fused)
    else:
        assert found.whole is not None


def test_a_batch_is_separate_images(network: Network[Any]) -> None:
    x, y = pair(11, 13, count=3)
    together = images(fuse(network, x, y))
    for index in range(3):
        alone = images(fuse(network, x[index : index + 1], y[index : index + 1]))
        for name, image in alone.items():
            torch.testing.assert_close(together[name][index], image[0], atol=1e-5, rtol=1e-5)


def test_float64(network: Network[Any]) -> None:
    x, y = pair(9, 10)
    config, spec = network.config, network.spec
    double = {name: array.astype(np.float64) for name, array in network.arrays.items()}
    with torch.set_grad_enabled(spec.needs_gradients):
        exact = spec.build(config, double).eval()(x.double(), y.double(), Wanted())
    torch.testing.assert_close(
        fuse(network, x, y).fused.double(), exact.fused.detach(), atol=1e-4, rtol=1e-4
    )


def test_bfloat16(network: Network[Any]) -> None:
    x, y = pair(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = fuse(network, x, y, Wanted())
    exact = fuse(network, x, y, Wanted()).fused
    assert (rounded.fused.float() - exact).abs().max() < 0.1 * (1 + exact.abs().max())


def test_nothing_beyond_the_reach_matters(network: Network[Any]) -> None:
    reach = network.config.reach
    if reach is None:
        return
    side = 2 * reach + 3
    x, y = pair(side, side)
    middle = fuse(network, x, y, Wanted()).fused[0, 0, reach + 1, reach + 1]
    x[..., 0], y[..., 0, :] = 1 - x[..., 0], 1 - y[..., 0, :]
    after = fuse(network, x, y, Wanted()).fused[0, 0, reach + 1, reach + 1]
    torch.testing.assert_close(middle, after, atol=1e-6, rtol=0)


def test_the_engine_gives_what_the_module_gives(network: Network[Any]) -> None:
    x, y = pair(21, 18, count=2)
    expected = fuse(network, x, y)
    found = Engine(network).run(x[:, 0].numpy(), y[:, 0].numpy(), ALL)
    for name, image in images(expected).items():
        values = {"fused": found.fused, **found.parts, **found.maps}[name]
        np.testing.assert_allclose(values, image[:, 0].detach().numpy(), atol=2e-4)
    for name, feature in expected.features.items():
        np.testing.assert_allclose(
            found.features[name], feature.detach().numpy(), atol=2e-2, rtol=2e-2
        )


def test_a_module_holds_what_the_network_holds(network: Network[Any]) -> None:
    again = at_rest(network.spec, network.config, network.at_work())
    for name, array in network.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_what_is_shown_has_names_of_its_own(spec: Spec) -> None:
    config = SMALL[spec.name]
    features = list(spec.features(config))
    shown = [*spec.parts, *spec.maps(config), *features]
    energies = [f"{name}_{what}" for name in features for what in ("energy", "energy_map")]
    names = [*shown, *energies, "first", "second", "fused", "difference_first", "difference_second"]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in shown)  # they become names of files
